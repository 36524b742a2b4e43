"""Figures hold the numbers of the spectra, in looks that survive greyscale."""

import numpy as np
import pytest

from streamspread.errors import MissingError
from streamspread.report import build, figures, style
from streamspread.report.labels import LANGUAGES, labels
from streamspread.report.latent import latent
from streamspread.report.runs import Collection, Run, collect
from streamspread.results.embedding import Embedding
from streamspread.results.spectrum import Spectra
from tests.made_runs import NO1_DIMS, NO3_DIMS, make_open_layer, make_run

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
    return make_run("a", NO1_DIMS, growing), make_run("b", NO3_DIMS, growing, model="no3")


def test_figure_3_shows_the_dimensions(networks):
    (axes,) = figures.dimensions(networks, TEXTS).axes
    found = curves(axes)
    assert list(found["no1"][1]) == list(NO1_DIMS.values())
    assert list(found["no3"][1]) == list(NO3_DIMS.values())
    assert [label.get_text() for label in axes.get_xticklabels()] == list(NO1_DIMS)


def test_figure_4_shows_the_shares(networks, growing):
    (axes,) = figures.spread(networks, TEXTS, tau=0.5).axes
    y = curves(axes)["no3"][1]
    assert list(y) == [np.ceil(0.5 * growing[layer]) / dim for layer, dim in NO3_DIMS.items()]
    assert axes.get_yscale() == "log"
    assert "K(0.5)" in axes.get_ylabel()


def test_an_interval_is_drawn_as_a_bar_from_bound_to_bound(growing):
    run = make_run("a", NO1_DIMS, growing)
    layers = dict(run.spectra) | {"c2": make_open_layer("c2", 65536, 100, 200)}
    (axes,) = figures.spread([Run("a", run.path, Spectra(layers.values(), (0.7,), run.facts))], TEXTS).axes
    (bar,) = axes.collections
    assert np.allclose(bar.get_segments()[0], [[1, 100 / 65536], [1, 200 / 65536]])
    assert any(TEXTS["interval"] in text.get_text() for text in axes.texts)


def test_a_scree_curve_ends_at_all_the_variance_and_bounds_make_a_band(growing):
    run = make_run("a", NO1_DIMS, growing)
    (axes,) = figures.scree(run, "no1", TEXTS).axes
    k, share = curves(axes)["c1"]
    assert (k[0], k[-1]) == (1, growing["c1"])
    assert share[-1] == pytest.approx(1)
    assert np.all(np.diff(share) > 0)
    still_open = Spectra([make_open_layer("c1", 65536, 100, 200)], (0.7,), run.facts)
    (axes,) = figures.scree(Run("a", run.path, still_open), "no1", TEXTS).axes
    (low,) = curves(axes).values()
    assert low[1][-1] == pytest.approx(0.7)
    assert axes.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(1)


def test_growth_over_n_is_written_at_the_end(study_files):
    groups = collect(study_files).over_samples
    axes = figures.over_samples(groups, TEXTS).axes[0]
    n, k = curves(axes)["c1"]
    assert list(n) == [500, 1000]
    assert list(k) == [67, 70]  # ⌈0.7 · 95⌉, ⌈0.7 · 100⌉
    assert f"c1 {70 / 67 - 1:+.1%}" in [text.get_text() for text in axes.texts]


def test_parts_threshold_depth_and_training_have_a_curve_each(study_files):
    found = collect(study_files)
    assert set(curves(figures.parts(found.networks, TEXTS).axes[0])) == {"convolution", "batch norm", "ReLU"}
    assert set(curves(figures.over_threshold(found.networks, TEXTS).axes[1])) == set(NO3_DIMS)
    assert set(curves(figures.depth(found.depths, TEXTS).axes[0])) == {"4 convolutions", "6 convolutions"}
    trainings = figures.training(found.trainings, TEXTS).axes[0]
    assert set(curves(trainings)) == {"untrained", "6 epochs", "24 epochs", "24 epochs, label smoothing 0.1"}


def test_a_legend_of_long_names_stays_within_the_figure(study_files):
    figure = figures.training(collect(study_files).trainings, TEXTS)
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0
    assert legend.x1 <= figure.bbox.x1


def test_all_that_can_be_drawn_is_and_nothing_else(study_files, growing):
    names = {"figure3-dimensions", "figure4-spread", "scree-no1", "scree-no3", "over-threshold", "parts"}
    names |= {"over-samples", "depth", "training", "latent-no1-tsne"}
    assert set(figures.all_figures(collect(study_files), TEXTS)) == names
    lone = collect([path for path in study_files if path.stem == "depth4"])
    assert set(figures.all_figures(lone, TEXTS)) == {"depth"}


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
            build.save_figure(figures.spread(networks, TEXTS), tmp_path / name)
    for suffix in (".png", ".svg"):
        assert (tmp_path / "one").with_suffix(suffix).read_bytes() == (tmp_path / "two").with_suffix(
            suffix
        ).read_bytes()


def test_drawing_leaves_matplotlib_as_it_was(study_files):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with style.styled("en"):
        figures.all_figures(collect(study_files), TEXTS)["parts"]()
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
    figure = latent(embedding, TEXTS)
    assert [axes.get_title() for axes in figure.axes] == [
        "c1: 4 components, 50.0 %",
        "gap: 4 components, 90.0 %",
    ]
    assert "no1, 40 images" in figure.get_suptitle()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "dog", "ship"]
    assert len(figure.axes[0].collections[0].get_offsets()) == 40


def test_a_layer_looks_the_same_in_every_panel(growing):
    equal = {name: growing[name] for name in ("c1", "c2")}
    few, many = make_run("few", NO1_DIMS, equal, model="no2"), make_run("many", NO1_DIMS, growing)
    early = [run_of_fewer(run) for run in (few, many)]
    groups = {"few": (early[0], few), "many": (early[1], many)}
    for figure in (figures.over_threshold((few, many), TEXTS), figures.over_samples(groups, TEXTS)):
        looks = [{line.get_label(): line.get_color() for line in axes.lines} for axes in figure.axes]
        assert looks[0] == {name: looks[1][name] for name in ("c1", "c2")}
        assert len(set(looks[1].values())) == len(NO1_DIMS)


def run_of_fewer(run):
    equal = {name: len(layer.eigenvalues) - 2 for name, layer in run.spectra.items()}
    return make_run(f"{run.name}-n500", NO1_DIMS, equal, samples=500, model=run.model)


def test_layers_that_only_some_numbers_of_images_have_are_drawn(growing):
    runs = (
        make_run("a", NO1_DIMS, growing, samples=500),
        make_run("b", NO1_DIMS, growing, samples=1000),
        make_run("c", NO1_DIMS, {"c2": 9}, samples=2000),
    )
    (axes,) = figures.over_samples({"c": runs}, TEXTS).axes
    assert {name: len(x) for name, (x, _) in curves(axes).items()} == dict.fromkeys(NO1_DIMS, 2) | {"c2": 3}


def test_constant_layers_alone_can_be_drawn(tmp_path):
    run = make_run("a", NO1_DIMS, {"c1": 0, "c2": 0})
    with style.styled("en"):
        for draw in figures.all_figures(Collection((run,), {}), TEXTS).values():
            figure = draw()
            figure.canvas.draw()
            assert all(low < high < np.inf for axes in figure.axes for low, high in [axes.get_ylim()])


def test_a_legend_of_many_layers_leaves_the_curves_their_room():
    names = [f"layer{i}.downsample.0" for i in range(30)]
    run = make_run("a", dict.fromkeys(names, 64), dict.fromkeys(names, 5), model="m")
    with style.styled("en"):
        for figure in (figures.scree(run, "m", TEXTS), figures.over_threshold((run,), TEXTS)):
            figure.canvas.draw()
            assert figure.axes[0].get_window_extent().height > 2 * figure.dpi
            assert figure.legends[0].get_window_extent().y0 >= 0


def test_files_of_figures_have_names_of_their_own_that_fit(study_files, growing):
    one = collect(study_files).embeddings["no1-tsne"]
    run = make_run("a", NO1_DIMS, growing, model=f"plan:{','.join(['64'] * 90)}")
    found = figures.all_figures(Collection((run,), {"a b": one, "a-b": one}), TEXTS)
    assert {"latent-a-b", "latent-a-b-2"} <= set(found)
    assert max(map(len, found)) < 200


def test_points_without_a_class_among_others_have_no_colours(study_files):
    labelled = collect(study_files).embeddings["no1-tsne"]
    some = Embedding(labelled.values(), labels_N=labelled.labels_N - 1, classes=("cat", "dog"))
    figure = latent(some, TEXTS)
    assert figure.legends == []
    assert len(figure.axes[0].collections[0].get_facecolors()) == 1


@pytest.mark.parametrize("layers", [1, 2])
def test_the_title_over_few_layers_is_not_cut(study_files, layers):
    whole = collect(study_files).embeddings["no1-tsne"]
    few = Embedding(list(whole.values())[:layers], provenance={"model": "torchvision:resnet50"})
    with style.styled("en"):
        figure = latent(few, TEXTS)
        figure.canvas.draw()
        title = figure.texts[0].get_window_extent()
        assert (title.x0, title.x1) == pytest.approx((0, figure.bbox.x1), abs=figure.bbox.x1 / 8)
        assert 0 < title.x0 < title.x1 < figure.bbox.x1


@pytest.mark.parametrize("name", ["a$\\frac$", "_hidden"])
def test_a_name_is_shown_as_it_is(name):
    equal = {"c1": 10, "c2": 20}
    runs = (make_run("a", NO1_DIMS, equal, model=name), make_run("b", NO1_DIMS, equal))
    with style.styled("en"):
        figure = figures.spread(runs, TEXTS)
        figure.canvas.draw()
        assert [entry.get_text().strip() for entry in figure.axes[0].get_legend().get_texts()] == [
            name,
            "no1",
        ]
