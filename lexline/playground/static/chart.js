// Line charts as SVG, in the page's own colours, so that they suit the light and the dark.

import { element, figure, shape } from "./dom.js";

const WIDEST = 720;
const NARROWEST = 300;
const HEIGHT = 260;
const EDGE = { left: 56, right: 16, top: 12, bottom: 40 };

/**
 * Return a chart.
 * @param {object} chart  `title`, `xLabel`, `yLabel`; `series`, each with `name` and `points` of {x, y, hollow, title};
 *   `widest`, the most pixels that it may be wide; `xRange`, the least and the most x; and `xTicks`, which takes these two and returns ticks as [x, text].
 */
export function lineChart(chart) {
  const points = chart.series.flatMap((series) => series.points);
  // On a phone the drawing is narrower, so that its letters keep their size.
  const width = Math.max(NARROWEST, Math.min(chart.widest ?? WIDEST, document.documentElement.clientWidth - 72));
  const [left, right] = chart.xRange ?? widened(points.map((point) => point.x), 0.02);
  // Perplexity is read in ratios, so its axis is logarithmic.
  const logs = points.map((point) => Math.log10(point.y));
  const [low, high] = widened(logs, 0.08);
  const x = (value) => EDGE.left + ((value - left) / (right - left)) * (width - EDGE.left - EDGE.right);
  const y = (value) => HEIGHT - EDGE.bottom - ((Math.log10(value) - low) / (high - low)) * (HEIGHT - EDGE.top - EDGE.bottom);
  const drawing = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": summary(chart), class: "chart" });
  for (const tick of yTicks(10 ** low, 10 ** high)) {
    drawing.append(
      shape("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(tick), y2: y(tick) }),
      shape("text", { class: "tick", x: EDGE.left - 8, y: y(tick) + 4, "text-anchor": "end" }, figure(tick)),
    );
  }
  for (const [value, text] of chart.xTicks(left, right)) {
    drawing.append(shape("text", { class: "tick", x: x(value), y: HEIGHT - EDGE.bottom + 18, "text-anchor": "middle" }, text));
  }
  drawing.append(
    shape("text", { class: "axis", x: (EDGE.left + width - EDGE.right) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, chart.xLabel),
    shape("text", { class: "axis", transform: `translate(12 ${(EDGE.top + HEIGHT - EDGE.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, chart.yLabel),
  );
  chart.series.forEach((series, index) => {
    const color = `series${index % 6}`;
    const path = series.points.map((point, number) => `${number ? "L" : "M"}${x(point.x).toFixed(1)} ${y(point.y).toFixed(1)}`).join("");
    drawing.append(shape("path", { class: `line ${color}`, d: path }));
    for (const point of series.dots === false ? [] : series.points) {
      const dot = shape("circle", { class: `dot ${color}${point.hollow ? " hollow" : ""}`, cx: x(point.x), cy: y(point.y), r: 4.5 });
      if (point.title) dot.append(shape("title", {}, point.title));
      drawing.append(dot);
    }
  });
  return element(
    "figure",
    { class: "chart-box" },
    drawing,
    element("figcaption", {}, chart.series.map((series, index) => element("span", { class: `key series${index % 6}` }, element("bdi", {}, series.name))), chart.note ? element("span", { class: "help" }, chart.note) : null),
  );
}

function summary(chart) {
  const each = chart.series.map(({ name, points }) => `${name}: from ${figure(points[0].y)} to ${figure(points[points.length - 1].y)}`);
  return `${chart.title}. ${each.join("; ")}.`;
}

function widened(values, share) {
  const least = Math.min(...values);
  const most = Math.max(...values);
  const room = most > least ? (most - least) * share : Math.abs(most) * 0.1 || 0.5;
  return [least - room, most + room];
}

function yTicks(least, most) {
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5].map((part) => part * 10 ** Math.ceil(Math.log10(most - least))).find((size) => (most - least) / size <= 5);
  const even = [];
  for (let tick = Math.ceil(least / step) * step; tick <= most; tick += step) even.push(tick);
  if (most / least < 4) return even;
  // Over a wide range, even ticks would crowd at the top of the logarithmic axis.
  const ticks = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.log10(most); power += 1) {
    ticks.push(...[1, 2, 5].map((digit) => digit * 10 ** power).filter((tick) => tick >= least && tick <= most));
  }
  return ticks;
}

/** Return ticks at whole numbers. */
export function wholeTicks(least, most) {
  const step = Math.max(1, Math.ceil((most - least) / 8));
  const ticks = [];
  for (let value = Math.ceil(least); value <= most; value += step) ticks.push([value, String(value)]);
  return ticks;
}

/** Return ticks at days or, within two days, at times. */
export function timeTicks(least, most) {
  const short = most - least < 2 * 86400e3;
  const options = short ? { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } : { day: "numeric", month: "short" };
  const format = new Intl.DateTimeFormat("en-GB", options);
  return [0.05, 0.35, 0.65, 0.95].map((part) => least + part * (most - least)).map((value) => [value, format.format(value)]);
}
