"""The share K(τ)/D after each part of a layer: convolution, batch norm, ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from streamspread.report import text
from streamspread.report.axes import finish_panels, interval_line, layer_axis, panels, share_axis
from streamspread.report.claims import TAU
from streamspread.report.figure import Chart, FigureKind, Pictures, Texts
from streamspread.report.runs import LAYER_PARTS, Collection, Run, layer_names, short_names
from streamspread.report.style import looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(networks: Sequence[Run], texts: Texts, tau: float = TAU) -> Figure:
    """K(τ)/D by layer, a panel per network and a curve per part."""
    figure, grid = panels(len(networks))
    parts = [part for part in LAYER_PARTS if any(run.layers(part) for run in networks)]
    for (name, run), axes in zip(short_names(networks).items(), grid, strict=True):
        layers = layer_names([run.layers(part) for part in parts])
        for part, look in zip(parts, looks(len(parts)), strict=True):
            spreads = [spectrum.spread(tau) for spectrum in run.layers(part).values()]
            places = [layers.index(layer) for layer in run.layers(part)]
            interval_line(axes, places, spreads, look, texts[f"part_{part}"])
        share_axis(axes, texts["spread_axis"].format(tau=f"{tau:g}"))
        layer_axis(axes, layers, texts["layer"])
        axes.set_title(text.shortened(name))
    return finish_panels(figure, grid, texts["parts_title"])


def _pictures(collection: Collection, texts: Texts) -> Pictures:
    several = any(run.layers("bn") or run.layers("relu") for run in collection.networks)
    return {"parts": partial(draw, collection.networks, texts)} if several else {}


FIGURE = FigureKind(
    order=50,
    pictures=_pictures,
    chart=Chart(name="parts", order=10, section="beyond", title="parts", follows=("run", "tau"), always=True),
)
