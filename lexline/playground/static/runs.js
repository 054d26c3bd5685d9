// Runs: what serves, what is at work, and what was trained; and to deploy a model or to roll back.

import { ask } from "./api.js";
import { lineChart, timeTicks, wholeTicks } from "./chart.js";
import { announce, asProblem, element, figure, minute, problemBox, prose, whileBusy } from "./dom.js";

const FAST = 2000;
const SLOW = 10000;

/** Fill the view, and return functions that begin and end its updates. */
export function runsView(section, onDeployed) {
  const problems = element("div");
  const reading = element("p", { class: "empty" }, "Reading what serves, the models and the runs…");
  const serving = element("div", {}, reading);
  const work = element("div");
  const trained = element("div");
  const recent = element("div");
  const dialog = element("dialog", { "aria-labelledby": "dialog-title" });
  section.replaceChildren(element("h1", { id: "runs-title" }, "Runs"), problems, serving, work, trained, recent, dialog);

  let timer = null;
  let visible = false;
  let seen = "";
  let models = [];

  async function update() {
    clearTimeout(timer);
    let pause = SLOW;
    try {
      const overview = await ask("overview");
      const current = overview.runs.filter((run) => !run.ended);
      const details = await Promise.all(current.map((run) => ask("run", { run: run.id })));
      if (current.length) pause = overview.local ? FAST : 2 * FAST;
      problems.replaceChildren();
      show(work, atWork(current, details));
      show(recent, recentTable(overview.runs, dialog));
      // What was trained changes only with the runs.
      const now = JSON.stringify([overview.model, overview.previous, overview.runs.map((run) => [run.id, run.ended])]);
      if (now !== seen) {
        models = await ask("history");
        show(trained, historyPart(models, overview, dialog, update));
        if (seen) onDeployed();
        seen = now;
      }
      show(serving, servingCard(overview, models, dialog, update));
    } catch (error) {
      reading.remove();
      problems.replaceChildren(problemBox(asProblem(error)));
    }
    if (visible && !document.hidden) timer = setTimeout(update, pause);
  }
  document.addEventListener("visibilitychange", () => visible && !document.hidden && update());
  return {
    begin() {
      visible = true;
      return update();
    },
    end() {
      visible = false;
      clearTimeout(timer);
    },
  };
}

/** Replace what is shown, but only if it differs: the focus and the selection stay. */
function show(place, ...parts) {
  const made = element("div", {}, parts);
  if (place.firstChild?.isEqualNode(made)) return;
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  place.replaceChildren(made);
  if (focused) place.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function servingCard(overview, models, dialog, update) {
  if (!overview.serves) {
    return element(
      "div",
      { class: "panel" },
      element("h2", {}, "No model serves"),
      element("p", {}, prose(overview.status ? `The status of the endpoint ${overview.endpoint} is ${overview.status}.` : "Train one with `lexline run FILE`, or deploy a model of the list below.")),
    );
  }
  const model = models.find((each) => each.serves === "now");
  const rows = [
    ["Model", element("bdi", {}, model ? model.description : overview.model)],
    ["Cost", overview.cost && `${overview.cost}${overview.local ? " (on AWS; the local cloud is free)" : ""}`],
    ["Teardown", overview.teardown],
    ["Lease", overview.lease],
  ];
  const back = element("button", { type: "button", "data-key": "rollback", "data-busy": "Looking…" }, "Roll back…");
  const place = element("div");
  back.addEventListener("click", () =>
    whileBusy(back, place, async () => {
      const plan = await ask("rollback-plan");
      confirm(dialog, {
        title: "Roll back?",
        text: `The endpoint ${overview.endpoint} will serve ${plan.description} instead of ${plan.current}.`,
        model: plan,
        action: "Roll back",
        send: (force) => ask("rollback", { expected: plan.name, force }),
        update,
      });
    }),
  );
  return element(
    "div",
    { class: "panel serving" },
    element("h2", {}, "Serves now"),
    element("dl", {}, rows.filter(([, value]) => value).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))),
    overview.previous ? element("div", { class: "actions" }, back) : null,
    place,
  );
}

function confirm(dialog, { title, text, model, action, send, update }) {
  const problems = element("div");
  const insist = element("input", { type: "checkbox", id: "dialog-force" });
  const go = element("button", { type: "submit", class: "main", "data-busy": "Starting…", disabled: !model.approved }, action);
  insist.addEventListener("change", () => (go.disabled = !insist.checked));
  const form = element(
    "form",
    { method: "dialog" },
    element("h2", { id: "dialog-title" }, title),
    element("p", {}, text),
    element("p", {}, "The run tests the model. If it fails the test, the endpoint goes back to the current model."),
    model.approved ? null : element("p", { class: "problem" }, `This model is ${model.approval}: ${model.reason}`),
    model.approved ? null : element("p", {}, insist, " ", element("label", { for: "dialog-force" }, "Deploy it anyway")),
    problems,
    element("div", { class: "actions" }, go, element("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    whileBusy(go, problems, async () => {
      const { run } = await send(insist.checked);
      dialog.close();
      announce(`The run ${run} has started.`);
      await update();
    });
  });
  dialog.replaceChildren(form);
  dialog.showModal();
}

/** Show a run's result, curve and steps. */
async function showRun(dialog, run) {
  const place = element("div", {}, element("p", { class: "help" }, "Reading the run…"));
  dialog.replaceChildren(
    element("h2", { id: "dialog-title" }, `Run ${run.id}: `, element("bdi", {}, run.work)),
    place,
    element("div", { class: "actions" }, element("button", { type: "button", on: { click: () => dialog.close() } }, "Close"), reportLink(run.report, `run ${run.id}`)),
  );
  dialog.showModal();
  try {
    const details = await ask("run", { run: run.id });
    const result = details.result.length ? details.result.map((line) => element("p", {}, prose(line))) : [element("p", {}, details.outcome)];
    place.replaceChildren(...result, ...(hasCurve(details) ? [curve(details, 500)] : []), steps(details.steps));
  } catch (error) {
    place.replaceChildren(problemBox(asProblem(error)));
  }
}

function reportLink(address, what) {
  return address ? element("a", { href: address, target: "_blank", rel: "noopener", "data-key": `report-${what}` }, "Report", element("span", { class: "unseen" }, ` of ${what}, in a new tab`)) : null;
}

function hasCurve(run) {
  return run.curve.training.length + run.curve.unseen.length > 1;
}

function atWork(runs, details) {
  if (!runs.length) return element("p", { class: "note" }, "No run is at work. ", prose("Start one with `lexline run FILE`, or upload a file to the bucket."));
  return details.map((run) =>
    element(
      "article",
      { class: "panel run" },
      element("h2", {}, "At work: ", element("bdi", {}, run.work || run.id)),
      element("p", {}, `Run ${run.id}, ${run.outcome}`),
      run.trains ? progress(run) : null,
      hasCurve(run) ? curve(run) : null,
      steps(run.steps),
    ),
  );
}

function progress(run) {
  const share = Math.round(run.fraction * 100);
  return element(
    "div",
    { class: "progress" },
    element("progress", { max: 100, value: share, "aria-label": "Training" }),
    element("p", {}, [run.training, `${share}%`, run.left].filter(Boolean).join(" · ")),
  );
}

function curve(run, widest) {
  const series = [
    { name: "training text", points: run.curve.training, dots: false },
    { name: "unseen text", points: run.curve.unseen },
  ];
  return lineChart({
    title: "Perplexity during the training",
    widest,
    xLabel: "epochs",
    yLabel: "perplexity",
    xTicks: wholeTicks,
    xRange: [0, run.epochs],
    series: series.filter((each) => each.points.length).map((each) => ({ ...each, points: each.points.map(([x, y]) => ({ x, y })) })),
  });
}

function steps(all) {
  const signs = { done: "✓", failed: "✗", running: "…" };
  return element(
    "ol",
    { class: "steps" },
    all.map((step) =>
      element(
        "li",
        { class: step.state },
        element("span", { class: "sign", "aria-hidden": "true" }, signs[step.state]),
        element("span", {}, step.label, element("span", { class: "unseen" }, `: ${step.state}`), step.remarks ? element("span", { class: "help" }, ` ${step.remarks}`) : null),
        element("span", { class: "number" }, step.duration),
      ),
    ),
  );
}

function historyPart(models, overview, dialog, update) {
  const title = element("h2", {}, "Models");
  if (!models.length) return [title, element("p", { class: "empty" }, prose("There are no models yet. Train one with `lexline run FILE`."))];
  const datasets = [...new Set(models.map((model) => model.dataset))];
  const series = datasets
    .map((dataset) => ({
      name: dataset,
      points: models
        .filter((model) => model.dataset === dataset && model.perplexity)
        .reverse()
        .map((model) => ({ x: Date.parse(model.trained), y: model.perplexity, hollow: !model.approved, title: `Version ${model.version}: ${figure(model.perplexity)}, ${model.approval}` })),
    }))
    .filter((each) => each.points.length);
  const chart = series.some((each) => each.points.length > 1)
    ? lineChart({ title: "Test perplexity of the models over time", xLabel: "trained", yLabel: "test perplexity", xTicks: timeTicks, series, note: "Hollow: not approved." })
    : null;
  const rows = models.map((model) => {
    const deploy = element("button", { type: "button", class: "quiet", "data-key": `deploy-${model.version}`, "aria-label": `Deploy version ${model.version}` }, "Deploy…");
    deploy.addEventListener("click", () =>
      confirm(dialog, {
        title: `Deploy version ${model.version}?`,
        text: `The endpoint ${overview.endpoint} will serve ${model.description}${overview.serves ? ` instead of ${overview.model}` : ""}.`,
        model,
        action: "Deploy",
        send: (force) => ask("deploy", { model: model.name, force }),
        update,
      }),
    );
    return [
      element("span", {}, String(model.version), model.serves === "now" ? element("strong", { class: "good" }, " serves") : model.serves === "before" ? element("span", { class: "help" }, " served before") : null),
      element("bdi", {}, model.dataset),
      minute(model.trained),
      figure(model.perplexity),
      element("span", { class: model.approved ? "good" : "fair", title: model.reason }, model.approval),
      model.cost,
      reportLink(model.report, `version ${model.version}`) || "",
      model.serves === "now" ? "" : deploy,
    ];
  });
  const reasons = models.filter((model) => !model.approved).map((model) => element("li", {}, `Version ${model.version} is ${model.approval}: ${model.reason}`));
  return [
    title,
    chart,
    table(["Version", "Dataset", "Trained", "Perplexity", "Verdict", "Cost on AWS", "Report", "Action"], rows),
    reasons.length ? element("ul", { class: "notes" }, reasons) : null,
  ];
}

function recentTable(runs, dialog) {
  if (!runs.length) return null;
  const rows = runs.map((run) => {
    const button = element("button", { type: "button", class: "link", "data-key": `run-${run.id}`, "aria-label": `Show run ${run.id}` }, run.id);
    button.addEventListener("click", () => showRun(dialog, run));
    return [
      button,
      element("bdi", {}, run.work),
      minute(run.started),
      run.ended ? run.duration : "",
      element("span", { class: run.ended && !run.succeeded ? "fair" : null }, run.outcome, run.serves ? element("strong", { class: "good" }, ", serves") : null),
      reportLink(run.report, `run ${run.id}`) || "",
    ];
  });
  return [element("h2", {}, "Recent runs"), table(["Run", "Work", "Started", "Duration", "Result", "Report"], rows)];
}

function table(names, rows) {
  return element(
    "div",
    { class: "table", tabindex: "0", role: "region", "aria-label": `Table of ${names[0].toLowerCase()}s` },
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, names.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, rows.map((cells) => element("tr", {}, cells.map((cell, index) => element("td", { "data-name": names[index] }, cell))))),
    ),
  );
}
