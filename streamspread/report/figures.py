"""The study's figures: stored runs in, matplotlib figures out; nothing is read or written here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from streamspread.report import text
from streamspread.report.axes import (
    band,
    bars,
    end_labels,
    layer_axis,
    legend,
    line,
    log_axis,
    middle,
    outer_labels,
    panels,
    share_axis,
    single,
)
from streamspread.report.claims import TAU
from streamspread.report.curves import GRID, scree_points
from streamspread.report.labels import training_label
from streamspread.report.latent import latent
from streamspread.report.runs import (
    PARTS,
    Collection,
    Run,
    Training,
    growth,
    layer_names,
    short_names,
)
from streamspread.report.style import Look, looks, ordered_looks
from streamspread.system.files import file_stem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Texts = Mapping[str, str]

_CURVE_POINTS = 200  # of a scree curve: more than a printed page resolves
_DODGE = 0.05  # of a layer's place: curves that coincide stay visible beside each other


def all_figures(collection: Collection, texts: Texts) -> dict[str, Callable[[], Figure]]:
    """What can be drawn of these results: the file's name without suffix, and what draws it."""
    networks = collection.networks
    found: dict[str, Callable[[], Figure]] = {}
    if networks:
        found["figure3-dimensions"] = partial(dimensions, networks, texts)
        found["figure4-spread"] = partial(spread, networks, texts)
        for name, run in short_names(networks).items():
            found[_free(f"scree-{name}", found)] = partial(scree, run, name, texts)
        found["over-threshold"] = partial(over_threshold, networks, texts)
        if any(run.layers("bn") or run.layers("relu") for run in networks):
            found["parts"] = partial(parts, networks, texts)
    if collection.over_samples:
        found["over-samples"] = partial(over_samples, collection.over_samples, texts)
    if collection.depths:
        found["depth"] = partial(depth, collection.depths, texts)
    if collection.trainings:
        found["training"] = partial(training, collection.trainings, texts)
    for name, embedding in collection.embeddings.items():
        found[_free(f"latent-{name}", found)] = partial(latent, embedding, texts)
    return found


def dimensions(networks: Sequence[Run], texts: Texts) -> Figure:
    """Figure 3: D of every layer."""
    figure, axes = single(6.4, 3.8)
    layers, named = layer_names([run.layers() for run in networks]), short_names(networks)
    for index, ((name, run), look) in enumerate(zip(named.items(), looks(len(named)), strict=True)):
        shift = _DODGE * (index - (len(named) - 1) / 2)
        places = [layers.index(layer) + shift for layer in run.layers()]
        line(axes, places, [spectrum.dim for spectrum in run.layers().values()], look, name)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(lambda value, _: text.count(value))
    layer_axis(axes, layers, texts["layer"])
    axes.set(ylabel=texts["dimensions"], title=texts["dimensions_title"])
    axes.legend()
    return figure


def spread(networks: Sequence[Run], texts: Texts, tau: float = TAU) -> Figure:
    """Figure 4: K(τ)/D of every layer; where K is an interval, its bounds as a bar."""
    figure, axes = single(6.4, 4.2)
    layers, named = layer_names([run.layers() for run in networks]), short_names(networks)
    open_ones = False
    for (name, run), look in zip(named.items(), looks(len(named)), strict=True):
        spreads = [spectrum.spread(tau) for spectrum in run.layers().values()]
        places = [layers.index(layer) for layer in run.layers()]
        line(axes, places, [middle(value) for value in spreads], look, name)
        open_ones |= bars(axes, places, spreads, look)
    share_axis(axes, texts["spread_axis"].format(tau=f"{tau:g}"))
    layer_axis(axes, layers, texts["layer"])
    axes.set_title(texts["spread_title"].format(percent=f"{100 * tau:g}"))
    if open_ones:
        axes.annotate(texts["interval"], (1, 0.01), xycoords="axes fraction", ha="right", fontsize=8)
    axes.legend()
    return figure


def scree(run: Run, name: str, texts: Texts) -> Figure:
    """The share of the variance that the k leading components hold, over k, for every layer of a network."""
    figure, axes = single(6.4, 4.2)
    layers = run.layers()
    for (layer, spectrum), look in zip(layers.items(), ordered_looks(len(layers)), strict=True):
        band(axes, *scree_points(spectrum, _CURVE_POINTS), look, layer)
    axes.axhline(TAU, color="#555555", linewidth=0.8)
    corner = ("axes fraction", "data")
    axes.annotate(f"τ = {TAU:g}", (1, TAU), xycoords=corner, ha="right", va="bottom", fontsize=8)
    log_axis(axes, "x")
    axes.set(xlabel=texts["components_axis"], ylabel=texts["variance_axis"], ylim=(0, 1.02))
    axes.set_title(texts["scree_title"].format(network=text.shortened(name)))
    legend(figure, [axes])
    return figure


def parts(networks: Sequence[Run], texts: Texts, tau: float = TAU) -> Figure:
    """K(τ)/D after the convolution, after batch norm and after ReLU, a panel per network."""
    figure, grid = panels(len(networks))
    chosen = [part for part in PARTS if any(run.layers(part) for run in networks)]
    for (name, run), axes in zip(short_names(networks).items(), grid, strict=True):
        layers = layer_names([run.layers(part) for part in chosen])
        for part, look in zip(chosen, looks(len(chosen)), strict=True):
            found = run.layers(part)
            spreads = [spectrum.spread(tau) for spectrum in found.values()]
            places = [layers.index(layer) for layer in found]
            line(axes, places, [middle(value) for value in spreads], look, texts[f"part_{part}"])
            bars(axes, places, spreads, look)
        share_axis(axes, texts["spread_axis"].format(tau=f"{tau:g}"))
        layer_axis(axes, layers, texts["layer"])
        axes.set_title(text.shortened(name))
    return _finished(figure, grid, texts["parts_title"])


def over_threshold(networks: Sequence[Run], texts: Texts) -> Figure:
    """K over τ for every layer, a panel per network; where K is an interval, a band."""
    figure, grid = panels(len(networks))
    look = _looks_by_layer(networks)
    for (name, run), axes in zip(short_names(networks).items(), grid, strict=True):
        for layer, spectrum in run.layers().items():
            found = [spectrum.components(tau) for tau in GRID]
            band(axes, GRID, [k.low for k in found], [k.high for k in found], look[layer], layer)
        log_axis(axes, "y")
        axes.set(xlabel=texts["threshold_axis"], ylabel=texts["components_tau_axis"].format(tau="τ"))
        axes.set_title(text.shortened(name))
    return _finished(figure, grid, texts["over_threshold_title"])


def over_samples(groups: Mapping[str, Sequence[Run]], texts: Texts, tau: float = TAU) -> Figure:
    """K(τ) over the number of images, a panel per network; at the right how much a doubling still adds."""
    figure, grid = panels(len(groups))
    ends: list[list[tuple[float, str]]] = [[] for _ in groups]
    look = _looks_by_layer(run for runs in groups.values() for run in runs)
    for (name, runs), axes, growths in zip(groups.items(), grid, ends, strict=True):
        for layer in layer_names(run.layers() for run in runs):
            having = [run for run in runs if layer in run.layers()]
            k = [run.layers()[layer].components(tau) for run in having]
            n = [run.samples for run in having]
            line(axes, n, [middle(value) for value in k], look[layer], layer)
            bars(axes, n, k, look[layer])
            grown = growth(runs, layer, tau)
            growths.append((middle(k[-1]), layer if grown is None else f"{layer} {grown:+.1%}"))
        log_axis(axes, "x")
        log_axis(axes, "y")
        axes.set(xlabel=texts["samples_axis"], ylabel=texts["components_tau_axis"].format(tau=f"{tau:g}"))
        axes.set_title(text.shortened(name))
    for axes, growths in zip(grid, ends, strict=True):
        end_labels(axes, growths)
    title = texts["over_samples_title"].format(tau=f"{tau:g}")
    return _finished(figure, grid, f"{title}\n{texts['settled']}")


def depth(runs: Sequence[Run], texts: Texts, tau: float = TAU) -> Figure:
    """K(τ)/D from the first convolution to the last, for networks of different depth."""
    figure, axes = single(6.4, 4.2)
    for run, look in zip(runs, ordered_looks(len(runs)), strict=True):
        spreads = [layer.spread(tau) for name, layer in run.layers().items() if name != "gap"]
        places = np.linspace(0, 1, len(spreads))
        line(
            axes,
            places,
            [middle(value) for value in spreads],
            look,
            texts["convolutions"].format(n=run.depth),
        )
        bars(axes, places, spreads, look)
    share_axis(axes, texts["spread_axis"].format(tau=f"{tau:g}"))
    trained = [training_label(run.training, texts) if run.training else texts["unknown"] for run in runs]
    title = texts["depth_title"].format(trained=" / ".join(dict.fromkeys(trained)))
    axes.set(xlabel=texts["depth_axis"], title=title)
    axes.legend()
    return figure


def training(groups: Mapping[Training, Sequence[Run]], texts: Texts, tau: float = TAU) -> Figure:
    """K(τ)/D by layer for networks that were trained differently, a panel per network."""
    models = list(dict.fromkeys(run.model for runs in groups.values() for run in runs))
    figure, grid = panels(len(models))
    for model, axes in zip(models, grid, strict=True):
        layers = layer_names([run.layers() for runs in groups.values() for run in runs if run.model == model])
        for (how, runs), look in zip(groups.items(), ordered_looks(len(groups)), strict=True):
            for run in (run for run in runs if run.model == model):
                spreads = [layer.spread(tau) for layer in run.layers().values()]
                places = [layers.index(name) for name in run.layers()]
                line(axes, places, [middle(value) for value in spreads], look, training_label(how, texts))
                bars(axes, places, spreads, look)
        share_axis(axes, texts["spread_axis"].format(tau=f"{tau:g}"))
        layer_axis(axes, layers, texts["layer"])
        axes.set_title(text.shortened(model))
    return _finished(figure, grid, texts["training_title"])


def _finished(figure: Figure, grid: Sequence[Any], title: str) -> Figure:
    outer_labels(grid)
    legend(figure, grid)
    figure.suptitle(title, fontsize=11)
    return figure


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """The name as a file's, numbered where another has it already."""
    stem = file_stem(name)
    numbered = (f"{stem}-{number}" for number in count(2))
    return stem if stem not in taken else next(name for name in numbered if name not in taken)


def _looks_by_layer(runs: Iterable[Run]) -> dict[str, Look]:
    """One look for every layer, in all panels of a figure."""
    names = layer_names(run.layers() for run in runs)
    return dict(zip(names, ordered_looks(len(names)), strict=True))
