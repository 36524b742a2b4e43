"""Scripts that run inside the page in a browser, do what a reader does, and tell what is seen."""

# Before every probe.
HELPERS = """
const find = selector => document.querySelector(selector);
const all = selector => [...document.querySelectorAll(selector)];
const text = id => document.getElementById(id)?.textContent ?? null;
const tooWide = () => document.documentElement.scrollWidth - innerWidth;
const tell = seen => parent.postMessage(JSON.stringify(seen), "*");
"""

# Runs in the page once it is drawn, does what a reader does, and tells what is seen.
PROBE = """
const seen = {errors: window.problems, width: innerWidth, steps: {}};
const curves = chart => [chart.dataset.chart, chart.querySelectorAll('svg > path[fill="none"]').length - 1];
const note = name => seen.steps[name] = {
  answer: text("answer"), tau: text("tau-value"), facts: text("layer-facts"), hash: location.hash,
  verdict: text("compare-verdict"), verdictClass: find("#compare-verdict").className,
  compare: text("compare-table"), said: find("#tau").ariaValueText,
  spread: find("#chart-spread svg").outerHTML.length, curves: Object.fromEntries(all(".chart").map(curves)),
  latent: text("latent-caption"), worth: text("answer-note"), tip: find("#tip").hidden ? null : text("tip"),
};
const set = (id, value, event = "change") => {
  const control = document.getElementById(id);
  control.value = value;
  control.dispatchEvent(new Event(event, {bubbles: true}));
};
const option = (id, label) => [...document.getElementById(id).options].find(o => o.text === label).value;
const pixels = () => find("#latent").toDataURL();
try {
  note("start");
  set("tau", Number(find("#tau").value) - 20, "input"); note("tau");
  set("layer", "c3"); note("layer");
  set("part", "relu"); note("part");
  set("run", option("run", "no3-half")); note("run");
  set("run-b", option("run-b", "no1-half")); note("compare");
  const before = pixels();
  set("latent-layer", "c1"); note("latent");
  find("#latent-legend button").click();
  seen.latentChanges = pixels() !== before;
  find("#chart-spread .legend button").click(); note("hidden");
  find("#chart-spread .legend button").click();
  find("#chart-samples .legend button").click();
  set("tau", Number(find("#tau").value) + 10, "input"); note("hidden and tau");
  const svg = find("#chart-dimensions svg");
  const box = svg.querySelector("path[transform]").getBoundingClientRect();
  const at = {clientX: box.left + box.width / 2, clientY: box.top + box.height / 2};
  svg.dispatchEvent(new PointerEvent("pointermove", {...at, bubbles: true})); note("hover");
  svg.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", cancelable: true})); note("key");
  svg.dispatchEvent(new PointerEvent("pointerleave")); note("left");
  const depth = find("#chart-depth svg");
  const press = key => depth.dispatchEvent(new KeyboardEvent("keydown", {key, cancelable: true}));
  press("ArrowLeft"); note("backwards");
  press("Escape"); note("escape");
  seen.tooWide = tooWide();
  seen.scaled = all(".chart > svg").map(s => s.getBoundingClientRect().width / s.viewBox.baseVal.width);
  seen.outside = all(".chart svg text, select, button, h1, h2, figcaption").filter(e => {
    const r = e.getBoundingClientRect();
    return r.width && (r.left < -1 || r.right > innerWidth + 1) && !e.closest(".scroll");
  }).map(e => e.textContent);
  const color = (node, what) => getComputedStyle(node)[what];
  seen.ground = color(document.body, "backgroundColor");
  const texts = ["body", ".lead", "nav a", ".holds", ".fails", ".legend button", "th"];
  seen.inks = texts.map(selector => [selector, color(find(selector), "color")]);
  seen.strokes = all(".legend line").map(node => color(node, "stroke"));
  seen.loaded = performance.getEntriesByType("resource").map(entry => entry.name);
} catch (error) {
  seen.errors.push(String(error.stack));
}
tell(seen);
"""

LONE_PROBE = """
tell({
  compared: ["run-a", "run-b"].map(id => document.getElementById(id)?.selectedOptions[0].text),
  errors: window.problems, answer: text("answer"), tooWide: tooWide(), named: find("#tau").labels.length,
  shares: all("#chart-spread text").map(label => label.textContent).filter(label => label.endsWith("%")),
});
"""

CROWDED_PROBE = """
const turned = label => label.getAttribute("transform")?.includes("-45");
const place = label => ({text: label.textContent, ...label.getBoundingClientRect().toJSON()});
const meet = (a, b) =>
  Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
  Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
const seen = {errors: window.problems, tooWide: tooWide(), turned: [], met: []};
for (const chart of all(".chart")) {
  const texts = [...chart.querySelectorAll("text")];
  if (texts.some(turned)) seen.turned.push(chart.dataset.chart);
  texts.filter(label => !turned(label)).map(place).forEach((a, i, level) => {
    for (const b of level.slice(i + 1)) if (meet(a, b)) seen.met.push([chart.dataset.chart, a.text, b.text]);
  });
}
seen.samples = all("#chart-samples .legend button").map(button => button.textContent.split(" ")[0]);
find("#chart-training .legend button").click();
seen.legend = all("#chart-training .legend button").map(button => [button.textContent, button.ariaPressed]);
tell(seen);
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
addEventListener("securitypolicyviolation", event => problems.push(`blocked: ${event.blockedURI}`));
const complain = console.error;
console.error = (...words) => { problems.push(words.join(" ")); complain(...words); };
</script>"""

# A window cannot be as narrow as a telephone, a frame can.
FRAME = """<!doctype html><meta charset="utf-8"><pre id="seen"></pre><script>
addEventListener("message", event => { document.getElementById("seen").textContent = event.data; });
</script><iframe src="page.htmlFRAGMENT" style="border: 0; width: WIDTHpx; height: 900px"></iframe>"""
