"""Scree curves: the share of the variance that the leading components of every layer hold."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from streamspread.report import text
from streamspread.report.axes import band, legend, log_axis, single
from streamspread.report.claims import TAU
from streamspread.report.curves import scree_points
from streamspread.report.figure import Chart, FigureKind, Texts
from streamspread.report.runs import Run, short_names
from streamspread.report.style import ordered_looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CURVE_POINTS = 200  # more than a printed page resolves


def draw(run: Run, name: str, texts: Texts) -> Figure:
    """The share of the variance over the number k of components, a curve per layer of one network."""
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


FIGURE = FigureKind(
    order=30,
    pictures=lambda collection, texts: {
        f"scree-{name}": partial(draw, run, name, texts)
        for name, run in short_names(collection.networks).items()
    },
    chart=Chart(name="scree", order=10, section="explore", title="scree", follows=("run",), always=True),
)
