"use strict";

// Charts from their descriptions: rows of what is chosen go into them by name; Vega draws.

const data = JSON.parse(document.getElementById("data").textContent);
const {texts, taus, runs} = data;
const $ = id => document.getElementById(id);
const night = matchMedia("(prefers-color-scheme: dark)");
const state = {tau: taus.indexOf(data.tau), run: data.networks[0][0], layer: "", part: data.parts[0]};
const tauText = () => `${taus[state.tau]}`;

// A row for each layer, τ or point, as rows.py makes them.
function rowsOf(kind, shown, part, at) {
  const found = [];
  for (const [run, series] of shown) {
    for (const layer of runs[run].layers) {
      if (part !== null && layer.part !== part) continue;
      const {lows, highs, limited, estimates, scree, metrics, ...facts} = layer;
      const row = {...facts, run, series, panel: ""};
      if (kind === "scree") {
        const [k, low, high = low] = scree;
        k.forEach((one, i) => found.push({...row, k: one, low: low[i], high: high[i]}));
      } else {
        for (const t of at) found.push({...row, tau: taus[t], low: lows[t], high: (highs ?? lows)[t]});
      }
    }
  }
  return found.sort((a, b) => a.place - b.place);
}

// The group that a chart shows: that of the chosen run, or of its model, or the first.
function groupOf(chart) {
  const alone = [state.run, runs[state.run].name], {groups} = chart;
  if (groups === "run") return {name: alone[1], series: [alone]};
  if (groups === "pair") {
    const second = Number($("run-b").value);
    return {name: "", series: [[state.run, `A: ${alone[1]}`], [second, `B: ${runs[second].name}`]]};
  }
  return groups.find(group => group.series.some(([run]) => run === state.run)) ??
    groups.find(group => runs[group.series[0][0]].model === runs[state.run].model) ?? groups[0];
}

function shownBy(chart) {
  if (chart.rows === "points") return pointsShown();
  const group = groupOf(chart);
  const part = chart.parts ? null : chart.depends_on.includes("part") ? state.part : "conv";
  const at = chart.rows === "taus" ? taus.map((_, index) => index) : [state.tau];
  return {rows: rowsOf(chart.rows, group.series, part, at), name: group.name};
}

function decode(packed) {
  const bytes = Uint8Array.from(atob(packed), letter => letter.charCodeAt(0));
  return new Uint16Array(bytes.buffer);
}

function pointsShown() {
  const embedding = data.embeddings[Number($("latent-run").value) || 0];
  const layer = embedding.layers.find(one => one.layer === chosen().layer) ?? embedding.layers.at(-1);
  const labels = embedding.labels && decode(embedding.labels), places = decode(layer.points);
  const rows = Array.from({length: places.length / 2}, (_, i) => ({
    x: places[2 * i] / 65535, y: places[2 * i + 1] / 65535, said: count(i), panel: "",
    ...(labels && {label: labels[i], name: embedding.classes[labels[i]]}),
  }));
  return {rows: [...rows, ...layer.names], name: layer.title};
}

// The whole description of a chart as it is chosen now; printed: as a figure, with title and caption, on white.
function whole(chart, width, printed) {
  const {rows, name} = shownBy(chart);
  const many = chart.many && new Set(rows.map(row => row.place)).size >= data.many;
  const dark = night.matches && !printed, theme = data.themes[dark ? "dark" : "light"];
  const spec = structuredClone(many ? chart.many : chart.few);
  const names = [...new Set(rows.map(row => row.stem ?? ""))];
  const longest = Math.max(0, ...names.map(one => Math.min(one.length, 28)));
  const labels = 30 + 7 * longest; // beside a map, where nothing else says how wide they are
  const series = [...new Set(rows.map(row => row.series ?? ""))], keyed = series.length > 1 ? series : names;
  const entry = 36 + 7 * Math.max(3, ...keyed.map(one => Math.min(one.length, 28))); // of the legend
  const params = {
    tau: taus[state.tau], chosen: chosen().stem, ground: theme.background,
    angle: names.length * (longest + 2) * 7 > width - 70 ? -90 : 0, columns: Math.max(1, Math.floor((width - 60) / entry)),
  };
  const size = spec.facet ? {columns: Math.max(1, Math.floor(width / 270))} :
    {width: printed ? width : spec.height ? Math.max(120, width - labels) : "container", height: chart.rows === "points" ? Math.min(width, 620) : 300};
  const titled = printed && {title: {text: [chart.title, name].filter(Boolean).join(" · "), subtitle: caption(rows)}};
  return {
    key: `${chart.title} ${Boolean(many)} ${dark} ${JSON.stringify(spec.facet ? size : "")}`, rows, params, theme,
    spec: {
      $schema: data.schema, params: Object.entries(params).map(([name, value]) => ({name: `now_${name}`, value})),
      data: {name: "rows"}, datasets: {rows}, ...(spec.facet || spec.height ? {} : {autosize: {type: "fit-x", contains: "padding"}}),
      ...size, ...titled, ...spec, ...(spec.facet && size),
    },
  };
}

function caption(rows) {
  const of = [...new Set(rows.map(row => row.run).filter(run => run !== undefined))].map(run => runs[run]);
  const listed = found => [...new Set(found)].slice(0, 6).join(", ");
  if (!of.length) return "";
  const images = fill(texts.caption_images, {images: listed(of.map(run => count(run.samples)))});
  return [listed(of.map(run => run.model)), listed(of.map(run => run.data)), images, `τ = ${tauText()}`].join(" · ");
}

const options = (theme, renderer) => ({
  actions: false, ast: true, renderer, logLevel: 1, config: theme, tooltip: {theme: night.matches ? "dark" : "light"},
});

async function drawOnce(host) {
  const chart = data.charts[host.dataset.chart];
  const {key, rows, params, theme, spec} = whole(chart, host.clientWidth, false);
  const which = host.closest("figure").querySelector(".which");
  if (which) which.textContent = shownBy(chart).name;
  host.dataset.rows = rows.length;
  if (!rows.some(row => row.low > 0 || "x" in row)) return; // all is constant
  if (host.drawn?.key === key) {
    for (const [name, value] of Object.entries(params)) host.drawn.view.signal(`now_${name}`, value);
    await host.drawn.view.data("rows", rows).runAsync();
  } else {
    host.drawn?.view.finalize();
    const {view} = await vegaEmbed(host, spec, options(theme, chart.rows === "points" ? "canvas" : "svg"));
    host.drawn = {key, view};
  }
}

// One drawing at a time: while it lasts, the last of what is asked for waits.
async function draw(host) {
  host.wanted = true;
  if (host.busy) return host.busy;
  host.busy = (async () => {
    while (host.wanted) {
      host.wanted = false;
      await drawOnce(host);
    }
  })();
  try {
    await host.busy;
  } finally {
    host.busy = null;
  }
}

const hosts = [...document.querySelectorAll(".chart")];
const near = new IntersectionObserver(entries => entries.forEach(({target, isIntersecting}) => {
  target.near = isIntersecting;
  if (isIntersecting && target.stale) drawNear(target);
}), {rootMargin: "400px"});

function drawNear(host) {
  host.stale = !host.near;
  if (host.near) draw(host);
}

// Charts that are not near the window wait until they are.
function drawCharts() {
  if (window.vegaEmbed) hosts.forEach(drawNear);
}

async function drawAll() {
  if (!window.vegaEmbed) return;
  for (const host of hosts) {
    host.stale = false;
    await draw(host);
  }
}

// Links to keep a chart or a table as a file.
function keep(name, content, kind) {
  const link = document.createElement("a");
  link.download = name;
  link.href = typeof content === "string" && content.startsWith("data:") ? content : URL.createObjectURL(new Blob([content], {type: kind}));
  link.click();
}

const csv = lines => lines.map(cells => cells.map(cell => {
  const text = String(cell ?? "");
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}).join(",")).join("\n") + "\n";

const arrow = packed => Uint8Array.from(atob(data.arrow[packed] ?? packed), letter => letter.charCodeAt(0));

async function figure(chart, kind) {
  const {spec, theme} = whole(chart, 640, true);
  const {view} = await vegaEmbed(document.createElement("div"), spec, options(theme, "svg"));
  const drawn = kind === "svg" ? await view.toSVG() : await view.toImageURL("png", 2.5);
  view.finalize();
  return drawn;
}

function links(place, made) {
  const line = document.createElement("p");
  line.className = "keep";
  for (const [label, act] of made) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", act);
    line.append(button);
  }
  place.after(line);
}

function offerFiles() {
  for (const host of hosts) {
    const name = host.dataset.chart, chart = data.charts[name];
    const rows = () => shownBy(chart).rows.map(({panel, key, ...row}) => row);
    const table = () => {
      const found = rows(), heads = [...new Set(found.flatMap(row => Object.keys(row)))];
      return csv([heads, ...found.map(row => heads.map(head => row[head]))]);
    };
    const kept = {scree: "scree", points: "points"}[chart.rows] ?? "layers";
    links(host, [
      ["SVG", async () => keep(`${name}.svg`, await figure(chart, "svg"), "image/svg+xml")],
      ["PNG", async () => keep(`${name}.png`, await figure(chart, "png"))],
      ["CSV", () => keep(`${name}.csv`, table(), "text/csv")],
      ["Arrow", () => keep(`${kept}.arrow`, arrow(kept), "application/vnd.apache.arrow.file")],
    ]);
  }
  for (const place of document.querySelectorAll(".scroll")) {
    const {name, arrow: packed} = place.dataset;
    const cells = () => [...place.querySelectorAll("tr")].map(row => [...row.cells].map(cell => cell.innerText.replaceAll("\u00a0", " ")));
    links(place, [
      ["CSV", () => keep(`${name}.csv`, csv(cells()), "text/csv")],
      ["Arrow", () => keep(`${name}.arrow`, arrow(packed), "application/vnd.apache.arrow.file")],
    ]);
  }
}
