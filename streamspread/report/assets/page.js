// The page: one state (threshold, run, layer, part of the layer), and what is drawn of it.

const data = JSON.parse(document.getElementById("data").textContent);
const {texts, taus, runs} = data;
const $ = id => document.getElementById(id);
const state = {tau: taus.indexOf(data.tau), run: data.networks[0]?.run ?? 0, layer: "", part: data.parts[0]};

// A number and its unit stay on one line.
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole).replaceAll(" %", "\u00a0%");
const count = value => Math.round(value).toLocaleString("en-US");
const short = value => (value >= 1000 ? `${+(value / 1000).toPrecision(3)}k` : `${+value.toPrecision(3)}`);
const tickPercent = value => `${+(100 * value).toPrecision(3)}\u00a0%`;
const percent = (low, high = low) => `${between(100 * low, 100 * high, digits)}\u00a0%`;
const between = (low, high, form) => (form(low) === form(high) ? form(low) : `${form(low)}…${form(high)}`);

// Three significant digits, written out.
function digits(value) {
  const [text, power] = value.toPrecision(3).split("e");
  if (!value) return "0";
  return power ? value.toFixed(Math.max(0, 2 - power)) : text;
}

// K of a layer at the chosen threshold, and its share of the dimensions.
function answer(layer, tau = state.tau) {
  const low = layer.k[0][tau], high = (layer.k[1] ?? layer.k[0])[tau];
  return {low, high, text: between(low, high, count), share: percent(low / layer.dim, high / layer.dim)};
}

const layersOf = (run, part) => run.layers.filter(layer => layer.part === part);
const tauText = () => `${taus[state.tau]}`;
const tell = (layer, k) => `${layer.name}: K(${tauText()}) = ${k.text}\n${k.share} / D = ${count(layer.dim)}`;

function union(lists) {
  const found = new Set(lists.flat());
  return data.order.filter(name => found.has(name));
}

// A series of K/D over layers; places: where each layer stands on the x axis.
function shareSeries(name, layers, places, style) {
  const points = layers.map((layer, index) => {
    const k = answer(layer);
    return {x: places[index], y: k.low / layer.dim, low: k.low / layer.dim, high: k.high / layer.dim, tip: tell(layer, k)};
  });
  return {name, points, ...style};
}

// By how much K grows where N doubles, over about the last doubling of a curve over N (a nearer point would make
// growth of a step of 1); nothing where either K is an interval.
function growth(points) {
  const after = points.at(-1), before = points.findLast(point => 2 * point.x <= after.x) ?? points.at(-2);
  if (!before?.low || before.low !== before.high || after.low !== after.high) return "";
  const grown = 100 * ((after.y / before.y) ** (1 / Math.log2(after.x / before.x)) - 1);
  return `${Math.round(10 * grown) < 0 ? "−" : "+"}${Math.abs(grown).toFixed(1)}\u00a0%`;
}

const shareAxis = () => ({
  y: {kind: "log", format: tickPercent},
  yLabel: fill(texts.spread_axis, {tau: tauText()}),
  rules: [{y: data.earlyShare, label: tickPercent(data.earlyShare)}],
});

function overLayers(host, entries, ordered = false) {
  const names = union(entries.map(entry => entry.layers.map(layer => layer.stem)));
  const series = entries.map((entry, index) =>
    shareSeries(entry.name, entry.layers, entry.layers.map(layer => names.indexOf(layer.stem)), look(index, entries.length, ordered)));
  drawChart(host, {x: {kind: "band", labels: names}, xLabel: texts.layer, ...shareAxis(), series});
}

const charts = {
  dimensions(host) {
    const entries = data.networks.map(network => ({name: network.name, layers: layersOf(runs[network.run], "conv")}));
    const names = union(entries.map(entry => entry.layers.map(layer => layer.stem)));
    const series = entries.map((entry, index) => ({
      name: entry.name, ...look(index, entries.length, false),
      points: entry.layers.map(layer => ({
        x: names.indexOf(layer.stem) + 0.06 * (index - (entries.length - 1) / 2), y: layer.dim,
        tip: `${layer.name}: ${layer.shape} = ${count(layer.dim)}`,
      })),
    }));
    const dims = [...new Set(series.flatMap(one => one.points.map(point => point.y)))].sort((a, b) => b - a);
    const y = {kind: "log", format: count, ticks: dims.length <= 8 ? dims : undefined};
    drawChart(host, {x: {kind: "band", labels: names}, xLabel: texts.layer, y, yLabel: texts.dimensions, series});
  },

  spread(host) {
    overLayers(host, data.networks.map(network => ({name: network.name, layers: layersOf(runs[network.run], state.part)})));
  },

  scree(host) {
    const run = runs[state.run];
    const layers = layersOf(run, chosen().part);
    const tau = taus[state.tau];
    const series = layers.map((layer, index) => {
      const [ks, lows, highs] = layer.scree;
      return {
        name: layer.name, marks: "few", ...look(index, layers.length, true),
        points: ks.map((k, i) => {
          const high = (highs ?? lows)[i];
          return {x: k, y: lows[i], low: lows[i], high, tip: `k = ${count(k)}: ${percent(lows[i], high)}`};
        }),
      };
    });
    const k = answer(chosen());
    drawChart(host, {
      x: {kind: "log", format: short, min: 1}, xLabel: texts.components_axis,
      y: {kind: "linear", format: tickPercent, min: 0, max: 1}, yLabel: texts.variance_axis, series,
      rules: [{y: tau, label: `τ = ${tau}`}, {
        x: [Math.max(k.low, 1), Math.max(k.high, 1)], label: `${shortened(chosen().name, 16)}: ${k.text}`,
      }],
    });
  },

  parts(host) {
    const entries = data.parts.map(part => ({name: texts[`part_${part}`], layers: layersOf(runs[state.run], part)}));
    overLayers(host, entries.filter(entry => entry.layers.length));
  },

  threshold(host) {
    const layers = layersOf(runs[state.run], chosen().part);
    const series = layers.map((layer, index) => ({
      name: layer.name, marks: "few", ...look(index, layers.length, true),
      points: taus.map((tau, i) => {
        const k = answer(layer, i);
        return {x: tau, y: k.low, low: k.low, high: k.high, tip: `K(${tau}) = ${k.text}\n${k.share}`};
      }),
    }));
    drawChart(host, {
      x: {kind: "linear", format: value => `${+value.toFixed(2)}`, min: 0, max: 1}, xLabel: texts.threshold_axis,
      y: {kind: "log", format: short}, yLabel: fill(texts.components_tau_axis, {tau: "τ"}), series,
      rules: [{x: taus[state.tau], label: `τ = ${tauText()}`}],
    });
  },

  samples(host) {
    const group = data.overSamples.find(found => found.runs.includes(state.run)) ??
      data.overSamples.find(found => runs[found.runs[0]].model === runs[state.run].model) ?? data.overSamples[0];
    const names = union(group.runs.map(at => layersOf(runs[at], "conv").map(layer => layer.name)));
    const series = names.map((name, index) => {
      const points = group.runs.flatMap(at => {
        const found = runs[at].layers.find(layer => layer.name === name);
        if (!found) return [];
        const k = answer(found);
        return [{x: runs[at].samples, y: k.low, low: k.low, high: k.high, tip: `N = ${count(runs[at].samples)}: K = ${k.text}`}];
      });
      return {name, note: growth(points), points, ...look(index, names.length, true)};
    });
    host.closest("figure").querySelector(".which").textContent = group.name;
    drawChart(host, {
      x: {kind: "log", format: short}, xLabel: texts.samples_axis,
      y: {kind: "log", format: short}, yLabel: fill(texts.components_tau_axis, {tau: tauText()}), series,
    });
  },

  depth(host) {
    const series = data.depths.map((entry, index) => {
      const layers = layersOf(runs[entry.run], "conv").filter(layer => layer.name !== "gap");
      const places = layers.map((_, i) => i / Math.max(layers.length - 1, 1));
      return shareSeries(entry.name, layers, places, look(index, data.depths.length, true));
    });
    drawChart(host, {
      x: {kind: "linear", format: value => `${+value.toFixed(1)}`, min: 0, max: 1}, xLabel: texts.depth_axis, ...shareAxis(), series,
    });
  },

  training(host) {
    const models = [...new Set(data.trainings.map(entry => runs[entry.run].model))];
    const model = models.includes(runs[state.run].model) ? runs[state.run].model : models[0];
    host.closest("figure").querySelector(".which").textContent = model;
    const entries = data.trainings.filter(entry => runs[entry.run].model === model);
    overLayers(host, entries.map(entry => ({name: entry.name, layers: layersOf(runs[entry.run], "conv")})), true);
  },

  compare(host) {
    const chosenRuns = [runs[$("run-a").value], runs[$("run-b").value]];
    overLayers(host, chosenRuns.map((run, index) => ({name: `${texts[index ? "run_b" : "run_a"]}: ${run.name}`, layers: layersOf(run, state.part)})));
  },
};

const chosen = () => runs[state.run].layers.find(layer => layer.name === state.layer) ?? runs[state.run].layers[0];

function options(select, entries, value) {
  select.replaceChildren(...entries.map(([key, label]) => new Option(label, key)));
  select.value = value;
}

function drawExplore() {
  const layer = chosen(), k = answer(layer);
  $("answer").textContent = `K(${tauText()}) = ${fill(texts.answer, {k: k.text, dim: count(layer.dim), share: k.share})}`;
  const images = count(runs[state.run].samples);
  const worth = fill(k.low === k.high ? texts.answer_closed : texts.answer_open, {images});
  $("answer-note").textContent = layer.limited.includes(state.tau) ? `${texts.limited}: ${texts.limited_means} · ${worth}` : worth;
  const facts = {
    [texts.network]: runs[state.run].title, [texts.shape]: layer.shape, N: count(layer.samples), [texts.ceiling]: count(layer.ceiling),
    ...(state.tau in layer.estimates && {[`K(${tauText()}), ${texts.estimate}`]: layer.estimates[state.tau]}),
    ...Object.fromEntries(data.metrics.map((name, index) => [name, layer.metrics[index]])),
    [texts.method]: layer.method, [texts.proof]: layer.proof,
  };
  $("layer-facts").replaceChildren(...Object.entries(facts).flatMap(([key, value]) => {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = key;
    text.textContent = value;
    return [term, text];
  }));
}

// Why the data of two runs are not the same; as Data.difference in Python.
function dataDifference(a, b) {
  const told = (what, fact) => [fill(texts[`compare_${what}`], {a: a[fact], b: b[fact]})];
  if (a.seen && a.seen === b.seen) return [];
  if (a.seen && b.seen && a.samples === b.samples) return a.data === b.data ? told("images", "description") : told("data", "data");
  if (!a.identified || !b.identified) return told("unknown", "data");
  return a.data === b.data ? [] : told("data", "data");
}

function drawCompare() {
  const [a, b] = [runs[$("run-a").value], runs[$("run-b").value]];
  const reasons = dataDifference(a, b);
  if (a.samples !== b.samples) reasons.push(fill(texts.compare_samples, {a: count(a.samples), b: count(b.samples)}));
  const names = union([a.layers.map(layer => layer.name), b.layers.map(layer => layer.name)]);
  const [ofA, ofB] = [a, b].map(run => Object.fromEntries(run.layers.map(layer => [layer.name, layer])));
  if (!names.some(name => ofA[name] && ofB[name])) reasons.push(texts.compare_layers);
  const verdict = $("compare-verdict");
  verdict.className = reasons.length ? "notice" : "soft";
  verdict.textContent = reasons.length ? `${texts.compare_note_differ} ${reasons.join("; ")}.` : a.seen && a.seen === b.seen ? texts.comparable : texts.comparable_described;
  const rows = names.map(name => {
    const [one, other] = [ofA[name], ofB[name]].map(layer => layer && answer(layer));
    const cell = k => (k ? `${k.text} (${k.share})` : "–");
    const ratio = one && other && one.low === one.high && other.low === other.high && one.low
      ? `× ${digits(other.low / ofB[name].dim / (one.low / ofA[name].dim))}` : "–";
    return [name, cell(one), cell(other), ratio];
  });
  const head = [texts.layer, `${texts.run_a}: ${a.name}`, `${texts.run_b}: ${b.name}`, `${texts.change} (K/D)`];
  $("compare-table").replaceChildren(...[head, ...rows].map((cells, index) => {
    const row = document.createElement("tr");
    cells.forEach((text, column) => {
      const cell = document.createElement(index && column ? "td" : "th");
      if (column) cell.className = "number";
      if (!index || !column) cell.scope = index ? "row" : "col";
      cell.textContent = text;
      row.append(cell);
    });
    return row;
  }));
}

function draw() {
  for (const id of ["tau", "run", "layer", "part"]) $(id).value = state[id];
  $("tau").setAttribute("aria-valuetext", tauText());
  $("tau-value").textContent = tauText();
  for (const place of document.querySelectorAll(".tau")) place.textContent = tauText();
  for (const place of document.querySelectorAll(".run-name")) place.textContent = runs[state.run].name;
  for (const place of document.querySelectorAll(".part-name")) place.textContent = texts[`part_${state.part}`];
  drawExplore();
  if ($("compare")) drawCompare();
  for (const host of document.querySelectorAll(".chart")) charts[host.dataset.chart](host);
}

function chooseRun(index) {
  state.run = index;
  const names = runs[index].layers.map(layer => layer.name);
  if (!names.includes(state.layer)) state.layer = names[0];
  options($("layer"), names.map(name => [name, name]), state.layer);
}

// What was chosen is kept in the address, so that a view can be linked to.
function change() {
  draw();
  const kept = new URLSearchParams({tau: tauText(), run: runs[state.run].name, layer: state.layer, part: state.part});
  try {
    history.replaceState(null, "", `#${kept}`);
  } catch { /* some viewers of local files forbid it: then there is no link */ }
}

function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  const tau = taus.indexOf(Number(kept.get("tau"))), run = runs.findIndex(found => found.name === kept.get("run"));
  if (tau >= 0) state.tau = tau;
  if (data.parts.includes(kept.get("part"))) state.part = kept.get("part");
  if (kept.get("layer")) state.layer = kept.get("layer");
  chooseRun(run >= 0 ? run : state.run);
}

function start() {
  $("tau").max = taus.length - 1;
  const names = runs.map((run, index) => [index, run.name]);
  options($("run"), names, state.run);
  options($("part"), data.parts.map(part => [part, texts[`part_${part}`]]), state.part);
  recall();
  if ($("compare")) {
    const first = data.networks[0]?.run ?? 0;
    options($("run-a"), names, first);
    options($("run-b"), names, data.networks[1]?.run ?? runs.findIndex((_, index) => index !== first));
    for (const id of ["run-a", "run-b"]) $(id).addEventListener("change", draw);
  }
  $("tau").addEventListener("input", () => { state.tau = Number($("tau").value); change(); });
  $("run").addEventListener("change", () => { chooseRun(Number($("run").value)); change(); });
  $("layer").addEventListener("change", () => { state.layer = $("layer").value; change(); });
  $("part").addEventListener("change", () => { state.part = $("part").value; change(); });
  $("controls").addEventListener("submit", event => event.preventDefault());
  addEventListener("hashchange", () => { recall(); draw(); });
  draw();
  if (data.embeddings.length) startLatent();
}
