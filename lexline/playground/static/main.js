// The page: which view is shown, and the stack that it is about.

import { ask, takeToken } from "./api.js";
import { compareView } from "./compare.js";
import { asProblem, element, problemBox } from "./dom.js";
import { runsView } from "./runs.js";
import { scoreView } from "./score.js";
import { writeView } from "./write.js";

const TITLES = { write: "Write", score: "Score", compare: "Compare", runs: "Runs" };

takeToken();

const begin = {};
const end = {};

function show(moveFocus) {
  const wanted = location.hash.slice(1) in TITLES ? location.hash.slice(1) : "write";
  for (const name of Object.keys(TITLES)) {
    const section = document.getElementById(name);
    const link = document.querySelector(`nav a[href="#${name}"]`);
    if (name === wanted) {
      section.hidden = false;
      link.setAttribute("aria-current", "page");
      begin[name]?.();
    } else {
      if (!section.hidden) end[name]?.();
      section.hidden = true;
      link.removeAttribute("aria-current");
    }
  }
  document.title = `${TITLES[wanted]} · Lexline playground`;
  if (moveFocus) {
    scrollTo(0, 0);
    document.querySelector(`#${wanted} h1`)?.focus();
  }
}

async function describe() {
  const stack = await ask("stack");
  document.getElementById("place").replaceChildren(
    element("span", {}, `${stack.name} on ${stack.place}`),
    stack.model ? element("span", { class: "model", title: stack.model_in_words }, element("bdi", {}, stack.model.model)) : element("span", {}, "no model serves"),
  );
  return stack;
}

// The skip link names no view.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});

const banner = document.getElementById("banner");
try {
  const stack = await describe();
  writeView(document.getElementById("write"), stack);
  scoreView(document.getElementById("score"), stack);
  begin.compare = compareView(document.getElementById("compare"), stack);
  const runs = runsView(document.getElementById("runs"), () => describe().catch(() => {}));
  begin.runs = runs.begin;
  end.runs = runs.end;
  for (const title of document.querySelectorAll("main h1")) title.tabIndex = -1;
  show(false);
  addEventListener("hashchange", () => show(true));
} catch (error) {
  banner.replaceChildren(problemBox(asProblem(error)));
}
