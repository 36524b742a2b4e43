"""The study's figures: spectra in, matplotlib figure out; nothing is read or written here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from streamspread.report import text
from streamspread.report.labels import training_label
from streamspread.report.runs import PARTS, Collection, Run, short_names
from streamspread.report.style import Look, looks, ordered_looks
from streamspread.spectrum import Interval, LayerSpectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Texts = Mapping[str, str]
TAU = 0.7

_CURVE_POINTS = 200  # of a scree curve: more than a printed page resolves
_GRID = np.linspace(0.05, 0.99, 95)  # τ of the curves over it
_PAPER_SHARE = 0.01  # what the paper says that early layers stay under
_DODGE = 0.05  # of a layer's place: curves that coincide stay visible beside each other


def all_figures(collection: Collection, texts: Texts) -> dict[str, Callable[[], Figure]]:
    """What can be drawn of these results: the file's name without suffix, and the function that draws it."""
    networks = collection.networks
    found: dict[str, Callable[[], Figure]] = {}
    if networks:
        found["figure3-dimensions"] = lambda: dimensions(networks, texts)
        found["figure4-spread"] = lambda: spread(networks, texts)
        for name, run in short_names(networks).items():
            found[f"scree-{_file_name(name)}"] = lambda run=run, name=name: scree(run, name, texts)
        found["over-threshold"] = lambda: over_threshold(networks, texts)
        if any(run.layers("bn") or run.layers("relu") for run in networks):
            found["parts"] = lambda: parts(networks, texts)
    if collection.over_samples:
        found["over-samples"] = lambda: over_samples(collection.over_samples, texts)
    if collection.depths:
        found["depth"] = lambda: depth(collection.depths, texts)
    if collection.trainings:
        found["training"] = lambda: training(collection.trainings, texts)
    return found


def dimensions(networks: Sequence[Run], texts: Texts) -> Figure:
    """Figure 3: D of every layer."""
    figure, axes = _figure(6.4, 3.8)
    layers = _union([run.layers() for run in networks])
    named = short_names(networks)
    for index, ((name, run), look) in enumerate(zip(named.items(), looks(len(named)), strict=True)):
        found = run.layers()
        shift = _DODGE * (index - (len(named) - 1) / 2)
        places = [layers.index(layer) + shift for layer in found]
        _line(axes, places, [spectrum.dim for spectrum in found.values()], look, name)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(lambda value, _: text.count(value))
    _layer_axis(axes, layers, texts)
    axes.set(ylabel=texts["dimensions"], title=texts["dimensions_title"])
    axes.legend()
    return figure


def spread(networks: Sequence[Run], texts: Texts, tau: float = TAU) -> Figure:
    """Figure 4: K(τ)/D of every layer; where K is an interval, its bounds as a bar."""
    figure, axes = _figure(6.4, 4.2)
    layers = _union([run.layers() for run in networks])
    open_ones = False
    for (name, run), look in zip(short_names(networks).items(), looks(len(networks)), strict=True):
        found = run.layers()
        spreads = [spectrum.spread(tau) for spectrum in found.values()]
        places = [layers.index(layer) for layer in found]
        _line(axes, places, [_middle(value) for value in spreads], look, name)
        open_ones |= _bars(axes, places, spreads, look)
    _share_axis(axes, texts, tau)
    _layer_axis(axes, layers, texts)
    axes.set_title(texts["spread_title"].format(percent=f"{100 * tau:g}"))
    _note(axes, texts["interval"] if open_ones else "")
    axes.legend()
    return figure


def scree(run: Run, name: str, texts: Texts) -> Figure:
    """The share of the variance that the k leading components hold, over k, for every layer of a network."""
    figure, axes = _figure(6.4, 4.2)
    layers = run.layers()
    for (layer, spectrum), look in zip(layers.items(), ordered_looks(len(layers)), strict=True):
        if spectrum.total_variance > 0 and len(spectrum.eigenvalues):
            k, low, high = _scree_points(spectrum)
            axes.plot(
                k, low, color=look.color, linestyle=look.dash, marker=look.marker, markevery=0.12, label=layer
            )
            if not spectrum.complete:
                axes.fill_between(k, low, high, color=look.color, alpha=0.18, linewidth=0)
    axes.axhline(TAU, color="#555555", linewidth=0.8)
    axes.annotate(
        f"τ = {TAU:g}", (1, TAU), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8
    )
    axes.set_xscale("log")
    axes.set(xlabel=texts["components_axis"], ylabel=texts["variance_axis"], ylim=(0, 1.02))
    axes.xaxis.set_major_formatter(lambda value, _: text.count(value))
    axes.set_title(texts["scree_title"].format(network=name))
    axes.legend(loc="upper left")
    return figure


def parts(networks: Sequence[Run], texts: Texts, tau: float = TAU) -> Figure:
    """K(τ)/D after the convolution, after batch norm and after ReLU, a panel per network."""
    figure, panels = _panels(len(networks), sharey=True)
    chosen = [part for part in PARTS if any(run.layers(part) for run in networks)]
    for (name, run), axes in zip(short_names(networks).items(), panels, strict=False):
        layers = _union([run.layers(part) for part in chosen])
        for part, look in zip(chosen, looks(len(chosen)), strict=True):
            found = run.layers(part)
            spreads = [spectrum.spread(tau) for spectrum in found.values()]
            places = [layers.index(layer) for layer in found]
            _line(axes, places, [_middle(value) for value in spreads], look, texts[f"part_{part}"])
            _bars(axes, places, spreads, look)
        _share_axis(axes, texts, tau)
        _layer_axis(axes, layers, texts)
        axes.set_title(name)
    _outer_labels(figure, panels, len(networks))
    panels[0].legend()
    figure.suptitle(texts["parts_title"])
    return figure


def over_threshold(networks: Sequence[Run], texts: Texts) -> Figure:
    """K over τ for every layer, a panel per network; where K is an interval, a band."""
    figure, panels = _panels(len(networks), sharey=True)
    for (name, run), axes in zip(short_names(networks).items(), panels, strict=False):
        layers = run.layers()
        for (layer, spectrum), look in zip(layers.items(), ordered_looks(len(layers)), strict=True):
            found = [spectrum.components(tau) for tau in _GRID]
            low, high = [k.low for k in found], [k.high for k in found]
            axes.plot(
                _GRID,
                low,
                color=look.color,
                linestyle=look.dash,
                marker=look.marker,
                markevery=0.12,
                label=layer,
            )
            axes.fill_between(_GRID, low, high, color=look.color, alpha=0.18, linewidth=0)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: text.count(value))
        axes.set(
            xlabel=texts["threshold_axis"], ylabel=texts["components_tau_axis"].format(tau="τ"), title=name
        )
    _outer_labels(figure, panels, len(networks))
    panels[0].legend(loc="upper left")
    figure.suptitle(texts["over_threshold_title"])
    return figure


def over_samples(groups: Mapping[str, Sequence[Run]], texts: Texts, tau: float = TAU) -> Figure:
    """K(τ) over the number of images for every layer, a panel per network, with the growth of the last step."""
    figure, panels = _panels(len(groups), sharey=True)
    for (name, runs), axes in zip(groups.items(), panels, strict=False):
        layers = list(runs[-1].layers())
        for layer, look in zip(layers, ordered_looks(len(layers)), strict=True):
            points = [
                (run.samples, run.layers()[layer].components(tau)) for run in runs if layer in run.layers()
            ]
            n, k = [n for n, _ in points], [k for _, k in points]
            _line(axes, n, [_middle(value) for value in k], look, layer)
            _bars(axes, n, k, look)
            if len(k) > 1 and _middle(k[-2]):
                growth = _middle(k[-1]) / _middle(k[-2]) - 1
                axes.annotate(
                    f"{growth:+.0%}",
                    (n[-1], _middle(k[-1])),
                    (7, -3),
                    textcoords="offset points",
                    fontsize=7.5,
                )
        axes.set(xscale="log", yscale="log", title=name)
        axes.set_xticks([run.samples for run in runs], [_short(run.samples) for run in runs], minor=False)
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: text.count(value))
        axes.set(xlabel=texts["samples_axis"], ylabel=texts["components_tau_axis"].format(tau=f"{tau:g}"))
        axes.margins(x=0.12)
    _outer_labels(figure, panels, len(groups))
    panels[0].legend(loc="upper left", ncols=2)
    figure.suptitle(f"{texts['over_samples_title'].format(tau=f'{tau:g}')}\n{texts['settled']}", fontsize=10)
    return figure


def depth(runs: Sequence[Run], texts: Texts, tau: float = TAU) -> Figure:
    """K(τ)/D from the first convolution to the last, for networks of different depth."""
    figure, axes = _figure(6.4, 4.2)
    for run, look in zip(runs, ordered_looks(len(runs)), strict=True):
        layers = {name: layer for name, layer in run.layers().items() if name != "gap"}
        places = [index / max(len(layers) - 1, 1) for index in range(len(layers))]
        spreads = [layer.spread(tau) for layer in layers.values()]
        label = texts["convolutions"].format(n=run.depth)
        _line(axes, places, [_middle(value) for value in spreads], look, label)
        _bars(axes, places, spreads, look)
    _share_axis(axes, texts, tau)
    trained = " / ".join(dict.fromkeys(_trained(run, texts) for run in runs))
    axes.set(xlabel=texts["depth_axis"], title=texts["depth_title"].format(trained=trained))
    axes.legend()
    return figure


def training(groups: Mapping[tuple[int, float], Sequence[Run]], texts: Texts, tau: float = TAU) -> Figure:
    """K(τ)/D by layer for networks that were trained differently, a panel per network."""
    models = list(dict.fromkeys(run.model for runs in groups.values() for run in runs))
    figure, panels = _panels(len(models), sharey=True)
    for model, axes in zip(models, panels, strict=False):
        layers = _union([run.layers() for runs in groups.values() for run in runs if run.model == model])
        for (how, runs), look in zip(groups.items(), ordered_looks(len(groups)), strict=True):
            for run in runs:
                if run.model == model:
                    spreads = [layer.spread(tau) for layer in run.layers().values()]
                    places = [layers.index(name) for name in run.layers()]
                    _line(
                        axes, places, [_middle(value) for value in spreads], look, training_label(how, texts)
                    )
                    _bars(axes, places, spreads, look)
        _share_axis(axes, texts, tau)
        _layer_axis(axes, layers, texts)
        axes.set_title(model)
    _outer_labels(figure, panels, len(models))
    panels[0].legend()
    figure.suptitle(texts["training_title"])
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # not pyplot: nothing global, and no display is looked for

    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def _panels(count: int, **options: Any) -> tuple[Figure, list[Axes]]:
    """At most two panels beside each other; ``count`` of them in use."""
    from matplotlib.figure import Figure

    columns = min(count, 2)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.6 * columns if columns > 1 else 6.4, 0.5 + 3.4 * rows))
    grid = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(grid.flat)


def _outer_labels(figure: Figure, panels: Sequence[Axes], used: int) -> None:
    for spare in panels[used:]:
        figure.delaxes(spare)
    for axes in panels[:used]:
        spec = axes.get_subplotspec()
        if spec is not None and not spec.is_first_col():
            axes.set_ylabel("")


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], look: Look, label: str) -> None:
    axes.plot(x, y, color=look.color, marker=look.marker, linestyle=look.dash, label=label)


def _bars(axes: Axes, x: Sequence[float], intervals: Sequence[Interval], look: Look) -> bool:
    """Bars from low to high where an interval is not closed; whether there was one."""
    still_open = [(place, value) for place, value in zip(x, intervals, strict=True) if not value.closed]
    for place, value in still_open:
        middle = _middle(value)
        axes.errorbar(
            [place],
            [middle],
            [[middle - value.low], [value.high - middle]],
            color=look.color,
            capsize=3,
            fmt="none",
        )
    return bool(still_open)


def _middle(value: Interval) -> float:
    return (value.low + value.high) / 2


def _layer_axis(axes: Axes, layers: Sequence[str], texts: Texts) -> None:
    long = max((len(layer) for layer in layers), default=0) > 6
    axes.set_xticks(range(len(layers)), layers, rotation=90 if long else 0)
    axes.set_xlabel(texts["layer"])


def _share_axis(axes: Axes, texts: Texts, tau: float) -> None:
    """Shares on a logarithmic axis, in percent, with a line at the paper's 1 %."""
    _log_axis(axes.yaxis, lambda value, _: f"{100 * value:g} %")
    axes.axhline(_PAPER_SHARE, color="#555555", linewidth=0.8)
    axes.set_ylabel(texts["spread_axis"].format(tau=f"{tau:g}"))


def _log_axis(axis: Any, form: Callable[[float, int], str]) -> None:
    """A logarithmic axis with ticks at 1, 2 and 5 times every power of ten, all of them labelled."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis._set_axes_scale("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(form)


def _count(value: float, _: int) -> str:
    return text.count(value)


def _note(axes: Axes, line: str) -> None:
    if line:
        axes.annotate(
            line, (0, 1), xycoords="axes fraction", ha="left", va="bottom", fontsize=8, color="#555555"
        )


def _scree_points(spectrum: LayerSpectrum) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """k, and the lower and upper bound of the share that the k leading components hold; equal where complete."""
    sums = np.cumsum(spectrum.eigenvalues)
    k = np.unique(np.geomspace(1, len(sums), _CURVE_POINTS).astype(int))
    low = sums[k - 1] / spectrum.total_variance
    high = low if spectrum.complete else spectrum.upper_sums[k - 1] / spectrum.total_variance
    return k, low, np.minimum(high, 1.0)


def _trained(run: Run, texts: Texts) -> str:
    return training_label(run.training, texts) if run.training else texts["unknown"]


def _union(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of all, each once; those of the deepest network in its order, gap last."""
    names = list(dict.fromkeys(name for layers in sorted(found, key=len, reverse=True) for name in layers))
    return [name for name in names if name != "gap"] + [name for name in names if name == "gap"]


def _short(value: int) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else str(value)


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
