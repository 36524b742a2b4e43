"""The number of components K over the threshold τ."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from streamspread.report import text
from streamspread.report.axes import band, finish_panels, log_axis, looks_by_layer, panels
from streamspread.report.curves import GRID
from streamspread.report.figure import Chart, FigureKind, Texts
from streamspread.report.runs import Run, short_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(networks: Sequence[Run], texts: Texts) -> Figure:
    """K over τ, a panel per network and a curve per layer; where K is an interval, a band."""
    figure, grid = panels(len(networks))
    look = looks_by_layer(networks)
    for (name, run), axes in zip(short_names(networks).items(), grid, strict=True):
        for layer, spectrum in run.layers().items():
            intervals = [spectrum.components(tau) for tau in GRID]
            band(axes, GRID, [k.low for k in intervals], [k.high for k in intervals], look[layer], layer)
        log_axis(axes, "y")
        axes.set(xlabel=texts["threshold_axis"], ylabel=texts["components_tau_axis"].format(tau="τ"))
        axes.set_title(text.shortened(name))
    return finish_panels(figure, grid, texts["over_threshold_title"])


FIGURE = FigureKind(
    order=40,
    pictures=lambda collection, texts: (
        {"over-threshold": partial(draw, collection.networks, texts)} if collection.networks else {}
    ),
    chart=Chart(
        name="threshold", order=20, section="beyond", title="over_threshold", follows=("run",), always=True
    ),
)
