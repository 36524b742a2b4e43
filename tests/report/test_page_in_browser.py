"""The page in a real browser: Debian's chromium, headless; skipped where it is missing."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from streamspread.report import text
from streamspread.report.labels import labels
from streamspread.report.page import to_html
from streamspread.report.runs import Collection, Run, collect, differences
from streamspread.results.spectrum import Interval, Spectra
from tests.report.probes import CROWDED_PROBE, FRAME, HELPERS, LINK_PROBE, LONE_PROBE, PROBE, WATCH
from tests.spectra import equal_layer, equal_run, open_layer

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt install chromium")


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """browse(page, width, dark): what the probe saw, and what the browser wrote to its console."""

    def run(page, width, dark, probe=PROBE, fragment=""):
        folder = tmp_path_factory.mktemp("browser")
        probed = page.replace("<head>", f"<head>{WATCH}", 1).replace(
            "</body>", f"<script>{{{HELPERS}{probe}}}</script></body>", 1
        )
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
            "--virtual-time-budget=5000",
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
    seen, console = browse(to_html(collect(study_files), labels("en"), "en"), width, dark)
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


def test_it_fits_its_width_without_shrinking(view):
    seen, _, width, _ = view
    assert seen["width"] == width
    assert seen["tooWide"] <= 0
    assert seen["outside"] == []
    assert all(abs(scale - 1) < 0.02 for scale in seen["scaled"])  # its 12 px are 12 px
    assert len(seen["scaled"]) == 9


def test_dark_and_light_can_be_read(view):
    seen, _, _, dark = view
    assert (luminance(seen["ground"]) < 0.05) is dark
    for place, ink in seen["inks"]:
        assert contrast(ink, seen["ground"]) >= 4.5, place
    assert all(contrast(stroke, seen["ground"]) >= 1.8 for stroke in seen["strokes"])


def test_the_controls_change_what_is_shown(view):
    seen, *_ = view
    steps = seen["steps"]
    # no1's c1 has 100 equal eigenvalues in 65,536 dimensions
    assert steps["start"]["answer"] == "K(0.7) = 70 of 65,536 dimensions: 0.107\u00a0%"
    assert steps["tau"]["answer"] == "K(0.5) = 50 of 65,536 dimensions: 0.0763\u00a0%"
    assert steps["tau"]["tau"] == steps["tau"]["said"] == "0.5"
    assert steps["tau"]["spread"] != steps["start"]["spread"]
    assert steps["layer"]["answer"] == "K(0.5) = 100 of 32,768 dimensions: 0.305\u00a0%"
    assert steps["part"]["curves"]["spread"] == 2  # both networks, after ReLU
    assert steps["run"]["answer"] == "K(0.5) = 98 of 32,768 dimensions: 0.299\u00a0%"  # 195 eigenvalues
    assert "tau=0.5&run=no3-half&layer=c3&part=relu" in steps["run"]["hash"]
    assert "N25,000" in steps["run"]["facts"]


def test_beside_k_stands_what_it_is_worth(view):
    seen, *_ = view
    start = seen["steps"]["start"]
    assert start["worth"] == "one value, proved for these 50,000 images, not for more"
    assert "K at most49,999" in start["facts"]


UNSURE_PROBE = """
const shapes = all("#chart-spread > svg > path[transform]").length;
const bars = all('#chart-spread svg > path[stroke-width="5"]').map(bar => bar.getAttribute("d"));
tell({errors: window.problems, worth: text("answer-note"), facts: text("layer-facts"), shapes, bars,
  verdict: text("compare-verdict")});
"""


def test_an_open_interval_is_a_bar_and_its_layer_says_so(browse):
    def run(name, n, **facts):
        layers = [open_layer("c1", 4096, 10, 20, n), equal_layer("c2", 4096, 60, n)]
        return Run(name, Path("a.arrow"), Spectra(layers, (0.7,), {"model": name} | facts))

    runs = (run("one", 64, data="batches from make"), run("two", 64, data="batches from make"))
    seen, console = browse(to_html(Collection(runs, {}), labels("en"), "en"), 400, False, UNSURE_PROBE)
    assert (seen["errors"], console) == ([], [])
    assert seen["worth"] == "a range, proved to hold K of these 64 images"
    assert (len(seen["bars"]), seen["shapes"]) == (2, 2)  # a bar for either c1, a mark for either c2
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
    seen, _ = browse(to_html(Collection(runs, {}), labels("en"), "en"), 400, False, UNSURE_PROBE)
    assert seen["errors"] == []
    assert labels("en").get(words, words) in seen["verdict"]
    assert (differences(*runs) == []) == words.startswith("comparable")


def test_runs_are_compared_and_said_why_not(view):
    seen, *_ = view
    steps = seen["steps"]
    assert steps["start"]["verdict"] == labels("en")["comparable_described"]
    assert "c1.bn" in steps["start"]["compare"]
    assert steps["compare"]["verdictClass"] == "notice"
    assert "different numbers of images (50,000 and 25,000)" in steps["compare"]["verdict"]
    assert "B: no1-half" in steps["compare"]["compare"]  # and is shown all the same
    assert "48 (0.0732\u00a0%)" in steps["compare"]["compare"]  # ⌈0.5 · 95⌉ of 65,536


def test_every_chart_has_its_curves(view):
    seen, *_ = view
    assert seen["steps"]["start"]["curves"] == {
        "dimensions": 2,
        "spread": 2,
        "scree": 7,
        "parts": 3,
        "threshold": 7,
        "samples": 7,
        "depth": 2,
        "training": 4,
        "compare": 2,
    }
    assert seen["steps"]["hidden"]["curves"]["spread"] == 1
    assert seen["steps"]["hidden and tau"]["curves"]["samples"] == 6  # it stays hidden when τ moves


def test_values_are_shown_when_pointed_at(view):
    seen, *_ = view
    steps = seen["steps"]
    assert steps["start"]["tip"] is None
    assert steps["hover"]["tip"] == "no1\nc1: 65536 = 65,536"
    assert steps["key"]["tip"] == "no1\nc2: 65536 = 65,536"
    assert steps["left"]["tip"] is None
    assert steps["backwards"]["tip"].startswith("6 convolutions\nc6: K(")  # the last point of the last curve
    assert steps["escape"]["tip"] is None


def test_the_latent_space_changes_with_layer_and_class(view):
    seen, *_ = view
    assert seen["steps"]["start"]["latent"] == "gap: 4 components, 90.0\u00a0%"
    assert seen["steps"]["latent"]["latent"] == "c1: 4 components, 50.0\u00a0%"
    assert seen["latentChanges"] is True


def test_a_lone_run_in_japanese_works_too(browse, study_files):
    lone = [path for path in study_files if path.stem == "no1-half"]
    seen, console = browse(to_html(collect(lone), labels("ja"), "ja"), 400, False, LONE_PROBE)
    assert (seen["errors"], console) == ([], [])
    assert seen["answer"] == "K(0.7) = 65,536 次元のうち 67：0.102\u00a0%"  # noqa: RUF001
    assert seen["tooWide"] <= 0


def test_a_network_is_first_compared_with_another_run_of_it(browse, study_files):
    two = [path for path in study_files if path.stem in ("no1", "no1-half")]
    seen, _ = browse(to_html(collect(two), labels("en"), "en"), 400, False, LONE_PROBE)
    assert seen["errors"] == []
    assert sorted(seen["compared"]) == ["no1", "no1-half"]


def test_a_lone_layer_after_relu_has_its_answer_and_a_named_axis(browse):
    lone = Collection((equal_run("lone", {"c3.relu": 2048}, {"c3.relu": 8}),), {})
    seen, console = browse(to_html(lone, labels("en"), "en"), 400, False, LONE_PROBE)
    assert (seen["errors"], console) == ([], [])
    assert seen["answer"] == "K(0.7) = 6 of 2,048 dimensions: 0.293\u00a0%"
    assert len(seen["shares"]) >= 2
    assert seen["named"] == 1  # the slider, and not its output, is what the label names


@pytest.fixture(scope="module")
def crowded():
    """Many layers, some of which only the run with more images has not; long names; equal trainings."""
    deep, long = {f"c{i}": 65536 for i in range(1, 31)}, {"features.denselayer32.conv2." * 4 + "x": 3211264}
    counts = {name: 100 + 10 * index for index, name in enumerate(deep)}
    facts = {"model": "deep", "plan": "deep", "weights_sha256": "ab"}
    training = {"weights": "none", "part": "training", "model": "somebody.models:" + "resnet_with_all" * 4}
    runs = [
        equal_run("deep", deep, counts, **facts),
        equal_run("deep-more", {"c1": 65536, "c2": 65536}, counts, samples=2000, **facts),
        equal_run("long" * 30, long, dict.fromkeys(long, 50), model="no3"),
        *(equal_run(name, deep, counts, seed=name, **training) for name in ("one", "two")),
    ]
    return to_html(Collection(tuple(runs), {}), labels("en"), "en")


@pytest.mark.parametrize("width", [400, 1600])
def test_many_layers_and_long_names_have_room(browse, crowded, width):
    seen, console = browse(crowded, width, False, CROWDED_PROBE)
    assert (seen["errors"], console) == ([], [])
    assert seen["met"] == []
    assert seen["tooWide"] <= 0
    assert {"dimensions", "spread"} <= set(seen["turned"])  # beside long names
    assert not {"parts", "training"} & set(seen["turned"])
    assert seen["samples"] == [f"c{i}" for i in range(1, 31)]
    assert seen["legend"] == [["untrained", "false"], ["untrained (2)", "true"]]


def test_a_link_into_the_page_leads_there_and_one_to_a_view_shows_it(browse, study_files):
    page = to_html(collect(study_files), labels("en"), "en")
    seen, console = browse(page, 1600, False, LINK_PROBE, "#explore")
    assert (seen["errors"], console) == ([], [])
    assert (seen["hash"], seen["scrolled"]) == ("#explore", True)
    assert seen["before"] == "K(0.7) = 70 of 65,536 dimensions: 0.107\u00a0%"
    assert seen["answer"] == "K(0.5) = 100 of 32,768 dimensions: 0.305\u00a0%"
    assert seen["tau"] == 0.5


def test_shares_are_written_as_in_the_tables(browse, study_files):
    bounds = [(0.25, 0.25), (36 / 16384, 36 / 16384), (1 / 32, 1 / 32), (3e-10, 3e-10), (0, 0)]
    bounds += [(1200 / 65536, 5000 / 65536), (0.9, 1)]
    joined = [(0.9996, 1), (1 / 3, 1 / 3 + 1e-6)]  # their texts are equal
    probe = f"tell({json.dumps(bounds + joined)}.map(([low, high]) => percent(low, high)))"
    seen, _ = browse(to_html(collect(study_files), labels("en"), "en"), 400, False, probe)
    expected = [text.percent(Interval(*both)) for both in bounds]
    assert [share.replace("\u00a0", " ") for share in seen] == [*expected, "100 %", "33.3 %"]
    assert expected[:3] == ["25.0 %", "0.220 %", "3.13 %"]  # the last is halfway between two texts
