"""The page in a real browser: Debian's chromium, headless; skipped where it is missing, but not on GitHub."""

import csv
import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from streamspread.reports import text
from streamspread.reports.chart import MANY
from streamspread.reports.collection import Collection, collect, short_names
from streamspread.reports.finding import finding
from streamspread.reports.page import to_html
from streamspread.reports.run import Run, differences
from streamspread.reports.texts import texts_in
from streamspread.results.interval import Interval
from streamspread.results.spectra import Spectra
from tests.reports.probes import FILES_PROBE, FRAME, HELPERS, LINK_PROBE, LONE_PROBE, PROBE, WATCH
from tests.spectra import equal_layer, equal_run, open_layer

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "GITHUB_ACTIONS" not in os.environ, reason="no chromium: apt install chromium"
)


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """browse(page, width, dark): what the probe saw, and what the browser wrote to its console."""

    assert CHROMIUM, "no chromium, which GitHub has: apt install chromium"

    def run(page, width, dark, probe=PROBE, fragment=""):
        folder = tmp_path_factory.mktemp("browser")
        # The library in it has a </body> of its own.
        body, _, rest = page.replace("<head>", f"<head>{WATCH}", 1).rpartition("</body>")
        probed = f"{body}<script>{{{HELPERS}{probe}}}</script></body>{rest}"
        (folder / "page.html").write_text(probed, encoding="utf-8")
        frame = FRAME.replace("WIDTH", str(width)).replace("FRAGMENT", fragment)
        (folder / "frame.html").write_text(frame, encoding="utf-8")
        command = [
            CHROMIUM,
            "--headless",
            "--no-sandbox",  # tests may run as root
            "--disable-gpu",
            "--disable-background-networking",
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={max(width, 600)},1000",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--enable-logging=stderr",
            "--virtual-time-budget=30000",
            "--dump-dom",
            (folder / "frame.html").as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
        found = html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)[1])
        assert found, f"the probe said nothing: {done.stderr[-2000:]}"
        return json.loads(found), console

    return run


@pytest.fixture(scope="module", params=[(400, False), (400, True), (1600, False), (1600, True)], ids=str)
def view(request, browse, study_files):
    width, dark = request.param
    seen, console = browse(to_html(collect(study_files), texts_in("en"), "en"), width, dark)
    return seen, console, width, dark


def luminance(color):
    def linear(value):
        value = int(value) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(value) for value in re.findall(r"\d+", color)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_no_error_and_nothing_is_loaded(view):
    seen, console, *_ = view
    assert seen["errors"] == []
    assert console == []
    assert seen["loaded"] == []


def test_it_fits_its_width_and_the_controls_leave_room(view):
    seen, _, width, _ = view
    assert seen["width"] == width
    assert seen["tooWide"] <= 0
    assert seen["outside"] == []
    assert seen["controls"] <= 80
    assert (seen["hints"] > 0) == (width == 400)  # tables go on to the right


def test_dark_and_light_can_be_read(view):
    seen, _, _, dark = view
    assert (luminance(seen["ground"]) < 0.05) is dark
    for place, ink in seen["inks"]:
        assert contrast(ink, seen["ground"]) >= 4.5, place
    assert all(contrast(ink, seen["ground"]) >= 4.5 for ink in seen["letters"])
    assert len(seen["strokes"]) == 9  # two networks and seven layers
    assert all(contrast(stroke, seen["ground"]) >= 1.8 for stroke in seen["strokes"])


def test_every_chart_is_drawn(view):
    seen, *_ = view
    charts = ["spread", "dimensions", "scree", "threshold", "parts", "samples", "depth", "training", "latent"]
    assert seen["drawn"] == [*charts, "compare"]
    assert "K(τ) / D: 70 / 65,536" in seen["points"][0]
    assert len(seen["points"]) == 2 * 7


def test_the_controls_change_what_is_shown(view):
    seen, *_ = view
    steps = seen["steps"]
    # no1's c1 has 100 equal eigenvalues in 65,536 dimensions
    assert steps["start"]["answer"] == "c1: K(0.7) = 70 of 65,536 dimensions: 0.107\u00a0%"
    assert steps["tau"]["answer"] == "c1: K(0.5) = 50 of 65,536 dimensions: 0.0763\u00a0%"
    assert steps["tau"]["tau"] == steps["tau"]["said"] == "0.5"
    assert steps["layer"]["answer"] == "c3: K(0.5) = 100 of 32,768 dimensions: 0.305\u00a0%"
    assert steps["part"]["answer"].startswith("c3.relu: K(0.5) = 104 of")  # ⌈0.5 · 207⌉
    assert steps["run"]["answer"] == "c3: K(0.5) = 98 of 32,768 dimensions: 0.299\u00a0%"  # 195 eigenvalues
    assert "tau=0.5&run=no3-half&layer=c3&part=conv" in steps["run"]["hash"]
    assert "N (images)25,000" in steps["run"]["facts"]
    assert "N (images)25,000" in steps["run"]["runFacts"]


def test_each_control_moves_the_charts_that_depend_on_it_and_no_other(view):
    changed = view[0]["changed"]
    every = {"spread", "scree", "threshold", "parts", "samples", "depth", "training", "compare"}
    assert set(changed["tau"]) == every
    # A chosen layer is thicker in its charts, and has points of its own.
    assert set(changed["layer"]) == {"scree", "threshold"}
    assert {"spread", "scree", "threshold", "compare"} <= set(changed["part"])
    assert not {"samples", "depth", "training", "dimensions"} & set(changed["part"])
    assert set(changed["compare"]) == {"compare"}
    assert "c1: 4 components, 50.0 %" in view[0]["steps"]["latent"]["latent"]
    assert "gap: 4 components, 90.0 %" in view[0]["steps"]["run"]["latent"]  # there is none of c3


def test_the_threshold_moves_the_tables(view):
    steps = view[0]["steps"]
    assert steps["start"]["shares"][:2] == ["70 (0.107\u00a0%)", "70 (0.107\u00a0%)"]
    assert steps["tau"]["shares"][:2] == ["50 (0.0763\u00a0%)", "50 (0.0763\u00a0%)"]
    assert steps["start"]["growth"][0] == "+4.5\u00a0%"
    assert steps["tau"]["growth"][0] == "+4.2\u00a0%"
    assert steps["start"]["spread"] != steps["tau"]["spread"]


def test_the_sentence_is_that_of_python_at_any_threshold(view, study_files):
    collection = collect(study_files)
    runs, networks = {run.name: run for run in collection.runs}, short_names(collection.networks)

    def of(name, tau, part="conv"):
        others = {short: run.layers(part) for short, run in networks.items() if run.name != name}
        return finding(name, runs[name].layers(part), tau, texts_in("en"), others)

    said = {
        "start": of("no1", 0.7),
        "tau": of("no1", 0.5),
        "part": of("no1", 0.5, "relu"),
        "run": of("no3-half", 0.5),
    }
    for step, words in said.items():
        assert view[0]["steps"][step]["finding"].replace("\u00a0", " ") == words


def test_beside_k_stands_what_it_is_worth(view):
    seen, *_ = view
    start = seen["steps"]["start"]
    assert start["worth"] == "one value, proved for these 50,000 images, not for more"
    assert "K at most49,999" in start["facts"]


UNSURE_PROBE = """
drawAll().then(() => tell({
  errors: window.problems, worth: text("answer-note"), verdict: text("compare-verdict"),
  points: marks("spread", "point"),
  bars: marks("spread", "rule mark").filter(label => label.includes("series")),
}));
"""


def test_an_open_interval_is_a_bar_and_its_layer_says_so(browse):
    def run(name, n, **facts):
        layers = [open_layer("c1", 4096, 10, 20, n), equal_layer("c2", 4096, 60, n)]
        return Run(name, Path("a.arrow"), Spectra(layers, (0.7,), {"model": name} | facts))

    runs = (run("one", 64, data="batches from make"), run("two", 64, data="batches from make"))
    seen, console = browse(to_html(Collection(runs, {}), texts_in("en"), "en"), 400, False, UNSURE_PROBE)
    assert (seen["errors"], console) == ([], [])
    assert seen["worth"] == "a range, proved to hold K of these 64 images"
    assert [len(seen["bars"]), len(seen["points"])] == [2, 2]  # a bar for either c1, a mark for either c2
    assert all("layer: c1" in bar for bar in seen["bars"])
    assert all("layer: c2" in point for point in seen["points"])
    expected = "not known to be the same data (batches from make and batches from make)"
    assert expected in seen["verdict"]


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (("tensor (9,)", "aa"), ("tensor (9,)", "aa"), "comparable"),
        (("tensor (9,)", "aa"), ("tensor (9,)", "bb"), "not the same images (tensor (9,); tensor (9,))"),
        (("noise, 9 images", None), ("noise, 9 images", None), "comparable_described"),
        (("noise, 9 images", None), ("cifar10, 9 images", None), "different data (noise and cifar10)"),
    ],
)
def test_the_page_compares_data_as_the_tables_do(browse, a, b, words):
    runs = tuple(
        equal_run(name, {"c1": 99}, {"c1": 9}, data=data, data_seen=seen, model=name)
        for name, (data, seen) in (("one", a), ("two", b))
    )
    seen, _ = browse(to_html(Collection(runs, {}), texts_in("en"), "en"), 400, False, UNSURE_PROBE)
    assert seen["errors"] == []
    assert texts_in("en").get(words, words) in seen["verdict"]
    assert (differences(*runs) == []) == words.startswith("comparable")


def test_runs_are_compared_and_said_why_not(view):
    seen, *_ = view
    steps = seen["steps"]
    assert steps["start"]["verdict"] == texts_in("en")["comparable_described"]
    assert "c1.bn" in steps["start"]["compare"]
    assert steps["run"]["verdictClass"] == "notice"
    assert "different numbers of images (25,000 and 50,000)" in steps["run"]["verdict"]
    assert steps["compare"]["verdict"] == texts_in("en")["comparable_described"]
    assert "A: no3-half" in steps["compare"]["compare"]
    assert "B: no1-half" in steps["compare"]["compare"]
    assert "48 (0.0732\u00a0%)" in steps["compare"]["compare"]  # ⌈0.5 · 95⌉ of 65,536


def test_a_lone_run_in_japanese_works_too(browse, study_files):
    lone = [path for path in study_files if path.stem == "no1-half"]
    seen, console = browse(to_html(collect(lone), texts_in("ja"), "ja"), 400, False, LONE_PROBE)
    assert (seen["errors"], console) == ([], [])
    assert seen["answer"] == "c1: K(0.7) = 65,536 次元のうち 67：0.102\u00a0%"  # noqa: RUF001
    assert seen["tooWide"] <= 0


def test_a_lone_layer_after_relu_has_its_answer_and_a_named_axis(browse):
    lone = Collection((equal_run("lone", {"c3.relu": 2048}, {"c3.relu": 8}),), {})
    seen, console = browse(to_html(lone, texts_in("en"), "en"), 400, False, LONE_PROBE)
    assert (seen["errors"], console) == ([], [])
    assert seen["answer"] == "c3.relu: K(0.7) = 6 of 2,048 dimensions: 0.293\u00a0%"
    assert seen["finding"] == "At τ = 0.7, lone spreads over 0.293\u00a0% of its dimensions at c3.relu."
    assert len(seen["shares"]) >= 2
    assert seen["named"] == 1  # the slider, and not its output, is what the label names
    assert seen["hidden"] == ["run", "part"]  # a choice of one is none


HOSTILE = ["constructor", "__proto__", "</script>", "toString", "<b>&amp;", "x" * 200, "hasOwnProperty"]


def test_many_layers_and_hostile_names(browse):
    names = [*HOSTILE, *(f"layer{i // 8}.{i // 2 % 4}.conv{1 + i % 2}" for i in range(2 * MANY))]
    dims = dict.fromkeys(names, 4096)
    counts = {name: 50 + 3 * index for index, name in enumerate(names)}
    runs = tuple(
        equal_run(
            f"constructor{n}", dims, counts, model="__proto__", plan="p", data_seen="x", weights_sha256=n
        )
        for n in "123"
    )
    page = to_html(Collection(runs, {}), texts_in("en"), "en")
    seen, console = browse(page, 400, True, LONE_PROBE)
    assert (seen["errors"], console) == ([], [])
    assert seen["layers"] == names
    assert seen["tooWide"] <= 0
    assert seen["drawn"] == seen["charts"] == 7  # with the map, small panels and the line over checkpoints
    assert seen["cells"] >= 95 * len(names)
    assert seen["picked"]  # a click in the legend leaves the other runs grey


def test_every_chart_and_table_can_be_kept_and_every_command_copied(browse, study_files):
    page = to_html(collect(study_files), texts_in("en"), "en")
    seen, console = browse(page, 1600, True, FILES_PROBE)
    assert (seen["errors"], console) == ([], [])
    files = dict(seen["files"])
    assert len(seen["files"]) + len(seen["copied"]) == seen["buttons"]
    assert seen["copied"] == seen["pres"]
    assert files["spread.svg"].startswith("<svg")
    assert files["spread.png"].startswith("data:image/png;base64,")
    assert files["layers.arrow"].startswith("ARROW1")
    assert files["claims.arrow"].startswith("ARROW1")
    table = list(csv.reader(files["networks.csv"].splitlines()))
    assert table[1][:5] == ["no1", "plan of no1", "24 epochs", "88.05 %", "50,000"]
    assert len({len(row) for row in table}) == 1
    assert files["samples.csv"].splitlines()[0].startswith("layer,stem,part,place")
    assert {"networks.csv", "no1-numbers.csv", "no1-metrics.arrow", "scree.arrow", "points.arrow"} <= set(
        files
    )


def test_a_link_into_the_page_leads_there_and_one_to_a_view_shows_it(browse, study_files):
    page = to_html(collect(study_files), texts_in("en"), "en")
    seen, console = browse(page, 1600, False, LINK_PROBE, "#explore")
    assert (seen["errors"], console) == ([], [])
    assert (seen["hash"], seen["scrolled"]) == ("#explore", True)
    assert seen["before"] == "c1: K(0.7) = 70 of 65,536 dimensions: 0.107\u00a0%"
    assert seen["answer"] == "c3: K(0.5) = 100 of 32,768 dimensions: 0.305\u00a0%"
    assert seen["tau"] == 0.5


def test_shares_are_written_as_in_the_tables(browse, study_files):
    bounds = [(0.25, 0.25), (36 / 16384, 36 / 16384), (1 / 32, 1 / 32), (3e-10, 3e-10), (0, 0)]
    bounds += [(1200 / 65536, 5000 / 65536), (0.9, 1)]
    joined = [(0.9996, 1), (1 / 3, 1 / 3 + 1e-6)]  # their texts are equal
    probe = f"tell({json.dumps(bounds + joined)}.map(([low, high]) => percent(low, high)))"
    seen, _ = browse(to_html(collect(study_files), texts_in("en"), "en"), 400, False, probe)
    expected = [text.percent(Interval(*both)) for both in bounds]
    assert [share.replace("\u00a0", " ") for share in seen] == [*expected, "100 %", "33.3 %"]
    assert expected[:3] == ["25.0 %", "0.220 %", "3.13 %"]  # the last is halfway between two texts
