"""Figure 4 of the paper: the share K(τ)/D of every layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from streamspread.report.axes import interval_line, layer_axis, share_axis, single
from streamspread.report.claims import TAU
from streamspread.report.figure import Chart, FigureKind, Texts
from streamspread.report.runs import Run, layer_names, short_names
from streamspread.report.style import looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(networks: Sequence[Run], texts: Texts, tau: float = TAU) -> Figure:
    """K(τ)/D by layer, a curve per network; where K is an interval, a bar from bound to bound."""
    figure, axes = single(6.4, 4.2)
    layers, named = layer_names([run.layers() for run in networks]), short_names(networks)
    has_bars = False
    for (name, run), look in zip(named.items(), looks(len(named)), strict=True):
        spreads = [spectrum.spread(tau) for spectrum in run.layers().values()]
        places = [layers.index(layer) for layer in run.layers()]
        has_bars |= interval_line(axes, places, spreads, look, name)
    share_axis(axes, texts["spread_axis"].format(tau=f"{tau:g}"))
    layer_axis(axes, layers, texts["layer"])
    axes.set_title(texts["spread_title"].format(percent=f"{100 * tau:g}"))
    if has_bars:
        axes.annotate(texts["interval"], (1, 0.01), xycoords="axes fraction", ha="right", fontsize=8)
    axes.legend()
    return figure


FIGURE = FigureKind(
    order=20,
    pictures=lambda collection, texts: (
        {"figure4-spread": partial(draw, collection.networks, texts)} if collection.networks else {}
    ),
    chart=Chart(name="spread", order=20, section="figures", title="figure_4", follows=("tau", "part")),
)
