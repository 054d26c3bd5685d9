// The controls of a request for text, from the definition that the API itself uses.

import { element } from "./dom.js";

// The order, the names and the sliders. The limits and the explanations are those of the API's OpenAPI document.
const CONTROLS = {
  words: { label: "Words" },
  n: { label: "Samples" },
  temperature: { label: "Temperature", slider: [0.1, 2, 0.05] },
  top_k: { label: "Top k", empty: "all words" },
  top_p: { label: "Top p", slider: [0.05, 1, 0.05], empty: "all words" },
  min_p: { label: "Min p", slider: [0, 0.5, 0.01], empty: "all words" },
  repetition_penalty: { label: "Repetition penalty", slider: [1, 2, 0.05], empty: "none" },
};
const FIRST = ["words", "n", "temperature"];
// These have controls of their own, or none, because the page needs the whole answer.
const ELSEWHERE = ["seed", "prompt", "stop", "alternatives", "tokens"];

function isNumber(schema) {
  return schema?.type?.some((type) => type === "integer" || type === "number");
}

/** The settings of one view: elements, and the values as fields of a request. */
export class Settings {
  /**
   * @param {string} prefix  Makes the ids of the controls unique.
   * @param {object} schemas  The fields of a request, by name, as in the OpenAPI document.
   * @param {string[]} left  Fields that this view does not have.
   * @param {object} defaults  Values that differ from the API's defaults.
   */
  constructor(prefix, schemas, left = [], defaults = {}) {
    this.inputs = {};
    // A field that this page does not know yet gets a control with its own name.
    const names = new Set([...Object.keys(CONTROLS), ...Object.keys(schemas)]);
    const wanted = [...names].filter((name) => isNumber(schemas[name]) && ![...ELSEWHERE, ...left].includes(name));
    const control = (name) => this.#control(prefix, name, schemas[name], defaults[name]);
    const more = wanted.filter((name) => !FIRST.includes(name)).map(control);
    if (schemas.stop) more.push(this.#stop(prefix, schemas.stop));
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

  /** Mark the controls that a message names as wrong, and go to the first one; without a message, mark none. */
  mark(message = "") {
    const wrong = Object.entries(this.inputs).filter(([name, input]) => {
      const named = new RegExp(`(^|\\. )${name} `).test(message);
      input.setAttribute("aria-invalid", String(named));
      return named;
    });
    if (!wrong.length) return;
    const [, first] = wrong[0];
    if (first.closest("details")) first.closest("details").open = true;
    first.focus();
  }

  #control(prefix, name, schema, preset) {
    const { label, slider, empty } = CONTROLS[name] ?? { label: name };
    const id = `${prefix}-${name}`;
    const start = preset ?? schema.default;
    const input = element("input", {
      id, type: "number", min: schema.minimum ?? schema.exclusiveMinimum, max: schema.maximum, step: schema.type.includes("integer") ? 1 : "any", inputmode: "decimal",
      placeholder: empty, "aria-describedby": `${id}-help`,
      value: start === null || start === undefined ? "" : start,
    });
    this.inputs[name] = input;
    let range = null;
    if (slider) {
      const [least, most, size] = slider;
      // Without a value, the slider stands where it changes nothing.
      const neutral = name === "top_p" ? most : least;
      range = element("input", { type: "range", min: least, max: most, step: size, value: start ?? neutral, "aria-label": `${label}, slider` });
      range.addEventListener("input", () => (input.value = range.value));
      input.addEventListener("input", () => (range.value = input.value === "" ? neutral : input.value));
    }
    return element(
      "div",
      { class: slider ? "control wide" : "control" },
      element("label", { for: id }, label),
      element("div", { class: "pair" }, input, range),
      element("p", { class: "help", id: `${id}-help` }, schema.description),
    );
  }

  #stop(prefix, schema) {
    const id = `${prefix}-stop`;
    const input = element("textarea", { id, rows: 2, "aria-describedby": `${id}-help` });
    this.inputs.stop = input;
    return element(
      "div",
      { class: "control wide" },
      element("label", { for: id }, "Stop at"),
      input,
      element("p", { class: "help", id: `${id}-help` }, "End the text before the first of these strings. One in each line."),
    );
  }
}

/** Return a random seed that is short enough to remember. */
export function randomSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] % 1e6;
}
