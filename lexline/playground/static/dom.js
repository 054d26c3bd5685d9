// Build the page. Texts are always inserted as text, never as HTML: a model may write anything.

/**
 * Return a new element.
 * @param {string} name  Its tag.
 * @param {object} attributes  Attributes; `on` holds listeners by event; null, undefined and false leave one out.
 * @param {...(Node|string|null|false)} children  Elements and texts.
 */
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

const SVG = "http://www.w3.org/2000/svg";

/** Return a new element of a drawing. */
export function shape(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    } else if (name === "value" || name === "disabled" || name === "hidden" || name === "checked") {
      made[name] = value;
    } else if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? "" : value);
    }
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Return a text as nodes in which `commands` in backticks are code. */
export function prose(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

/** Return a box that says what happened and what to do next. */
export function problemBox(problem) {
  const hint = problem.hint ? element("p", {}, prose(problem.hint)) : null;
  return element("div", { class: "problem", role: "alert" }, element("p", {}, element("strong", {}, prose(problem.message))), hint);
}

/** Say something to screen readers. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** Return a button that copies what `text()` returns. */
export function copyButton(label, text) {
  const button = element("button", { type: "button", class: "quiet" }, label);
  let reset;
  button.addEventListener("click", async () => {
    clearTimeout(reset);
    try {
      await navigator.clipboard.writeText(await text());
      button.textContent = "Copied";
      announce("Copied.");
    } catch (error) {
      button.textContent = "Not copied: select the text and press Ctrl+C";
      announce("The browser did not allow to copy. Select the text and press Ctrl+C.");
    }
    reset = setTimeout(() => (button.textContent = label), 2500);
  });
  return button;
}

/** Scroll to what has just appeared, if it is below the window, as on a phone. */
export function reveal(place) {
  if (place.getBoundingClientRect().top > innerHeight - 120) place.scrollIntoView();
}

/** Run a job of a button: the button is disabled meanwhile, and a problem is shown in `place`. */
export async function whileBusy(button, place, job) {
  if (button.getAttribute("aria-busy") === "true") return;
  const label = button.textContent;
  button.setAttribute("aria-busy", "true");
  button.textContent = button.dataset.busy || label;
  place.replaceChildren();
  try {
    await job();
  } catch (error) {
    place.replaceChildren(problemBox(asProblem(error)));
  } finally {
    button.removeAttribute("aria-busy");
    button.textContent = label;
  }
}

/** Return any error with a message and a next step. */
export function asProblem(error) {
  if (error.hint !== undefined) return error;
  console.error(error);
  return { message: `The page failed: ${error.message}`, hint: "Reload the page." };
}

/** Return a number with a few digits. */
export function figure(value, digits = 3) {
  if (value === null || value === undefined) return "unknown";
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(0);
  return value.toLocaleString("en", { maximumSignificantDigits: Math.abs(value) >= 1000 ? 5 : digits });
}

/** Return a probability in words that fit into a cell. */
export function percent(probability) {
  if (probability >= 0.9995) return "100%";
  if (probability >= 0.001) return `${figure(probability * 100)}%`;
  return `1 in ${Math.round(1 / probability).toLocaleString("en")}`;
}

/** Return a time in this machine's zone, to the minute. */
export function minute(iso) {
  const when = new Date(iso);
  const two = (number) => String(number).padStart(2, "0");
  return `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())} ${two(when.getHours())}:${two(when.getMinutes())}`;
}
