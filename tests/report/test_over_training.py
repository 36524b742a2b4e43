"""Spread over a training as a figure."""

from streamspread.report import over_training
from streamspread.report.labels import labels
from tests.histories import history

TEXTS = labels("en")


def test_a_figure_has_every_reading_that_tells_something():
    spec = over_training.draw(history(), TEXTS)
    rows = spec["datasets"]["rows"]
    assert [(row["key"], row["step"]) for row in rows if row["low"] < row["high"]] == [("c1", 800)]
    assert [row["low"] for row in rows if row["key"] == "c2"] == [10, 10, 14]
    assert {row["tau"] for row in rows} == {0.7}
    assert "K(τ)/D" in str(spec)


def test_steps_that_begin_finely_are_spaced_by_their_logarithm():
    scales = [layer["encoding"]["x"]["scale"] for layer in over_training.draw(history(), TEXTS)["layer"]]
    assert {scale["type"] for scale in scales} == {"symlog"}
