// Compare: the model that serves against a registered one, on the same prompt and seed.

import { ask } from "./api.js";
import { announce, asProblem, copyButton, element, figure, minute, problemBox, prose, reveal, whileBusy } from "./dom.js";
import { Settings, randomSeed } from "./settings.js";
import { legend, shadedText } from "./words.js";

/** Fill the view, and return a function that reads the models again. */
export function compareView(section, stack) {
  const settings = new Settings("compare", stack.fields, ["n"], { words: 60, temperature: 0.8 });
  const prompt = element("textarea", { id: "compare-prompt", rows: 2 });
  const seed = element("input", { id: "compare-seed", type: "number", min: 0, max: 4294967295, step: 1, inputmode: "numeric", placeholder: "random" });
  const model = element("select", { id: "compare-model", "aria-describedby": "compare-help" });
  const compare = element("button", { type: "submit", class: "main", "data-busy": "Writing with both…" }, "Compare");
  const again = element("button", { type: "button", disabled: true, "data-busy": "Writing with both…" }, "Same seed again");
  const problems = element("div");
  // Whether the reader has chosen the seed. Otherwise each press of the button takes a new one.
  let typed = false;
  const results = element("div", { class: "results" });

  const form = element(
    "form",
    { class: "panel", novalidate: true },
    element(
      "div",
      { class: "control" },
      element("label", { for: "compare-model" }, "Compare the model that serves with"),
      model,
      element("p", { class: "help", id: "compare-help" }, "It runs on this machine. The first time, it is downloaded and loaded, which takes some seconds."),
    ),
    element("label", { for: "compare-prompt" }, "Prompt"),
    prompt,
    settings.element,
    element("div", { class: "actions" }, compare, element("span", { class: "seed" }, element("label", { for: "compare-seed" }, "Seed"), seed, again)),
  );

  async function write(button, chosen) {
    await whileBusy(button, problems, async () => {
      const given = { ...settings.values(), prompt: prompt.value, seed: chosen };
      const other = model.options[model.selectedIndex];
      const sides = await Promise.all([side("Serves now", { settings: given }), side(other.text, { settings: given, model: model.value })]);
      seed.value = chosen;
      again.disabled = false;
      typed = false;
      results.replaceChildren(...sides[0].legend, element("div", { class: "samples" }, sides.map((each) => each.element)));
      reveal(results);
      announce("Both texts are below.");
    });
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    write(compare, typed ? Number(seed.value) : randomSeed());
  });
  again.addEventListener("click", () => write(again, Number(seed.value)));
  seed.addEventListener("input", () => {
    typed = seed.value !== "";
    again.disabled = !typed;
  });

  async function refresh() {
    const models = await ask("models");
    const former = model.value;
    const others = models.filter((each) => each.serves !== "now");
    model.replaceChildren(...others.map((each) => element("option", { value: each.version }, name(each))));
    const before = others.find((each) => each.serves === "before");
    if (others.some((each) => String(each.version) === former)) model.value = former;
    else if (before) model.value = before.version;
    // Who comes from Write wants to compare on the same prompt.
    if (!prompt.value) prompt.value = document.getElementById("write-prompt").value;
    form.hidden = !others.length;
    if (results.hasChildNodes() && results.querySelector(".samples")) return;
    results.replaceChildren(
      others.length
        ? element("p", { class: "empty" }, "Choose a model and press Compare. Both write from the same prompt and the same seed.")
        : element("p", { class: "empty" }, prose(models.length ? "There is only the model that serves. Train another one: `lexline run --dataset NAME --force --set epochs=2`." : "There are no models yet. Train one with `lexline run FILE`.")),
    );
  }
  section.replaceChildren(element("h1", { id: "compare-title" }, "Compare"), form, problems, results);
  return () => refresh().catch((error) => problems.replaceChildren(problemBox(asProblem(error))));
}

function name(model) {
  const before = model.serves === "before" ? ", served before" : "";
  const quality = model.perplexity === null ? "" : `, perplexity ${figure(model.perplexity)}`;
  return `Version ${model.version}: ${model.dataset}, ${minute(model.trained)}${quality}, ${model.approval}${before}`;
}

// One side may fail, for example because the model lacks the words of the prompt, while the other has a text.
async function side(title, request) {
  let content;
  let shaded = false;
  try {
    const response = await ask("generate", request);
    const [text] = response.texts;
    shaded = text.pieces.some((piece) => piece.bits !== undefined);
    const unknown = response.unknown_words.length ? element("p", { class: "note" }, "It does not know: ", element("bdi", {}, response.unknown_words.join(", ")), ".") : null;
    content = [
      unknown,
      response.note ? element("p", { class: "note" }, prose(response.note)) : null,
      shadedText(title, text.pieces, response.settings.prompt),
      element("footer", {}, element("span", {}, surprise(text.pieces)), copyButton("Copy", () => text.text)),
    ];
  } catch (error) {
    content = [problemBox(asProblem(error))];
  }
  return { legend: shaded ? [legend()] : [], element: element("article", { class: "sample" }, element("h2", {}, title), content) };
}

function surprise(pieces) {
  const bits = pieces.filter((piece) => piece.bits !== undefined).map((piece) => piece.bits);
  return bits.length ? `${figure(bits.reduce((sum, each) => sum + each, 0) / bits.length)} bits of surprise a word` : "";
}
