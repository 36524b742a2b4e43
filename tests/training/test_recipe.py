"""Recipes: the schedule of the learning rate, and options outside their range."""

import math

import pytest

from streamspread.errors import OptionError
from streamspread.training import Recipe


def test_the_learning_rate_rises_to_its_peak_and_falls_to_almost_nothing():
    rates = [Recipe().rate(step, 100) for step in range(100)]
    top = rates.index(max(rates))
    assert 20 <= top <= 30
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0.39 < max(rates) <= 0.4
    assert 0 < rates[0] < 0.02
    assert 0 < rates[-1] < 0.001
    assert 0 < Recipe().rate(0, 1) <= 0.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"batch_size": 1}, "batch size must be at least 2"),
        ({"lr": 0.0}, "learning rate must be a number above 0, not 0"),
        ({"lr": math.nan}, "learning rate must be a number above 0, not nan"),
        ({"label_smoothing": 1.0}, "label smoothing must be at least 0 and below 1"),
        ({"spread_weight": math.inf}, "weight of spreading must be a finite number, not inf"),
        ({"spread_target": "next"}, "target of spreading must be 'previous', none or a number above 0"),
        ({"spread_target": -1.0}, "target of spreading must be 'previous', none or a number above 0"),
        ({"spread_kind": "wide"}, "kind of spreading 'wide' is unknown: choose from participation,"),
        ({"spread_layers": ["c6"], "batch_size": 3}, "spreading takes a batch size of 4 or more, not 3"),
        ({"precision": "fp64"}, "the precision must be one of auto, bf16, fp32, not 'fp64'"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        Recipe(**options)


def test_the_note_says_how_layers_were_spread_and_nothing_where_none_was():
    assert not any(key.startswith("spread") for key in Recipe(spread_weight=0.3).note())
    note = Recipe(spread_layers=["c5", "c6"], spread_weight=0.3, spread_target=None).note()
    assert {key: value for key, value in note.items() if key.startswith("spread")} == {
        "spread_layers": "c5,c6",
        "spread_weight": "0.3",
        "spread_target": "none",
        "spread_kind": "participation",
    }
    assert Recipe(spread_layers="c6", spread_target=120).note()["spread_target"] == "120"
    assert Recipe(spread_kind="vicreg", spread_target=-0.5).spread_target == -0.5  # in units of its own
