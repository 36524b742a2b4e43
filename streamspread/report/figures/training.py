"""The share K(τ)/D of networks that were trained in different ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from streamspread.report import text
from streamspread.report.axes import finish_panels, interval_line, layer_axis, panels, share_axis
from streamspread.report.claims import TAU
from streamspread.report.figure import Chart, FigureKind, Texts
from streamspread.report.labels import training_label
from streamspread.report.runs import Run, Training, layer_names
from streamspread.report.style import ordered_looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(groups: Mapping[Training, Sequence[Run]], texts: Texts, tau: float = TAU) -> Figure:
    """K(τ)/D by layer, a panel per network and a curve per training."""
    models = list(dict.fromkeys(run.model for runs in groups.values() for run in runs))
    figure, grid = panels(len(models))
    for model, axes in zip(models, grid, strict=True):
        layers = layer_names([run.layers() for runs in groups.values() for run in runs if run.model == model])
        for (training, runs), look in zip(groups.items(), ordered_looks(len(groups)), strict=True):
            for run in (run for run in runs if run.model == model):
                spreads = [layer.spread(tau) for layer in run.layers().values()]
                places = [layers.index(name) for name in run.layers()]
                interval_line(axes, places, spreads, look, training_label(training, texts))
        share_axis(axes, texts["spread_axis"].format(tau=f"{tau:g}"))
        layer_axis(axes, layers, texts["layer"])
        axes.set_title(text.shortened(model))
    return finish_panels(figure, grid, texts["training_title"])


FIGURE = FigureKind(
    order=80,
    pictures=lambda collection, texts: (
        {"training": partial(draw, collection.trainings, texts)} if collection.trainings else {}
    ),
    chart=Chart(name="training", order=50, section="beyond", title="training", follows=("which", "tau")),
)
