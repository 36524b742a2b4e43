"""The number of components K over the number of images N."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from streamspread.report import text
from streamspread.report.axes import (
    end_labels,
    finish_panels,
    interval_line,
    log_axis,
    looks_by_layer,
    panels,
)
from streamspread.report.claims import TAU
from streamspread.report.figure import Chart, FigureKind, Texts
from streamspread.report.runs import Run, growth, layer_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(groups: Mapping[str, Sequence[Run]], texts: Texts, tau: float = TAU) -> Figure:
    """K(τ) over N, a panel per network and a curve per layer; at its end, K's growth per doubling of N."""
    figure, grid = panels(len(groups))
    ends: list[list[tuple[float, str]]] = [[] for _ in groups]
    look = looks_by_layer(run for runs in groups.values() for run in runs)
    for (name, runs), axes, labels in zip(groups.items(), grid, ends, strict=True):
        for layer in layer_names(run.layers() for run in runs):
            having = [run for run in runs if layer in run.layers()]
            k = [run.layers()[layer].components(tau) for run in having]
            interval_line(axes, [run.samples for run in having], k, look[layer], layer)
            grown = growth(runs, layer, tau)
            labels.append((k[-1].high, layer if grown is None else f"{layer} {text.growth(grown)}"))
        log_axis(axes, "x")
        log_axis(axes, "y")
        axes.set(xlabel=texts["samples_axis"], ylabel=texts["components_tau_axis"].format(tau=f"{tau:g}"))
        axes.set_title(text.shortened(name))
    for axes, labels in zip(grid, ends, strict=True):  # all panels share a height scale, final only now
        end_labels(axes, labels)
    title = texts["over_samples_title"].format(tau=f"{tau:g}")
    return finish_panels(figure, grid, f"{title}\n{texts['settled']}")


FIGURE = FigureKind(
    order=60,
    pictures=lambda collection, texts: (
        {"over-samples": partial(draw, collection.over_samples, texts)} if collection.over_samples else {}
    ),
    chart=Chart(name="samples", order=30, section="beyond", title="over_samples", follows=("which", "tau")),
)
