"use strict";

// A chart in SVG that fits its place, follows the colours of the page, and says its values when pointed at.
//
// drawChart(host, spec): spec = {
//   x: {kind: "band", labels} or {kind: "log" | "linear", format, min, max, ticks}, xLabel,
//   y: the same, yLabel,
//   series: [{name, color, shape, dash, points: [{x, y, low, high, tip}], marks: "all" | "few"}],
//   rules: [{x} or {y}, label]                     lines across; two where it is [low, high]
// }

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = [
  "M-4,0A4,4 0 1,0 4,0A4,4 0 1,0 -4,0Z", "M-3.6,-3.6H3.6V3.6H-3.6Z", "M0,-4.8L4.4,3.4H-4.4Z", "M0,-5L5,0L0,5L-5,0Z",
  "M0,4.8L4.4,-3.4H-4.4Z", "M-1.5,-5H1.5V-1.5H5V1.5H1.5V5H-1.5V1.5H-5V-1.5H-1.5Z",
  "M-4.4,-2.2L-2.2,-4.4L0,-2.2L2.2,-4.4L4.4,-2.2L2.2,0L4.4,2.2L2.2,4.4L0,2.2L-2.2,4.4L-4.4,2.2L-2.2,0Z",
];
const DASHES = ["", "7 3", "2 2.5", "8 3 2 3"];

function look(index, count, ordered) {
  const color = ordered ? `var(--o${count < 2 ? 0 : Math.round((9 * index) / (count - 1))})` : `var(--s${index % 8})`;
  return {color, shape: SHAPES[index % SHAPES.length], dash: DASHES[index % DASHES.length]};
}

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (parent) parent.append(made);
  return made;
}

const pen = document.createElement("canvas").getContext("2d");
pen.font = `12px ${getComputedStyle(document.body).fontFamily}`; // as .chart text
const widthOf = text => pen.measureText(text).width;

// What is longer loses its middle.
function shortened(text, most) {
  const end = Math.floor((most - 1) / 2);
  return text.length <= most ? text : `${text.slice(0, most - 1 - end)}…${text.slice(-end)}`;
}

// The ticks whose labels have room beside each other.
const apart = (ticks, gap) =>
  ticks.reduce((kept, tick) => (kept.length && Math.abs(tick.at - kept.at(-1).at) < gap ? kept : [...kept, tick]), []);

function logTicks(low, high, most) {
  for (const steps of [[1, 2, 5], [1, 3], [1]]) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
      for (const step of steps) {
        const value = step * 10 ** power;
        if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
      }
    if (found.length < 2) return linearTicks(low, high, most); // less than a decade
    if (found.length <= most || steps.length === 1) return found;
  }
}

function linearTicks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(s => s * power >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
  return found;
}

function makeScale(axis, values, from, to, most) {
  if (axis.kind === "band") {
    const step = (to - from) / Math.max(axis.labels.length, 1);
    const at = value => from + step * (value + 0.5);
    return {at, ticks: axis.labels.map((label, index) => ({at: at(index), label: shortened(label, 20)}))};
  }
  const log = axis.kind === "log";
  const usable = values.filter(value => Number.isFinite(value) && (!log || value > 0));
  let low = axis.min ?? Math.min(...usable), high = axis.max ?? Math.max(...usable);
  if (!usable.length) [low, high] = [1, 10];
  if (axis.min === undefined) low = log ? low / 1.25 : low;
  if (axis.max === undefined) high = log ? high * 1.25 : high;
  if (!(high > low)) high = log ? low * 10 : low + 1;
  const map = log ? Math.log : value => value;
  const at = value => from + ((map(log ? Math.max(value, low) : value) - map(low)) / (map(high) - map(low))) * (to - from);
  const ticks = axis.ticks ?? (log ? logTicks : linearTicks)(low, high, most);
  return {at, ticks: ticks.map(value => ({at: at(value), label: axis.format(value)}))};
}

function drawChart(host, spec) {
  host.spec = spec;
  const names = {};
  for (const series of spec.series) { // equal names are numbered: each is hidden by its own
    names[series.name] = (names[series.name] ?? 0) + 1;
    if (names[series.name] > 1) series.name += ` (${names[series.name]})`;
  }
  host.hiddenNames ??= new Set();
  paint(host);
}

// Only the window's width decides on a chart's: an observer of its place would be called by the painting itself.
addEventListener("resize", () => {
  for (const host of document.querySelectorAll(".chart")) if (host.spec && host.clientWidth !== host.drawnWidth) paint(host);
});

function paint(host) {
  const {spec, hiddenNames} = host;
  const width = (host.drawnWidth = host.clientWidth);
  if (!width) return;
  const shown = spec.series.filter(series => !hiddenNames.has(series.name));
  const points = shown.flatMap(series => series.points);
  const top = 10, bottom = Math.round(Math.min(354, Math.max(214, width * 0.62 - 46))), right = width - 14;
  const y = makeScale(spec.y, points.flatMap(p => [p.y, p.low ?? p.y, p.high ?? p.y]), bottom, top, 8);
  y.ticks = apart(y.ticks, 14);
  const longest = ticks => Math.max(0, ...ticks.map(tick => widthOf(tick.label)));
  const left = 28 + longest(y.ticks);
  const ruled = (spec.rules ?? []).flatMap(rule => rule.x ?? []);
  const x = makeScale(spec.x, [...points.map(p => p.x), ...ruled], left, right, width / 70);
  // Names are turned where they have no room beside each other; c1, c2, … are better read level, though not all.
  const room = longest(x.ticks) + 6;
  const turned = room > 40 && x.ticks.some((tick, i) => i && tick.at - x.ticks[i - 1].at < room);
  x.ticks = apart(x.ticks, turned ? 17 : room);
  const height = bottom + (turned ? 36 + 0.7 * room : 46);

  const hadFocus = host.contains(document.activeElement) && document.activeElement.tagName === "svg";
  host.replaceChildren();
  const svg = element("svg", {viewBox: `0 0 ${width} ${height}`, height, role: "img", tabindex: 0}, host);
  svg.setAttribute("aria-label", `${spec.yLabel}; ${spec.xLabel}: ${shown.map(series => series.name).join(", ")}`);
  drawAxes(svg, spec, x, y, {height, left, right, top, bottom, turned});
  const spots = [];
  for (const series of shown) spots.push(...drawSeries(svg, series, x, y));
  host.append(makeLegend(host));
  listen(svg, spots);
  if (hadFocus) svg.focus();
}

function drawAxes(svg, spec, x, y, box) {
  const {height, left, right, top, bottom, turned} = box;
  for (const tick of y.ticks) {
    element("line", {x1: left, x2: right, y1: tick.at, y2: tick.at, stroke: "var(--grid)"}, svg);
    element("text", {x: left - 6, y: tick.at + 4, "text-anchor": "end"}, svg).textContent = tick.label;
  }
  for (const tick of x.ticks) {
    element("line", {x1: tick.at, x2: tick.at, y1: top, y2: bottom, stroke: "var(--grid)"}, svg);
    const place = turned
      ? {transform: `translate(${tick.at + 4},${bottom + 12}) rotate(-45)`, "text-anchor": "end"}
      : {x: tick.at, y: bottom + 16, "text-anchor": "middle"};
    element("text", place, svg).textContent = tick.label;
  }
  for (const rule of spec.rules ?? []) {
    const across = rule.y !== undefined;
    const [scale, from, to] = across ? [y, top, bottom] : [x, left, right];
    const places = [across ? rule.y : rule.x].flat().map(value => scale.at(value)).filter(at => at >= from && at <= to);
    if (!places.length) continue;
    for (const at of places) {
      const ends = across ? {x1: left, x2: right, y1: at, y2: at} : {x1: at, x2: at, y1: top, y2: bottom};
      element("line", {...ends, stroke: "var(--soft)"}, svg);
    }
    const fits = !across && places.at(-1) + 4 + widthOf(rule.label) <= right;
    const place = across ? {x: right, y: places[0] - 4} : {x: fits ? places.at(-1) + 4 : places[0] - 4, y: bottom - 6};
    element("text", {...place, "text-anchor": fits ? "start" : "end"}, svg).textContent = rule.label;
  }
  element("path", {d: `M${left},${top}V${bottom}H${right}`, fill: "none", stroke: "var(--soft)"}, svg);
  element("text", {x: (left + right) / 2, y: height - 8, "text-anchor": "middle"}, svg).textContent = spec.xLabel;
  const upright = {transform: `translate(12,${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle"};
  element("text", upright, svg).textContent = spec.yLabel;
}

function drawSeries(svg, series, x, y) {
  const spots = series.points.map(point => ({px: x.at(point.x), py: y.at(point.y), point, series}));
  const few = series.marks === "few"; // then points are dense, and bounds within a pixel are a curve
  const open = series.points.filter(point => point.high > point.low && (!few || y.at(point.low) - y.at(point.high) > 1));
  if (open.length) { // a band, and where points are few a bar at each: no mark, since any place within may be the value
    const upper = series.points.map(p => `${x.at(p.x)},${y.at(p.high ?? p.y)}`);
    const lower = series.points.map(p => `${x.at(p.x)},${y.at(p.low ?? p.y)}`).reverse();
    element("polygon", {points: [...upper, ...lower].join(" "), fill: series.color, opacity: 0.2, stroke: series.color, "stroke-width": 0.7}, svg);
  }
  if (!few)
    for (const point of open)
      element("path", {d: `M${x.at(point.x)},${y.at(point.low)}V${y.at(point.high)}`, stroke: series.color, "stroke-width": 5}, svg);
  const joined = index => index > 0 && !open.includes(spots[index].point) && !open.includes(spots[index - 1].point);
  const path = spots.map((spot, index) => `${joined(index) ? "L" : "M"}${spot.px.toFixed(1)},${spot.py.toFixed(1)}`).join("");
  element("path", {d: path, fill: "none", stroke: series.color, "stroke-width": 1.8, "stroke-dasharray": series.dash}, svg);
  const every = few ? Math.max(1, Math.ceil(spots.length / 8)) : 1;
  spots.forEach((spot, index) => {
    if (index % every === 0 && !open.includes(spot.point)) element("path", {d: series.shape, fill: series.color, transform: `translate(${spot.px},${spot.py})`}, svg);
  });
  return spots;
}

function makeLegend(host) {
  const legend = document.createElement("div");
  legend.className = "legend";
  for (const series of host.spec.series) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", String(!host.hiddenNames.has(series.name)));
    const key = element("svg", {viewBox: "0 0 30 12", "aria-hidden": "true"}, button);
    element("line", {x1: 0, x2: 30, y1: 6, y2: 6, stroke: series.color, "stroke-width": 1.8, "stroke-dasharray": series.dash}, key);
    element("path", {d: series.shape, fill: series.color, transform: "translate(15,6)"}, key);
    button.append(series.note ? `${series.name} ${series.note}` : series.name);
    button.addEventListener("click", () => {
      if (!host.hiddenNames.delete(series.name)) host.hiddenNames.add(series.name);
      paint(host);
      host.querySelectorAll(".legend button")[host.spec.series.indexOf(series)].focus();
    });
    legend.append(button);
  }
  return legend;
}

function listen(svg, spots) {
  const ring = element("circle", {r: 8, fill: "none", stroke: "var(--ink)", "stroke-width": 1.5, visibility: "hidden"}, svg);
  let current = -1;
  const show = index => {
    current = index;
    const spot = spots[index];
    ring.setAttribute("cx", spot.px);
    ring.setAttribute("cy", spot.py);
    ring.setAttribute("visibility", "visible");
    const box = svg.getBoundingClientRect();
    showTip(`${spot.series.name}\n${spot.point.tip}`, box.left + spot.px, box.top + spot.py);
  };
  const hide = () => {
    ring.setAttribute("visibility", "hidden");
    hideTip();
  };
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    let best = -1, nearest = 45 ** 2;
    spots.forEach((spot, index) => {
      const distance = (spot.px - px) ** 2 + (spot.py - py) ** 2;
      if (distance < nearest) [best, nearest] = [index, distance];
    });
    best < 0 ? hide() : show(best);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", event => {
    if (event.key === "Escape") hide();
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step || !spots.length) return;
    event.preventDefault();
    if (current < 0 && step < 0) current = 0; // from before the first to the last
    show((current + step + spots.length) % spots.length);
  });
}

function showTip(text, left, top) {
  const tip = document.getElementById("tip");
  tip.textContent = text;
  tip.hidden = false;
  const {width, height} = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(left + 12, document.documentElement.clientWidth - width - 4))}px`;
  tip.style.top = `${top - height - 12 < 4 ? top + 14 : top - height - 12}px`;
}

function hideTip() {
  document.getElementById("tip").hidden = true;
}
