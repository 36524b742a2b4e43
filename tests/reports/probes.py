"""Scripts that run inside the page in a browser, do what a reader does, and tell what is seen."""

# Before every probe.
HELPERS = """
const find = selector => document.querySelector(selector);
const all = selector => [...document.querySelectorAll(selector)];
const text = id => document.getElementById(id)?.textContent ?? null;
const tooWide = () => document.documentElement.scrollWidth - innerWidth;
const tell = seen => parent.postMessage(JSON.stringify(seen), "*");
const set = (id, value, event = "change") => {
  const control = document.getElementById(id);
  control.value = value;
  control.dispatchEvent(new Event(event, {bubbles: true}));
};
const option = (id, label) => [...document.getElementById(id).options].find(o => o.text === label).value;
const written = chart =>
  find(`#chart-${chart} svg`)?.outerHTML ?? find(`#chart-${chart} canvas`)?.toDataURL() ?? "";
const marks = (chart, kind) => all(`#chart-${chart} [aria-roledescription="${kind}"]`).map(m => m.ariaLabel);
const live = what =>
  all("[data-cell]").filter(c => JSON.parse(c.dataset.cell)[0] === what).map(c => c.textContent);
"""

# Runs in the page once it is drawn, does what a reader does, and tells what is seen.
PROBE = """
(async () => {
const seen = {errors: window.problems, width: innerWidth, steps: {}};
const charts = all(".chart").map(host => host.dataset.chart);
const note = async name => {
  await drawAll();
  seen.steps[name] = {
    finding: text("finding"), answer: text("answer"), tau: text("tau-value"), facts: text("layer-facts"),
    hash: location.hash, verdict: text("compare-verdict"), verdictClass: find("#compare-verdict").className,
    compare: text("compare-table"), said: find("#tau").ariaValueText, worth: text("answer-note"),
    charts: Object.fromEntries(charts.map(chart => [chart, written(chart)])),
    latent: text("caption-latent"), shares: live("share"),
    growth: live("growth"), spread: live("spread"), runFacts: text("run-facts"),
  };
};
try {
  await note("start");
  seen.points = marks("spread", "point");
  set("tau", Number(find("#tau").value) - 20, "input"); await note("tau");
  set("layer", "c3"); await note("layer");
  set("part", "relu"); await note("part");
  set("run", option("run", "no3-half")); await note("run");
  set("run-b", option("run-b", "no1-half")); await note("compare");
  set("layer", "c1"); await note("latent");
  const steps = Object.values(seen.steps);
  seen.changed = Object.fromEntries(Object.keys(seen.steps).slice(1).map((name, i) =>
    [name, charts.filter(chart => steps[i].charts[chart] !== steps[i + 1].charts[chart])]));
  for (const step of steps) delete step.charts;
  seen.drawn = charts.filter(chart => written(chart));
  seen.tooWide = tooWide();
  seen.controls = find("#controls").getBoundingClientRect().height;
  const shown = hint => hint.getBoundingClientRect().height && !hint.closest("details");
  seen.hints = all(".hint").filter(shown).length;
  seen.outside = all(".chart svg text, select, button, h1, h2, figcaption").filter(e => {
    const r = e.getBoundingClientRect();
    return r.width && (r.left < -1 || r.right > innerWidth + 1) && !e.closest(".scroll, .chart");
  }).map(e => e.textContent);
  const color = (node, what) => getComputedStyle(node)[what];
  seen.ground = color(document.body, "backgroundColor");
  const texts = ["body", ".soft", "nav a", ".holds", ".fails", ".keep button", "th"];
  seen.inks = texts.map(selector => [selector, color(find(selector), "color")]);
  seen.strokes = all("#chart-spread .role-legend path, #chart-scree .role-legend path")
    .map(m => color(m, "fill")).filter(c => c.startsWith("rgb("));
  seen.letters = all(".chart svg text").map(m => color(m, "fill"));
  seen.loaded = performance.getEntriesByType("resource").map(entry => entry.name);
} catch (error) {
  seen.errors.push(String(error.stack));
}
tell(seen);
})();
"""

# What each link to a file gives, and what the buttons copy.
FILES_PROBE = """
(async () => {
const kept = [], copied = [];
// Reading a blob takes time of its own, which does not pass here.
window.Blob = class { constructor([content]) { this.content = content; } };
URL.createObjectURL = ({content}) => `data:,${kept.push([null, content])}`;
HTMLAnchorElement.prototype.click = function () {
  if (this.href.startsWith("data:image")) kept.push([null, this.href]);
  kept.at(-1)[0] = this.download;
};
document.execCommand = () => copied.push(document.activeElement.value);
Object.defineProperty(navigator, "clipboard", {value: {writeText: async () => { throw new Error("no"); }}});
const pause = () => new Promise(done => setTimeout(done, 5));
try {
  await drawAll();
  const buttons = all(".keep button");
  for (const button of buttons) {
    const before = kept.length + copied.length;
    button.click();
    for (let i = 0; i < 400 && kept.length + copied.length === before; i++) await pause();
  }
  const start = content =>
    typeof content === "string" ? content : String.fromCharCode(...content.slice(0, 9));
  const files = kept.map(([name, content]) => [name, start(content).slice(0, 900)]);
  const pres = all("pre").map(place => place.textContent);
  tell({errors: window.problems, files, copied, buttons: buttons.length, pres});
} catch (error) {
  tell({errors: [...window.problems, String(error.stack)], files: [], copied, buttons: 0, pres: []});
}
})();
"""

LONE_PROBE = """
(async () => {
await drawAll();
const unseen = id => !document.getElementById(id).getClientRects().length;
const seen = {
  compared: text("compare-table"), answer: text("answer"), finding: text("finding"), tooWide: tooWide(),
  named: find("#tau").labels.length, charts: all(".chart").length,
  drawn: all(".chart").filter(host => host.querySelector("svg")).length,
  hidden: ["run", "layer", "part"].filter(unseen),
  shares: all("#chart-spread text").map(label => label.textContent).filter(label => label.endsWith("%")),
  layers: [...find("#layer").options].map(o => o.text), cells: marks("threshold", "rect mark").length,
};
const before = written("spread");
find("#chart-spread .role-legend-symbol path")?.dispatchEvent(new MouseEvent("click", {bubbles: true}));
await new Promise(done => setTimeout(done, 300));
tell({...seen, picked: written("spread") !== before, errors: window.problems});
})();
"""

LINK_PROBE = """
addEventListener("load", () => setTimeout(() => {
  const opened = {hash: location.hash, scrolled: scrollY > 0, before: text("answer")};
  addEventListener("hashchange", () =>
    tell({...opened, errors: window.problems, answer: text("answer"), tau: taus[find("#tau").value]}));
  location.hash = "tau=0.5&layer=c3";
}));
"""

WATCH = """<script>
window.problems = [];
addEventListener("error", event => problems.push(String(event.message)));
addEventListener("unhandledrejection", event => problems.push(String(event.reason?.stack ?? event.reason)));
addEventListener("securitypolicyviolation", event => problems.push(`blocked: ${event.blockedURI}`));
const complain = console.error;
console.error = (...words) => { problems.push(words.join(" ")); complain(...words); };
</script>"""

# A window cannot be as narrow as a telephone, a frame can.
FRAME = """<!doctype html><meta charset="utf-8"><pre id="seen"></pre><script>
addEventListener("message", event => { document.getElementById("seen").textContent = event.data; });
</script><iframe src="page.htmlFRAGMENT" style="border: 0; width: WIDTHpx; height: 900px"></iframe>"""
