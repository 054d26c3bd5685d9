// The controls of a request for text, from the definition that the API itself uses.

import { element } from "./dom.js";

// The order, the words and the steps. The limits come from the server.
const CONTROLS = {
  words: { label: "Words", step: 10, help: "How long each text is." },
  n: { label: "Samples", step: 1, help: "How many texts to write side by side." },
  temperature: { label: "Temperature", slider: [0.1, 2, 0.05], step: 0.05, help: "Low values choose likely words, high values take risks." },
  top_k: { label: "Top k", step: 1, empty: "all words", help: "Draw only from this many of the most probable words." },
  top_p: { label: "Top p", slider: [0.05, 1, 0.05], step: 0.05, empty: "all words", help: "Draw only from the most probable words that together have this probability." },
  min_p: { label: "Min p", step: 0.01, empty: "all words", help: "Leave out words that are less probable than this share of the most probable word." },
  repetition_penalty: { label: "Repetition penalty", step: 0.05, empty: "none", help: "Above 1, words of the text so far become less probable." },
};
const FIRST = ["words", "n", "temperature"];

/** The settings of one view: elements, and the values as fields of a request. */
export class Settings {
  /**
   * @param {string} prefix  Makes the ids of the controls unique.
   * @param {object} limits  The fields of the server's definition, by name.
   * @param {string[]} left  Fields that this view does not have.
   * @param {object} defaults  Values that differ from the API's defaults.
   */
  constructor(prefix, limits, left = [], defaults = {}) {
    this.inputs = {};
    const wanted = Object.keys(CONTROLS).filter((name) => limits[name] && !left.includes(name));
    const control = (name) => this.#control(prefix, name, limits[name], defaults[name]);
    const more = wanted.filter((name) => !FIRST.includes(name)).map(control);
    if (limits.stop) more.push(this.#stop(prefix));
    this.element = element(
      "div",
      { class: "settings" },
      element("div", { class: "controls" }, wanted.filter((name) => FIRST.includes(name)).map(control)),
      element("details", {}, element("summary", {}, "More settings"), element("div", { class: "controls" }, more)),
    );
  }

  /** Return the fields of the request. Empty controls are left out. */
  values() {
    const found = {};
    for (const [name, input] of Object.entries(this.inputs)) {
      if (name === "stop") {
        const stops = input.value.split("\n").filter((line) => line !== "");
        if (stops.length) found.stop = stops;
      } else if (input.value.trim() !== "") {
        // A number that is out of range is sent as it is: the API names the range.
        found[name] = Number.isNaN(Number(input.value)) ? input.value : Number(input.value);
      }
    }
    return found;
  }

  #control(prefix, name, limit, preset) {
    const { label, slider, step, empty, help } = CONTROLS[name];
    const id = `${prefix}-${name}`;
    const start = preset ?? limit.default;
    const input = element("input", {
      id, type: "number", min: limit.least, max: limit.most, step: limit.whole ? 1 : "any", inputmode: "decimal",
      placeholder: empty, "aria-describedby": `${id}-help`,
      value: start === null || start === undefined ? "" : start,
    });
    this.inputs[name] = input;
    let range = null;
    if (slider) {
      const [least, most, size] = slider;
      range = element("input", { type: "range", min: least, max: most, step: size, value: start ?? most, "aria-label": `${label}, slider` });
      range.addEventListener("input", () => (input.value = range.value));
      input.addEventListener("input", () => (range.value = input.value === "" ? most : input.value));
    } else if (step !== 1 && limit.whole) {
      input.step = 1;
    }
    return element(
      "div",
      { class: slider ? "control wide" : "control" },
      element("label", { for: id }, label),
      element("div", { class: "pair" }, input, range),
      element("p", { class: "help", id: `${id}-help` }, help),
    );
  }

  #stop(prefix) {
    const id = `${prefix}-stop`;
    const input = element("textarea", { id, rows: 2, "aria-describedby": `${id}-help` });
    this.inputs.stop = input;
    return element(
      "div",
      { class: "control wide" },
      element("label", { for: id }, "Stop at"),
      input,
      element("p", { class: "help", id: `${id}-help` }, "A text ends before any of these. One in each line."),
    );
  }
}

/** Return a random seed, as the API chooses one. */
export function randomSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}
