"""Figure 3 of the paper: the dimensions D of every layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from streamspread.report import text
from streamspread.report.axes import layer_axis, line, single
from streamspread.report.figure import Chart, FigureKind, Texts
from streamspread.report.runs import Run, layer_names, short_names
from streamspread.report.style import looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DODGE = 0.05  # of the distance between two layers, by which coinciding curves are moved apart


def draw(networks: Sequence[Run], texts: Texts) -> Figure:
    """D by layer, a curve per network."""
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


FIGURE = FigureKind(
    order=10,
    pictures=lambda collection, texts: (
        {"figure3-dimensions": partial(draw, collection.networks, texts)} if collection.networks else {}
    ),
    chart=Chart(name="dimensions", order=10, section="figures", title="figure_3"),
)
