// A text whose words are shaded by how surprised the model was. The text stays one text for screen readers and
// for copying. The mouse, a finger, or the arrow keys choose a word; a card then tells what the model expected.

import { announce, element, figure, percent } from "./dom.js";

// From this surprise in bits on, a word has the next shade. Each bit halves the probability.
const SHADES = [1, 2, 4, 6, 8, 10, 13];
const LONGEST_PROMPT = 300;
let numbered = 0;

/** Return the shade of a word, from 0 for what was expected to 7. */
export function shade(bits) {
  return SHADES.filter((least) => bits >= least).length;
}

/** Return what the shades mean. */
export function legend({ unknown = false } = {}) {
  return element(
    "p",
    { class: "legend" },
    "Expected ",
    element("span", { "aria-hidden": "true", class: "scale" }, [...SHADES, 0].map((_, index) => element("span", { class: `shade${index}` }, " "))),
    " surprising",
    unknown ? [" · ", element("span", { class: "word unknown" }, "unknown word")] : null,
  );
}

/**
 * Return a text.
 * @param {string} label  What the text is, for screen readers.
 * @param {object[]} pieces  Words with their surprise, and what is between them.
 * @param {string} before  The prompt that the text continues, or "".
 */
export function shadedText(label, pieces, before = "") {
  const words = [];
  const text = element("p", { class: "text", lang: "", dir: "auto" }, before ? element("span", { class: "before" }, shortened(before) + (/^[,.;:!?’'”)\]%-]/.test(pieces[0]?.text ?? "") ? "" : " ")) : null);
  for (const piece of pieces) {
    if (piece.bits === undefined && !piece.unknown) {
      text.append(piece.text);
      continue;
    }
    const classes = ["word", piece.bits === undefined ? "" : `shade${shade(piece.bits)}`, piece.unknown ? "unknown" : ""];
    const word = element("span", { class: classes.filter(Boolean).join(" ") }, piece.text);
    words.push({ word, piece });
    text.append(word);
  }
  if (!words.length) return text;

  const card = element("div", { class: "card", hidden: true });
  const help = element("p", { class: "unseen", id: `words-help-${++numbered}` }, "Press the arrow keys to go through the words, Escape to leave.");
  const group = element("div", { class: "words", role: "group", tabindex: "0", "aria-label": label, "aria-describedby": help.id }, text, card, help);
  let chosen = -1;

  function choose(index, spoken) {
    if (words[chosen]) words[chosen].word.classList.remove("chosen");
    chosen = index;
    if (!words[index]) {
      card.hidden = true;
      return;
    }
    const { word, piece } = words[index];
    word.classList.add("chosen");
    card.replaceChildren(...facts(piece));
    card.hidden = false;
    place(card, word, group);
    if (spoken) announce(card.innerText);
  }

  group.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    if (event.key in steps) choose(Math.min(words.length - 1, Math.max(0, chosen + steps[event.key])), true);
    else if (event.key === "Home") choose(0, true);
    else if (event.key === "End") choose(words.length - 1, true);
    else if (event.key === "Escape" && !card.hidden) choose(-1, false);
    else return;
    event.preventDefault();
  });
  group.addEventListener("blur", () => choose(-1, false));
  // The card may be read with the mouse, so it stays while the mouse is on it.
  group.addEventListener("pointerover", (event) => {
    const index = words.findIndex(({ word }) => word === event.target);
    if (index >= 0) choose(index, false);
  });
  group.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && choose(-1, false));
  return group;
}

function shortened(prompt) {
  return prompt.length > LONGEST_PROMPT ? `…${prompt.slice(-LONGEST_PROMPT)}` : prompt;
}

function facts(piece) {
  const title = element("p", { class: "card-title" }, element("bdi", {}, piece.text));
  const parts = [title];
  if (piece.unknown) parts.push(element("p", {}, "The model does not know this word."));
  if (piece.bits !== undefined) {
    parts.push(element("p", {}, `Probability ${percent(piece.probability)}, surprise ${figure(piece.bits)} bits.`));
  }
  if (piece.alternatives?.length) {
    parts.push(element("p", { class: "card-head" }, "The model expected:"));
    parts.push(
      element(
        "ol",
        { class: "alternatives" },
        piece.alternatives.map((other) =>
          element("li", { class: other.word === piece.text ? "same" : null }, element("bdi", {}, shown(other.word)), " ", element("span", { class: "number" }, percent(other.probability))),
        ),
      ),
    );
  }
  return parts;
}

function shown(word) {
  return { "\n": "(new line)", "<unk>": "(an unknown word)", " ": "(a space)" }[word] ?? word;
}

function place(card, word, group) {
  const line = word.getClientRects()[0];
  const around = group.getBoundingClientRect();
  const left = Math.min(line.left - around.left, around.width - card.offsetWidth);
  card.style.left = `${Math.max(0, left)}px`;
  card.style.top = `${line.bottom - around.top + 4}px`;
}
