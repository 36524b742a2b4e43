"""Figures hold the numbers of the spectra, in looks that survive greyscale."""

import base64
import re
from functools import partial
from importlib import resources

import numpy as np
import pytest

from streamspread.errors import MissingError
from streamspread.report import build, style
from streamspread.report.axes import single
from streamspread.report.figure import FigureKind
from streamspread.report.figures import (
    FIGURES,
    all_figures,
    depth,
    dimensions,
    latent,
    over_samples,
    over_threshold,
    parts,
    scree,
    spread,
    training,
)
from streamspread.report.labels import LANGUAGES, labels
from streamspread.report.runs import Collection, Run, collect
from streamspread.results.embedding import Embedding
from streamspread.results.spectrum import Spectra
from tests.spectra import NO1_DIMS, NO3_DIMS, equal_run, open_layer

pytest.importorskip("matplotlib", reason="figures need matplotlib")
TEXTS = labels("en")


def curves(axes):
    """Every named curve of an axes as (x, y)."""
    return {
        line.get_label(): (np.asarray(line.get_xdata()), np.asarray(line.get_ydata()))
        for line in axes.lines
        if not line.get_label().startswith("_")
    }


@pytest.fixture
def networks(growing):
    return equal_run("a", NO1_DIMS, growing), equal_run("b", NO3_DIMS, growing, model="no3")


def test_figure_3_shows_the_dimensions(networks):
    (axes,) = dimensions.draw(networks, TEXTS).axes
    curve = curves(axes)
    assert list(curve["no1"][1]) == list(NO1_DIMS.values())
    assert list(curve["no3"][1]) == list(NO3_DIMS.values())
    assert [label.get_text() for label in axes.get_xticklabels()] == list(NO1_DIMS)


def test_figure_4_shows_the_shares(networks, growing):
    (axes,) = spread.draw(networks, TEXTS, tau=0.5).axes
    y = curves(axes)["no3"][1]
    assert list(y) == [np.ceil(0.5 * growing[layer]) / dim for layer, dim in NO3_DIMS.items()]
    assert axes.get_yscale() == "log"
    assert "K(0.5)" in axes.get_ylabel()


def test_an_interval_is_drawn_as_a_bar_from_bound_to_bound(growing):
    run = equal_run("a", NO1_DIMS, growing)
    layers = dict(run.spectra) | {"c2": open_layer("c2", 65536, 100, 200)}
    (axes,) = spread.draw([Run("a", run.path, Spectra(layers.values(), (0.7,), run.facts))], TEXTS).axes
    bar, band = axes.collections
    assert np.allclose(bar.get_segments(), [[[1, 100 / 65536], [1, 200 / 65536]]])
    assert band.get_paths()[0].vertices[:, 0].max() == 6  # from value to bar to value
    y = curves(axes)["no1"][1]
    assert np.flatnonzero(np.isnan(y)).tolist() == [1]  # no point stands where only bounds are known
    assert any(TEXTS["interval"] in text.get_text() for text in axes.texts)


def test_a_scree_curve_ends_at_all_the_variance_and_bounds_make_a_band(growing):
    run = equal_run("a", NO1_DIMS, growing)
    (axes,) = scree.draw(run, "no1", TEXTS).axes
    k, share = curves(axes)["c1"]
    assert (k[0], k[-1]) == (1, growing["c1"])
    assert share[-1] == pytest.approx(1)
    assert np.all(np.diff(share) > 0)
    still_open = Spectra([open_layer("c1", 65536, 100, 200)], (0.7,), run.facts)
    (axes,) = scree.draw(Run("a", run.path, still_open), "no1", TEXTS).axes
    (low,) = curves(axes).values()
    assert low[1][-1] == pytest.approx(0.7)
    assert axes.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(1)


def test_growth_over_n_is_written_at_the_end(study_files):
    groups = collect(study_files).over_samples
    axes = over_samples.draw(groups, TEXTS).axes[0]
    n, k = curves(axes)["c1"]
    assert list(n) == [25_000, 50_000]
    assert list(k) == [67, 70]  # ⌈0.7 · 95⌉, ⌈0.7 · 100⌉
    assert "c1 +4.5 %" in [text.get_text() for text in axes.texts]


def test_parts_threshold_depth_and_training_have_a_curve_each(study_files):
    collection = collect(study_files)
    assert set(curves(parts.draw(collection.networks, TEXTS).axes[0])) == {
        "convolution",
        "batch norm",
        "ReLU",
    }
    assert set(curves(over_threshold.draw(collection.networks, TEXTS).axes[1])) == set(NO3_DIMS)
    assert set(curves(depth.draw(collection.depths, TEXTS).axes[0])) == {"4 convolutions", "6 convolutions"}
    trainings = training.draw(collection.trainings, TEXTS).axes[0]
    assert set(curves(trainings)) == {"untrained", "6 epochs", "24 epochs", "24 epochs, label smoothing 0.1"}


def test_a_legend_of_long_names_stays_within_the_figure(study_files):
    figure = training.draw(collect(study_files).trainings, TEXTS)
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0
    assert legend.x1 <= figure.bbox.x1


def test_all_that_can_be_drawn_is_and_nothing_else(study_files, growing):
    names = {"figure3-dimensions", "figure4-spread", "scree-no1", "scree-no3", "over-threshold", "parts"}
    names |= {"over-samples", "depth", "training", "latent-no1-tsne"}
    assert set(all_figures(collect(study_files), TEXTS)) == names
    lone = collect([path for path in study_files if path.stem == "depth4"])
    assert set(all_figures(lone, TEXTS)) == {"depth"}


@pytest.mark.parametrize("make", [style.looks, style.ordered_looks])
def test_no_two_curves_look_alike_in_greyscale(make):
    from matplotlib.colors import to_rgb

    looks = make(7)
    shapes = [(look.marker, str(look.dash)) for look in looks]
    assert len(set(shapes)) == 7
    lightness = [np.dot(to_rgb(look.color), (0.2126, 0.7152, 0.0722)) for look in looks]
    assert max(lightness) < 0.75  # visible on white
    assert min(np.abs(np.diff(lightness))) > 0.05  # neighbours differ


def test_ordered_colours_go_from_dark_to_light():
    from matplotlib.colors import to_rgb

    lightness = [np.dot(to_rgb(look.color), (0.2126, 0.7152, 0.0722)) for look in style.ordered_looks(7)]
    assert np.all(np.diff(lightness) > 0)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_files_are_written_in_every_language_without_a_missing_glyph(study_files, tmp_path, lang, recwarn):
    try:
        style.check(lang)
    except MissingError as error:
        pytest.skip(str(error))
    assert build.write_page(study_files, tmp_path / "out", lang) == []
    folder = tmp_path / "out" / "figures"
    assert {path.suffix for path in folder.iterdir()} == {".png", ".svg"}
    assert len(list(folder.iterdir())) == 2 * 10  # nine figures and one embedding
    assert (folder / "figure4-spread.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (folder / "figure4-spread.svg").read_bytes()
    assert [str(warning.message) for warning in recwarn] == []  # matplotlib warns of a glyph it has not


def test_the_same_results_give_the_same_files(networks, tmp_path):
    for name in ("one", "two"):
        with style.styled("en"):
            build.save_figure(spread.draw(networks, TEXTS), tmp_path / name)
    for suffix in (".png", ".svg"):
        assert (tmp_path / "one").with_suffix(suffix).read_bytes() == (tmp_path / "two").with_suffix(
            suffix
        ).read_bytes()


def test_drawing_leaves_matplotlib_as_it_was(study_files):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with style.styled("en"):
        all_figures(collect(study_files), TEXTS)["parts"].draw()
    assert dict(mpl.rcParams) == before


def test_missing_fonts_are_one_clear_line(monkeypatch):
    monkeypatch.setattr(style, "JAPANESE", ("No Such Font",))
    with pytest.raises(MissingError, match=r"need a font such as No Such Font.*apt install fonts-noto-cjk"):
        style.check("ja")
    style.check("en")


def test_a_missing_matplotlib_still_gives_the_page(study_files, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (line,) = build.write_page(study_files, tmp_path, "en")
    assert "figures need matplotlib" in line
    assert "pip install matplotlib" in line
    assert (tmp_path / "index.html").is_file()


def test_the_embedding_says_k_and_the_variance_it_holds(study_files):
    embedding = collect(study_files).embeddings["no1-tsne"]
    figure = latent.draw(embedding, TEXTS)
    assert [axes.get_title() for axes in figure.axes] == [
        "c1: 4 components, 50.0 %",
        "gap: 4 components, 90.0 %",
    ]
    assert "no1, 40 images" in figure.get_suptitle()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "dog", "ship"]
    assert len(figure.axes[0].collections[0].get_offsets()) == 40


def test_a_layer_looks_the_same_in_every_panel(growing):
    equal = {name: growing[name] for name in ("c1", "c2")}
    few, many = equal_run("few", NO1_DIMS, equal, model="no2"), equal_run("many", NO1_DIMS, growing)
    early = [run_of_fewer(run) for run in (few, many)]
    groups = {"few": (early[0], few), "many": (early[1], many)}
    for figure in (over_threshold.draw((few, many), TEXTS), over_samples.draw(groups, TEXTS)):
        looks = [{line.get_label(): line.get_color() for line in axes.lines} for axes in figure.axes]
        assert looks[0] == {name: looks[1][name] for name in ("c1", "c2")}
        assert len(set(looks[1].values())) == len(NO1_DIMS)


def run_of_fewer(run):
    equal = {name: len(layer.eigenvalues) - 2 for name, layer in run.spectra.items()}
    return equal_run(f"{run.name}-half", NO1_DIMS, equal, samples=500, model=run.model)


def test_layers_that_only_some_numbers_of_images_have_are_drawn(growing):
    runs = (
        equal_run("a", NO1_DIMS, growing, samples=500),
        equal_run("b", NO1_DIMS, growing, samples=1000),
        equal_run("c", NO1_DIMS, {"c2": 9}, samples=2000),
    )
    (axes,) = over_samples.draw({"c": runs}, TEXTS).axes
    assert {name: len(x) for name, (x, _) in curves(axes).items()} == dict.fromkeys(NO1_DIMS, 2) | {"c2": 3}


def test_constant_layers_alone_can_be_drawn(tmp_path):
    run = equal_run("a", NO1_DIMS, {"c1": 0, "c2": 0})
    with style.styled("en"):
        for picture in all_figures(Collection((run,), {}), TEXTS).values():
            figure = picture.draw()
            figure.canvas.draw()
            assert all(low < high < np.inf for axes in figure.axes for low, high in [axes.get_ylim()])


def test_a_legend_of_many_layers_leaves_the_curves_their_room():
    names = [f"layer{i}.downsample.0" for i in range(30)]
    run = equal_run("a", dict.fromkeys(names, 64), dict.fromkeys(names, 5), model="m")
    with style.styled("en"):
        for figure in (scree.draw(run, "m", TEXTS), over_threshold.draw((run,), TEXTS)):
            figure.canvas.draw()
            assert figure.axes[0].get_window_extent().height > 2 * figure.dpi
            assert figure.legends[0].get_window_extent().y0 >= 0


def test_files_of_figures_have_names_of_their_own_that_fit(study_files, growing):
    one = collect(study_files).embeddings["no1-tsne"]
    run = equal_run("a", NO1_DIMS, growing, model=f"plan:{','.join(['64'] * 90)}")
    pictures = all_figures(Collection((run,), {"a b": one, "a-b": one}), TEXTS)
    assert {"latent-a-b", "latent-a-b-2"} <= set(pictures)
    assert max(map(len, pictures)) < 200


def test_points_without_a_class_among_others_have_no_colours(study_files):
    labelled = collect(study_files).embeddings["no1-tsne"]
    some = Embedding(labelled.values(), labels_N=labelled.labels_N - 1, classes=("cat", "dog"))
    figure = latent.draw(some, TEXTS)
    assert figure.legends == []
    assert len(figure.axes[0].collections[0].get_facecolors()) == 1


@pytest.mark.parametrize("layers", [1, 2])
def test_the_title_over_few_layers_is_not_cut(study_files, layers):
    whole = collect(study_files).embeddings["no1-tsne"]
    few = Embedding(list(whole.values())[:layers], provenance={"model": "torchvision:resnet50"})
    with style.styled("en"):
        figure = latent.draw(few, TEXTS)
        figure.canvas.draw()
        title = figure.texts[0].get_window_extent()
        assert (title.x0, title.x1) == pytest.approx((0, figure.bbox.x1), abs=figure.bbox.x1 / 8)
        assert 0 < title.x0 < title.x1 < figure.bbox.x1


@pytest.mark.parametrize("name", ["a$\\frac$", "_hidden"])
def test_a_name_is_shown_as_it_is(name):
    equal = {"c1": 10, "c2": 20}
    runs = (equal_run("a", NO1_DIMS, equal, model=name), equal_run("b", NO1_DIMS, equal))
    with style.styled("en"):
        figure = spread.draw(runs, TEXTS)
        figure.canvas.draw()
        assert [entry.get_text().strip() for entry in figure.axes[0].get_legend().get_texts()] == [
            name,
            "no1",
        ]


@pytest.fixture
def throw_away():
    """A kind of figure in one definition: how many layers each run has."""

    def draw(runs):
        figure, axes = single(3, 2)
        axes.bar([run.name for run in runs], [len(run.spectra) for run in runs])
        return figure

    def pictures(collection, texts):
        return {"layer-counts": partial(draw, collection.runs)} if len(collection.runs) > 1 else {}

    forget = FIGURES.add("layer_counts", FigureKind(order=25, pictures=pictures))
    yield
    forget()


def test_a_new_figure_is_a_file_on_the_page_and_in_markdown(throw_away, study_files, tmp_path):
    few = [path for path in study_files if path.stem in ("no1", "no3")]
    assert build.write_page(few, tmp_path, "en") == []
    svg = (tmp_path / "figures" / "layer-counts.svg").read_bytes()
    assert (tmp_path / "figures" / "layer-counts.png").is_file()
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    (section,) = re.findall(r'<section id="pictures">(.*?)</section>', page, re.DOTALL)
    assert f"<h2>{TEXTS['figures']}</h2>" in section
    (source,) = re.findall(r'src="data:image/svg\+xml;base64,(.*?)"', section)
    assert base64.b64decode(source) == svg
    build.write_markdown(few, tmp_path, "en")
    shown = re.findall(r"!\[(.+)\]", (tmp_path / "report.md").read_text(encoding="utf-8"))
    assert shown[:3] == ["figure3-dimensions", "figure4-spread", "layer-counts"]


def test_a_new_figure_with_nothing_to_draw_is_nowhere(throw_away, study_files, tmp_path):
    build.write_page([path for path in study_files if path.stem == "no1"], tmp_path, "en")
    assert not list((tmp_path / "figures").glob("layer-counts*"))
    assert "<img" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_every_chart_of_the_page_is_one_that_its_script_draws(study_files):
    script = (resources.files("streamspread.report") / "assets" / "page.js").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^  (\w+)\(host\) {", script, re.MULTILINE))
    charts = {kind.chart.name for _, kind in FIGURES.items() if kind.chart}
    assert charts - {"latent"} == drawn - {"compare"}  # latent is a canvas, and compare no figure


def test_every_kind_of_figure_has_a_place_of_its_own():
    orders = [kind.order for _, kind in FIGURES.items()]
    assert len(set(orders)) == len(orders)
