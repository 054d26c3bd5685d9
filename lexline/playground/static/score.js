// Score: where the model stumbles in a text of the reader's own.

import { ask } from "./api.js";
import { announce, element, figure, problemBox, prose, reveal, whileBusy } from "./dom.js";
import { legend, shadedText } from "./words.js";
import { curl } from "./write.js";

const WORST = 5;

/** Fill the view. */
export function scoreView(section, stack) {
  const text = element("textarea", { id: "score-text", rows: 8, "aria-describedby": "score-help" });
  const score = element("button", { type: "submit", class: "main", "data-busy": "Scoring…" }, "Score");
  const problems = element("div");
  const results = element("div", { class: "results" }, stack.problem ? problemBox(stack.problem) : element("p", { class: "empty" }, "Paste a text and press Score. The page then shows where the model stumbles."));
  const form = element(
    "form",
    { class: "panel" },
    element("label", { for: "score-text" }, "Text"),
    text,
    element("p", { class: "help", id: "score-help" }, "The model reads the text and says after each word how probable it was. Ctrl+Enter scores."),
    element("div", { class: "actions" }, score),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    whileBusy(score, problems, async () => {
      const given = text.value;
      const response = await ask("score", { text: given });
      results.replaceChildren(...scored(response, given));
      reveal(results);
      announce(`Perplexity ${figure(response.perplexity)}.`);
    });
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  section.replaceChildren(element("h1", { id: "score-title" }, "Score"), form, problems, results);
}

function scored(response, text) {
  const words = response.pieces.filter((piece) => piece.bits !== undefined);
  const unknown = response.unknown_words;
  const worst = [...words].sort((one, other) => other.bits - one.bits).slice(0, WORST);
  return [
    element(
      "dl",
      { class: "figures" },
      fact("Perplexity", figure(response.perplexity), "as uncertain as a choice among so many words"),
      fact("Bits per character", figure(response.bits_per_character), "comparable between models with different words"),
      fact("Words and marks", response.tokens.toLocaleString("en"), unknown.length ? `${unknown.length.toLocaleString("en")} unknown` : "all known"),
    ),
    unknown.length ? element("p", { class: "note" }, "The model does not know: ", element("bdi", {}, quoted(unknown)), ". It reads each as an unknown word.") : null,
    worst.length > 1 ? element("p", { class: "note" }, "It was most surprised by: ", element("bdi", {}, quoted(worst.map((piece) => piece.text))), ".") : null,
    legend({ unknown: unknown.length > 0 }),
    element("article", { class: "sample" }, shadedText("The scored text", response.pieces)),
    curl({ text }),
  ].filter(Boolean);
}

function quoted(words) {
  return words.map((word) => `“${word}”`).join(", ");
}

function fact(name, value, meaning) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, element("strong", {}, value), " ", element("span", { class: "help" }, meaning)));
}
