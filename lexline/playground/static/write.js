// Write: several samples of the model that serves, side by side.

import { ask } from "./api.js";
import { announce, copyButton, element, problemBox, prose, reveal, whileBusy } from "./dom.js";
import { Settings, randomSeed } from "./settings.js";
import { legend, shadedText } from "./words.js";

/** Fill the view. */
export function writeView(section, stack) {
  const settings = new Settings("write", stack.fields, [], { words: 60, n: 2, temperature: 0.8 });
  const prompt = element("textarea", { id: "write-prompt", rows: 2, placeholder: "Leave it empty to begin from nothing" });
  const seed = element("input", { id: "write-seed", type: "number", min: 0, max: 4294967295, step: 1, inputmode: "numeric", placeholder: "random" });
  const generate = element("button", { type: "submit", class: "main", "data-busy": "Writing…" }, "Write");
  const again = element("button", { type: "button", disabled: true, "data-busy": "Writing…" }, "Same seed again");
  const problems = element("div");
  const results = element("div", { class: "results" }, emptyState(stack));
  let shown = null;
  // Whether the reader has chosen the seed. Otherwise each press of the button takes a new one.
  let typed = false;

  async function write(button, chosen) {
    await whileBusy(button, problems, async () => {
      results.setAttribute("aria-busy", "true");
      try {
        const given = { ...settings.values(), prompt: prompt.value, seed: chosen };
        const response = await ask("generate", { settings: given });
        settings.mark();
        shown = response.settings;
        seed.value = shown.seed;
        again.disabled = false;
        typed = false;
        results.replaceChildren(...samples(response, shown));
        reveal(results);
        announce(`${response.texts.length === 1 ? "The text is" : `${response.texts.length} texts are`} below.`);
      } catch (error) {
        settings.mark(error.message);
        throw error;
      } finally {
        results.removeAttribute("aria-busy");
      }
    });
  }

  const form = element(
    "form",
    { class: "panel", novalidate: true },
    element("label", { for: "write-prompt" }, "Prompt"),
    prompt,
    settings.element,
    element(
      "div",
      { class: "actions" },
      generate,
      element("span", { class: "seed" }, element("label", { for: "write-seed" }, "Seed"), seed, again),
    ),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    write(generate, typed ? Number(seed.value) : randomSeed());
  });
  again.addEventListener("click", () => write(again, Number(seed.value)));
  seed.addEventListener("input", () => {
    typed = seed.value !== "";
    again.disabled = !typed;
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  section.replaceChildren(element("h1", { id: "write-title" }, "Write"), form, problems, results);
}

function emptyState(stack) {
  if (stack.problem) return problemBox(stack.problem);
  return element("p", { class: "empty" }, "Press Write, or Ctrl+Enter in the prompt. The texts appear here, and each word is shaded by how surprised the model was.");
}

function samples(response, settings) {
  const notes = [];
  if (response.note) notes.push(element("p", { class: "note" }, prose(response.note)));
  if (response.unknown_words.length) {
    notes.push(element("p", { class: "note" }, "The model does not know these words of the prompt: ", element("bdi", {}, response.unknown_words.join(", ")), "."));
  }
  const shaded = response.texts.some((text) => text.pieces.some((piece) => piece.bits !== undefined));
  return [
    ...notes,
    shaded ? legend() : null,
    element("div", { class: "samples" }, response.texts.map((text, index) => sample(text, index, response))),
    curl({ settings }),
  ].filter(Boolean);
}

function sample(text, index, response) {
  const label = response.texts.length > 1 ? `Text ${index + 1}` : "Text";
  return element(
    "article",
    { class: "sample" },
    text.text ? shadedText(label, text.pieces, response.settings.prompt) : element("p", { class: "empty" }, "The model wrote nothing. Try another seed, or a higher temperature."),
    element("footer", {}, element("span", {}, `${label} · seed ${text.seed}${text.stopped ? " · ended at a string of “Stop at”" : ""}`), text.text && copyButton("Copy", () => text.text)),
  );
}

/** Return a foldable curl command for what is shown. It has the API key, so it is fetched only on request. */
export function curl(request) {
  const place = element("div");
  const details = element("details", { class: "curl" }, element("summary", {}, "The same with curl"), place);
  details.addEventListener("toggle", async () => {
    if (!details.open || place.hasChildNodes()) return;
    try {
      const { command } = await ask("curl", request);
      place.replaceChildren(
        element("pre", { tabindex: "0" }, command),
        element("div", { class: "actions" }, copyButton("Copy", () => command), element("span", { class: "help" }, "Do not share it if it has the API key.")),
      );
    } catch (error) {
      place.replaceChildren(problemBox(error));
    }
  });
  return details;
}
