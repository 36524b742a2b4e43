"""Figures as they are drawn: what stands in the SVG, mark by mark, is what the spectra say."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamspread.errors import MissingError
from streamspread.reports import build, figures
from streamspread.reports.chart import CHARTS, MANY, Chart
from streamspread.reports.charts.latent import MOST_PRINTED
from streamspread.reports.collection import Collection, checkpoints, collect
from streamspread.reports.figures import all_figures, complete_spec, latent
from streamspread.reports.rows import role
from streamspread.reports.run import Run
from streamspread.reports.texts import languages, texts_in
from streamspread.results.embedding import Embedding, LayerEmbedding
from streamspread.results.spectra import Spectra
from streamspread.study.claims import TAU
from tests.spectra import NO1_DIMS, NO3_DIMS, equal_run, open_layer

pytest.importorskip("vl_convert", reason="figures need vl-convert")
TEXTS = texts_in("en")
HOSTILE = ["constructor", "__proto__", "</script>", "toString", "x" * 200, "a$\\frac$", "層"]


def marks(svg, kind):
    """What each mark of a kind says of itself: its fields by their titles."""
    found = re.findall(rf'aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="{kind}"', svg)
    return [dict(part.split(": ", 1) for part in label.split("; ") if ": " in part) for label in found]


def drawn(runs, name, embeddings=None):
    return figures.svg(all_figures(Collection(tuple(runs), embeddings or {}), TEXTS)[name]())


@pytest.fixture(scope="module")
def networks(growing):
    return equal_run("a", NO1_DIMS, growing), equal_run("b", NO3_DIMS, growing, model="no3")


@pytest.fixture(scope="module")
def with_an_interval(growing):
    run = equal_run("a", NO1_DIMS, growing)
    layers = dict(run.spectra) | {"c2": open_layer("c2", 65536, 100, 200)}
    return Run("a", run.path, Spectra(layers.values(), (0.7,), run.facts))


def test_figure_4_shows_the_shares(networks, growing):
    svg = drawn(networks, "figure4-spread")
    found = {(m["series"], m["layer"]): m["K(τ) / D"] for m in marks(svg, "point")}
    assert found == {
        (name, layer): f"{int(np.ceil(TAU * growing[layer]))} / {dim:,}"
        for name, dims in (("no1", NO1_DIMS), ("no3", NO3_DIMS))
        for layer, dim in dims.items()
    }
    assert "N = 1,000 images · τ = 0.7" in svg
    assert "Figure 4" in svg


def test_figure_3_shows_the_dimensions(networks):
    found = marks(drawn(networks, "figure3-dimensions"), "point")
    assert [float(m["dimensions D"]) for m in found if m["series"] == "no3"] == list(NO3_DIMS.values())


def test_an_interval_is_a_bar_from_bound_to_bound_with_no_mark_in_it(with_an_interval):
    svg = drawn([with_an_interval], "figure4-spread")
    (bar,) = [m for m in marks(svg, "rule mark") if "K(τ) / D" in m]
    assert bar["K(τ) / D"] == "100…200 / 65,536"
    assert [m["layer"] for m in marks(svg, "point")] == ["c1", "c3", "c4", "c5", "c6", "gap"]


def test_only_layers_of_one_kind_are_joined(networks):
    # c1 … c6 are a line for each network, and gap is a line of one point.
    svg = drawn(networks, "figure4-spread")
    paths = re.findall(r'<path [^>]*aria-roledescription="line mark" d="([^"]*)"', svg)
    assert sorted(path.count("L") for path in paths) == [0, 0, 5, 5]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("c1", "c*"),
        ("gap", "gap"),
        ("features.10", "features.*"),
        ("layer1.0.conv2", "layer*.*.conv2"),
        ("layer4.2.downsample.0", "layer*.*.downsample.*"),
        ("encoder.layer.11.attention.self.query", "encoder.layer.*.attention.self.query"),
        ("blocks.3.mlp.fc1", "blocks.*.mlp.fc1"),
        ("conv1", "conv*"),
    ],
)
def test_layers_of_one_kind_have_one_name(name, kind):
    assert role(name) == kind


def test_bounds_of_a_scree_curve_make_a_band(with_an_interval):
    spec = all_figures(Collection((with_an_interval,), {}), TEXTS)["scree-no1"]()
    rows = [row for row in spec["datasets"]["rows"] if row["stem"] == "c2"]
    assert (rows[-1]["k"], rows[-1]["low"], rows[-1]["high"]) == (200, pytest.approx(0.7), 1.0)
    assert figures.svg(spec).count("<svg") == 1


def test_a_scree_curve_takes_proved_bounds_where_not_all_eigenvalues_are_known():
    layer = open_layer("c1", 1000, 150, 200)
    spectra = Spectra([replace(layer, lower_sums=np.cumsum(layer.eigenvalues) / 2)], (0.7,), {"model": "m"})
    spec = all_figures(Collection((Run("m", Path("m.arrow"), spectra),), {}), TEXTS)["scree-m"]()
    assert spec["datasets"]["rows"][-1]["low"] == pytest.approx(0.35)
    assert spec["datasets"]["rows"][-1]["high"] == pytest.approx(0.7 / 0.75, abs=1e-5)


def test_k_over_n_is_a_share_of_k_at_the_largest_n(study_files):
    collection = collect(study_files)
    svg = figures.svg(all_figures(collection, TEXTS)["over-samples"]())
    at = TEXTS["settled_axis"]
    first = [float(m[at]) for m in marks(svg, "point") if m["K(τ) / D"] == "67 / 65,536"]
    assert first == pytest.approx([67 / 70] * 2)  # ⌈0.7 · 95⌉ of ⌈0.7 · 100⌉, in either network
    assert "a  no1" in svg.replace("\u00a0", " ")


def test_all_that_can_be_drawn_is_and_nothing_else(study_files):
    names = {"figure3-dimensions", "figure4-spread", "scree-no1", "scree-no3", "over-threshold", "parts"}
    names |= {"over-samples", "depth", "training", "latent-no1-tsne"}
    assert set(all_figures(collect(study_files), TEXTS)) == names
    lone = collect([path for path in study_files if path.stem == "depth4"])
    assert set(all_figures(lone, TEXTS)) == {
        "dimensions",
        "spread",
        "scree-plan-4",
        "over-threshold",
        "depth",
    }


@pytest.fixture(scope="module")
def deep():
    names = [f"layer{1 + i // 8}.{i // 2 % 4}.conv{1 + i % 2}" for i in range(2 * MANY)]
    counts = {name: 5 + 3 * index for index, name in enumerate(names)}
    return equal_run("deep", dict.fromkeys(names, 640), counts, model="torchvision:resnet18")


def test_many_layers_are_a_map_and_small_panels(deep):
    assert set(all_figures(Collection((deep,), {}), TEXTS)) == {
        "dimensions",
        "spread",
        "by-kind",
        "scree-torchvision-resnet18",
        "over-threshold",
    }
    svg = drawn([deep], "over-threshold")
    assert len(marks(svg, "rect mark")) >= 2 * MANY * 90
    panels = re.findall(r"layer\*\.\*\.conv\d", drawn([deep], "by-kind"))
    assert set(panels) == {"layer*.*.conv1", "layer*.*.conv2"}


@pytest.mark.parametrize("name", ["figure4-spread", "scree-no1", "over-threshold", "over-samples"])
def test_names_of_layers_may_be_anything(name):
    runs = [
        equal_run(f"constructor{n}", dict.fromkeys(HOSTILE, 64), dict.fromkeys(HOSTILE, 9), samples=n)
        for n in (50, 100)
    ]
    svg = drawn(runs, name)
    assert "NaN" not in svg
    shown = svg.replace("&lt;", "<").replace("&gt;", ">")
    assert all(one in shown for one in HOSTILE if len(one) < 28)


def test_characters_that_no_svg_can_hold_are_written_out():
    """vl-convert ends the whole process at one."""
    text = "a\x1b]0;x\x07\x00\uffffb"
    drawn = figures.svg({"data": {"values": [{}]}, "mark": {"type": "text", "text": text}})
    assert r"a\x1b]0;x\x07\x00" in drawn
    assert figures.png(drawn)


def test_checkpoints_are_in_order_and_a_curve_for_each_layer(growing):
    runs = [
        equal_run(f"step-{n}", NO1_DIMS, growing, weights_sha256=str(n), data_seen="x") for n in (100, 20, 3)
    ]
    spec = all_figures(Collection(tuple(runs), {}), TEXTS)["over-training"]()
    rows = [row for row in spec["datasets"]["rows"] if row["stem"] == "c1"]
    assert [row["series"] for row in rows] == ["step-3", "step-20", "step-100"]
    assert {m["layer"] for m in marks(figures.svg(spec), "point")} == set(NO1_DIMS)


@pytest.mark.parametrize(("panels", "own"), [(2, False), (3, True), (4, False)])
def test_a_place_without_a_panel_has_no_axis(panels, own):
    found = [{"panel": name, "stem": "c1"} for name in "abcd"[:panels]]
    drawn = complete_spec({"layer": []}, found, [])
    assert (drawn.get("resolve") == {"axis": {"x": "independent"}}) is own


def test_courses_of_one_model_over_other_data_are_all_shown(growing):
    runs = [
        equal_run(f"{data}-{n}", NO1_DIMS, growing, weights_sha256=str(n), data_seen=data)
        for data in "xy"
        for n in range(3)
    ]
    assert list(checkpoints(Collection(tuple(runs), {}))) == ["no1: x-0 … x-2", "no1: y-0 … y-2"]


def test_constant_layers_alone_are_not_drawn():
    assert all_figures(Collection((equal_run("a", NO1_DIMS, {"c1": 0, "c2": 0}),), {}), TEXTS) == {}
    beside = [equal_run("a", NO1_DIMS, {"c1": 0, "c2": 9})]
    for name in all_figures(Collection(tuple(beside), {}), TEXTS):
        assert "NaN" not in drawn(beside, name)


def test_a_twin_of_random_weights_is_dashed(growing):
    run = equal_run("a", NO1_DIMS, growing)
    twin = replace(equal_run("a, random", NO1_DIMS, growing, weights="none"), is_twin=True)
    svg = drawn([run, twin], "figure4-spread")
    dashes = re.findall(r'<path [^>]*aria-roledescription="line mark"[^>]*stroke-dasharray="([\d,]*)"', svg)
    assert set(dashes) == {"1,0", "4,3"}


@pytest.mark.parametrize("lang", languages())
def test_files_are_written_in_every_language_and_the_same_again(study_files, tmp_path, lang):
    try:
        figures.check(lang)
    except MissingError as error:
        pytest.skip(str(error))
    few = [path for path in study_files if path.stem in ("no3", "no1-tsne")]
    assert build.write(few, tmp_path, lang) == []
    folder = tmp_path / "figures"
    assert len({path.stem for path in folder.iterdir()}) == 6
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before["figure4-spread.png"].startswith(b"\x89PNG")
    assert b"<svg" in before["figure4-spread.svg"]
    picture = all_figures(collect(few), texts_in(lang))["figure4-spread"]
    build.save_figure(picture(), tmp_path / "again")
    for suffix in ("png", "svg"):
        assert (tmp_path / f"again.{suffix}").read_bytes() == before[f"figure4-spread.{suffix}"]


def test_missing_fonts_are_one_clear_line(monkeypatch):
    monkeypatch.setattr(figures, "png", lambda drawn: b"a box")
    with pytest.raises(MissingError, match=r"need a font with Japanese.*apt install fonts-noto-cjk"):
        figures.check("ja")
    figures.check("en")


def test_a_missing_library_still_gives_the_page(study_files, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    (line,) = build.write(study_files[:1], tmp_path, "en")
    assert "its figures are not: figures need vl-convert" in line
    assert "pip install vl-convert-python" in line
    assert (tmp_path / "index.html").is_file()


def test_the_embedding_says_k_and_names_all_classes(study_files):
    svg = figures.svg(latent(collect(study_files).embeddings["no1-tsne"], TEXTS))
    for words in (
        "c1: 4 components, 50.0 %",
        "gap: 4 components, 90.0 %",
        "no1, 40 images",
        "cat",
        "dog",
        "ship",
    ):
        assert words in svg
    assert len(marks(svg, "circle")) == 2 * 40


def test_of_many_points_some_are_printed_and_it_is_said():
    n = 2 * MOST_PRINTED + 2
    layer = LayerEmbedding(
        layer="c1", shape=(9,), dim=9, axes=4, share=0.5, points_N2=np.random.default_rng(0).random((n, 2))
    )
    spec = latent(Embedding([layer]), TEXTS)
    shown = len(spec["datasets"]["rows"])
    assert shown <= MOST_PRINTED
    assert f"{shown:,} of the images are shown" in " ".join(spec["title"]["subtitle"])


def test_files_of_figures_have_names_of_their_own_that_fit(study_files, growing):
    one = collect(study_files).embeddings["no1-tsne"]
    run = equal_run("a", NO1_DIMS, growing, model=f"plan:{','.join(['64'] * 90)}")
    pictures = all_figures(Collection((run,), {"a b": one, "a-b": one}), TEXTS)
    assert {"latent-a-b", "latent-a-b-2"} <= set(pictures)
    assert max(map(len, pictures)) < 200


@pytest.fixture
def throw_away():
    """A kind of chart in one definition: the rows of each layer, counted by run."""

    def spec(texts, form):
        bars = {"x": {"field": "series"}, "y": {"aggregate": "count", "type": "quantitative"}}
        return {"layer": [{"mark": "bar", "encoding": bars}]}

    chart = Chart(
        name="counts",
        order=26,
        title="figures",
        file="layer-counts",
        spec=spec,
        shown=lambda collection: len(collection.runs) > 1,
    )
    forget = CHARTS.add("counts", (chart,))
    yield
    forget()


def test_a_new_figure_is_a_file_on_the_page_and_in_markdown(throw_away, study_files, tmp_path):
    few = [path for path in study_files if path.stem in ("no1", "no3")]
    svg = figures.svg(all_figures(collect(few), TEXTS)["layer-counts"]())
    assert [m["Count of Records"] for m in marks(svg, "bar")] == ["7", "7"]
    assert build.write(few, tmp_path, "en", form=build.MARKDOWN) == []
    assert (tmp_path / "figures" / "layer-counts.png").is_file()
    shown = re.findall(r"!\[(.+)\]", (tmp_path / "report.md").read_text(encoding="utf-8"))
    assert shown[:3] == ["figure3-dimensions", "figure4-spread", "layer-counts"]
    from streamspread.reports.page import to_html

    assert 'data-chart="counts"' in to_html(collect(few), TEXTS, "en")
    assert 'data-chart="counts"' not in to_html(collect(few[:1]), TEXTS, "en")


def test_every_kind_of_figure_has_a_place_of_its_own():
    orders = {(chart.name, chart.order) for _, kinds in CHARTS.items() for chart in kinds}
    assert len({order for _, order in orders}) == len({name for name, _ in orders}) == len(orders)
