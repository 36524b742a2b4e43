"""Spread over the steps of a training, as it is drawn."""

import pytest

from streamspread.errors import OptionError
from streamspread.report import render
from streamspread.report.histories import over_steps
from streamspread.report.labels import labels
from streamspread.results.history import History, Reading
from tests.report.test_figures import marks
from tests.spectra import equal_layer, open_layer

TEXTS = labels("en")


def test_each_layer_is_a_curve_over_steps_and_an_open_k_no_point():
    seen = [
        Reading.of(equal_layer("constructor", 100, count), (0.5,), step, step)
        for step, count in ((0, 10), (10, 20), (5000, 30))
    ]
    seen.append(Reading.of(open_layer("c2", 100, 10, 20), (0.5,), 0, 0))
    history = History(seen, {"model": "net"})
    svg = render.svg(over_steps(history, 0.5, "over a training", TEXTS))
    points = marks(svg, "point")
    assert [point["K(τ) / D"] for point in points] == ["5 / 100", "10 / 100", "15 / 100"]
    assert "net · τ = 0.5" in svg
    with pytest.raises(OptionError, match=r"no K at τ = 0.9 was kept, only at 0.5"):
        over_steps(history, 0.9, "", TEXTS)
