"""The share K(τ)/D of networks of different depth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from streamspread.report.axes import interval_line, share_axis, single
from streamspread.report.claims import TAU
from streamspread.report.figure import Chart, FigureKind, Texts
from streamspread.report.labels import training_label
from streamspread.report.runs import Collection, Run
from streamspread.report.style import ordered_looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(runs: Sequence[Run], texts: Texts, tau: float = TAU) -> Figure:
    """K(τ)/D from the first convolution to the last, a curve per network."""
    figure, axes = single(6.4, 4.2)
    for run, look in zip(runs, ordered_looks(len(runs)), strict=True):
        spreads = [layer.spread(tau) for name, layer in run.layers().items() if name != "gap"]
        name = texts["convolutions"].format(n=run.depth)
        interval_line(axes, np.linspace(0, 1, len(spreads)), spreads, look, name)
    share_axis(axes, texts["spread_axis"].format(tau=f"{tau:g}"))
    trainings = [training_label(run.training, texts) if run.training else texts["unknown"] for run in runs]
    title = texts["depth_title"].format(trained=" / ".join(dict.fromkeys(trainings)))
    axes.set(xlabel=texts["depth_axis"], title=title)
    axes.legend()
    return figure


def _trainings(collection: Collection, texts: Texts) -> str:
    known = {training_label(run.training, texts) for run in collection.depths if run.training}
    return " / ".join(sorted(known))


FIGURE = FigureKind(
    order=70,
    pictures=lambda collection, texts: (
        {"depth": partial(draw, collection.depths, texts)} if collection.depths else {}
    ),
    chart=Chart(name="depth", order=40, section="beyond", title="depth", detail=_trainings, follows=("tau",)),
)
