// What the reader chooses, and all that follows from it: texts, tables, charts.

// A number and its unit stay on one line.
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, key) => (Object.hasOwn(values, key) ? values[key] : whole)).replaceAll(" %", "\u00a0%");
const count = value => Math.round(value).toLocaleString("en-US");
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
  const low = layer.lows[tau], high = (layer.highs ?? layer.lows)[tau];
  return {low, high, text: between(low, high, count), share: percent(low / layer.dim, high / layer.dim)};
}

const layersOf = (run, part) => run.layers.filter(layer => layer.part === part);
// The chosen layer after the chosen part; where it has none of its own, such as a pooled one, as it is.
function chosen() {
  const own = runs[state.run].layers.filter(layer => layer.stem === state.layer);
  return own.find(layer => layer.part === state.part) ?? own[0] ?? runs[state.run].layers[0];
}

// By how much K grows where N doubles, over about the last doubling; as growth in collection.py.
function growth(names, name) {
  const found = names.map(one => runs.find(run => run.name === one))
    .map(run => ({n: run.samples, layer: run.layers.find(layer => layer.stem === name && layer.part === "conv")}))
    .filter(one => one.layer).map(({n, layer}) => ({n, ...answer(layer)}));
  const after = found.at(-1), before = found.findLast(one => 2 * one.n <= after.n) ?? found.at(-2);
  if (!before?.low || before.low !== before.high || after.low !== after.high) return "–";
  const grown = 100 * ((after.low / before.low) ** (1 / Math.log2(after.n / before.n)) - 1);
  return `${Math.round(10 * grown) < 0 ? "−" : "+"}${Math.abs(grown).toFixed(1)}\u00a0%`;
}

// A cell at the chosen threshold, as Cells in sections.py writes it.
function cell(what, run, name) {
  if (what === "growth") return growth(run, name);
  const layer = runs.find(one => one.name === run).layers.find(one => one.layer === name), k = answer(layer);
  const number = k.text + (layer.limited.includes(state.tau) ? "†" : "");
  if (what === "estimate") return layer.estimates[state.tau] ?? "–";
  if (what === "filled") return layer.ceiling && k.high ? percent(k.low / layer.ceiling, k.high / layer.ceiling) : "–";
  return {k: number, spread: k.share, share: `${number} (${k.share})`}[what];
}

// K/D of a run's layers that are not constant, and the steps from a layer to the next of its kind.
function spreadsOf(run) {
  const layers = layersOf(run, state.part).filter(layer => answer(layer).low > 0).map(layer => {
    const {low, high, share} = answer(layer);
    return {...layer, low: low / layer.dim, high: high / layer.dim, share};
  });
  const last = new Map(), steps = [];
  for (const layer of layers) {
    if (last.has(layer.line)) steps.push([last.get(layer.line), layer]);
    last.set(layer.line, layer);
  }
  return {layers, steps, falls: steps.filter(([a, b]) => b.high < a.low).map(([a, b]) => `${a.stem} → ${b.stem}`)};
}

// As finding.py says it.
function finding() {
  const run = runs[state.run], name = run.name, {layers, steps, falls} = spreadsOf(run);
  if (!layers.length) return fill(texts.finding_constant, {run: name});
  const least = layers.reduce((a, b) => (b.low < a.low ? b : a)), most = layers.reduce((a, b) => (b.low > a.low ? b : a));
  if (layers.length === 1) return fill(texts.finding_one, {tau: tauText(), run: name, layer: least.stem, share: least.share});
  const rises = steps.filter(([a, b]) => b.low > a.high).length;
  const said = [fill(texts.finding, {tau: tauText(), run: name, least: least.stem, least_share: least.share, most: most.stem, most_share: most.share})];
  if (steps.length) said.push(fill(texts.finding_steps, {rises, steps: steps.length}));
  if (falls.length) {
    said.push(falls.length > 4 ? fill(texts.finding_many_falls, {where: falls.length}) : fill(texts.finding_falls, {where: falls.join(", ")}));
    const others = data.networks.filter(([other]) => other !== state.run && !runs[other].layers.some(layer => layer.twin));
    const alike = others.filter(([other]) => spreadsOf(runs[other]).falls.join() === falls.join()).map(([, other]) => other);
    if (alike.length) said.push(fill(texts.finding_alike, {networks: alike.join(alike.some(other => other.includes(",")) ? "; " : ", ")}));
  }
  return said.join(" ");
}

function choices(select, entries, value) {
  select.replaceChildren(...entries.map(([key, label]) => new Option(label, key)));
  select.value = value;
}

function list(place, facts) {
  place.replaceChildren(...Object.entries(facts).flatMap(([key, value]) => {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = key;
    text.textContent = value;
    return [term, text];
  }));
}

function drawAnswer() {
  const run = runs[state.run], layers = layersOf(run, state.part);
  $("finding").textContent = finding();
  const spread = (key, form = count) => {
    const [low, high] = [Math.min(...layers.map(one => one[key])), Math.max(...layers.map(one => one[key]))];
    return low === high ? form(low) : `${form(low)} … ${form(high)}`;
  };
  const positions = layers.some(one => one.samples !== one.images);
  list($("run-facts"), {
    [texts.network]: run.model, [texts.data]: run.data, [`N (${texts.images})`]: count(run.samples),
    ...(positions && {[`N (${texts.samples})`]: spread("samples")}),
    ...(layers.length && {"D": spread("dim"), [texts.ceiling]: spread("ceiling")}),
  });
}

function drawLayer() {
  const layer = chosen(), k = answer(layer);
  $("answer").textContent = `${layer.layer}: K(${tauText()}) = ${fill(texts.answer, {k: k.text, dim: count(layer.dim), share: k.share})}`;
  const worth = fill(k.low === k.high ? texts.answer_closed : texts.answer_open, {images: count(layer.images)});
  $("answer-note").textContent = layer.limited.includes(state.tau) ? `${texts.limited}: ${texts.limited_means} · ${worth}` : worth;
  list($("layer-facts"), {
    [texts.network]: runs[state.run].title, [texts.shape]: layer.shape, [`N (${texts.images})`]: count(layer.images),
    ...(layer.images !== layer.samples && {[`N (${texts.samples})`]: count(layer.samples)}), [texts.ceiling]: count(layer.ceiling),
    ...(state.tau in layer.estimates && {[`K(${tauText()}), ${texts.estimate}`]: layer.estimates[state.tau]}),
    ...Object.fromEntries(data.metrics.map((name, index) => [name, layer.metrics[index]])),
    [texts.method]: layer.method, [texts.proof]: layer.proof,
  });
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
  const [a, b] = [runs[state.run], runs[$("run-b").value]];
  const reasons = dataDifference(a, b);
  if (a.samples !== b.samples) reasons.push(fill(texts.compare_samples, {a: count(a.samples), b: count(b.samples)}));
  const [ofA, ofB] = [a, b].map(run => new Map(run.layers.map(layer => [layer.layer, layer])));
  const places = new Map([...a.layers, ...b.layers].map(layer => [layer.layer, layer.place]));
  const names = [...places.keys()].sort((one, other) => places.get(one) - places.get(other));
  if (!names.some(name => ofA.has(name) && ofB.has(name))) reasons.push(texts.compare_layers);
  const verdict = $("compare-verdict");
  verdict.className = reasons.length ? "notice" : "soft";
  verdict.textContent = reasons.length ? `${texts.compare_note_differ} ${reasons.join("; ")}.` : a.seen && a.seen === b.seen ? texts.comparable : texts.comparable_described;
  const rows = names.map(name => {
    const [one, other] = [ofA, ofB].map(of => of.has(name) && {...answer(of.get(name)), dim: of.get(name).dim});
    const written = k => (k ? `${k.text} (${k.share})` : "–");
    const known = one && other && one.low === one.high && other.low === other.high && one.low;
    return [name, written(one), written(other), known ? `× ${digits(other.low / other.dim / (one.low / one.dim))}` : "–"];
  });
  const head = [texts.layer, `${texts.run_a}: ${a.name}`, `${texts.run_b}: ${b.name}`, `${texts.change} (K/D)`];
  $("compare-table").replaceChildren(...[head, ...rows].map((cells, index) => {
    const row = document.createElement("tr");
    cells.forEach((text, column) => {
      const cell = document.createElement(index && column ? "td" : "th");
      if (column) cell.className = "number";
      if (!index || !column) cell.scope = index ? "row" : "col";
      const inner = index && !column ? cell.appendChild(document.createElement("div")) : cell; // as tables have it
      inner.textContent = text;
      row.append(cell);
    });
    return row;
  }));
}

const cells = [...document.querySelectorAll("[data-cell]")].map(place => [place, JSON.parse(place.dataset.cell)]);

function show() {
  for (const id of ["tau", "run", "layer", "part"]) $(id).value = state[id];
  $("tau").setAttribute("aria-valuetext", tauText());
  const named = {"tau": tauText(), "run-name": runs[state.run].name, "part-name": data.parts.length > 1 ? `, ${texts[`part_${state.part}`]}` : ""};
  $("tau-value").textContent = tauText();
  for (const [kind, text] of Object.entries(named))
    for (const place of document.querySelectorAll(`.${kind}`)) place.textContent = text;
  drawAnswer();
  drawLayer();
  for (const [place, of] of cells) place.textContent = cell(...of);
  if ($("run-b")) drawCompare();
  drawCharts();
  hint();
}

function hint() {
  for (const place of document.querySelectorAll(".scroll")) place.classList.toggle("wide", place.scrollWidth > place.clientWidth + 1);
}

function chooseRun(index) {
  state.run = index;
  const stems = [...new Set(runs[index].layers.map(layer => layer.stem))];
  if (!stems.includes(state.layer)) state.layer = stems[0];
  choices($("layer"), stems.map(name => [name, name]), state.layer);
  if (!layersOf(runs[index], state.part).length) state.part = runs[index].layers[0].part;
}

// What was chosen is kept in the address, so that a view can be linked to.
function change() {
  show();
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

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // of a file on disk some browsers allow it only so
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = texts.copied;
}

function start() {
  $("tau").max = taus.length - 1;
  choices($("run"), runs.map((run, index) => [index, run.name]), state.run);
  choices($("part"), data.parts.map(part => [part, texts[`part_${part}`]]), state.part);
  // A choice of one is none.
  $("run").closest("label").hidden = runs.length < 2;
  $("part").closest("label").hidden = data.parts.length < 2;
  recall();
  if ($("run-b")) {
    const others = runs.map((run, index) => [index, run.name]);
    choices($("run-b"), others, data.networks[1]?.[0] ?? runs.findIndex((_, index) => index !== state.run));
    $("run-b").addEventListener("change", show);
  }
  if ($("latent-run")) {
    choices($("latent-run"), data.embeddings.map((one, index) => [index, one.name]), 0);
    $("latent-run").closest("div").hidden = data.embeddings.length < 2;
    $("latent-run").addEventListener("change", show);
  }
  $("tau").addEventListener("input", () => { state.tau = Number($("tau").value); change(); });
  $("run").addEventListener("change", () => { chooseRun(Number($("run").value)); change(); });
  $("layer").addEventListener("change", () => { state.layer = $("layer").value; change(); });
  $("part").addEventListener("change", () => { state.part = $("part").value; change(); });
  $("controls").addEventListener("submit", event => event.preventDefault());
  addEventListener("hashchange", () => { recall(); show(); });
  addEventListener("resize", () => { drawCharts(); hint(); });
  night.addEventListener("change", drawCharts);
  for (const place of document.querySelectorAll("pre")) {
    const text = place.textContent;
    links(place, [[texts.copy, event => copy(text, event.target)]]);
  }
  for (const place of document.querySelectorAll("details")) place.addEventListener("toggle", hint);
  for (const place of document.querySelectorAll("section:not(#over-training) .scroll")) place.insertAdjacentHTML("beforebegin", '<p class="hint"></p>');
  for (const place of document.querySelectorAll(".hint")) place.textContent = `⇄ ${texts.scrolls}`;
  addEventListener("beforeprint", () => {
    for (const place of document.querySelectorAll("details")) place.open = true;
    document.documentElement.classList.toggle("drawn-dark", night.matches);
    drawAll();
  });
  offerFiles();
  hosts.forEach(host => near.observe(host));
  show();
}

start();
