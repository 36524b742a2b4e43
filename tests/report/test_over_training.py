"""Spread over a training as a figure."""

import pytest

from streamspread.report import over_training
from streamspread.report.labels import labels
from tests.histories import history

TEXTS = labels("en")


def test_a_figure_has_a_curve_for_each_layer_and_a_bar_where_k_is_open():
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    (axes,) = over_training.draw(history(), TEXTS).axes
    curves = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert list(curves) == ["c1", "c2"]
    assert list(curves["c2"].get_xdata()) == [0, 1, 400]
    assert list(curves["c2"].get_ydata()) == [0.05, 0.05, 0.07]
    assert len(curves["c1"].get_xdata()) == 4
    assert axes.get_xscale() == "symlog"
