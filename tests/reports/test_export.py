"""Spectra as JSON and CSV: every number in full, and nothing for the unknown."""

import csv
import io
import json

import numpy as np

from streamspread.reports import export
from streamspread.results.growth import Growth, Point
from streamspread.results.similarity import cka
from streamspread.results.spectra import Spectra
from tests.alignment import grams_of
from tests.spectra import layer, wide_layer


def test_json_has_every_number_in_full_and_null_for_the_unknown():
    spectra = Spectra([wide_layer(), layer("c2")], (0.7, 0.9), {"model": "no1"})
    document = json.loads(export.to_json(spectra))
    assert document["provenance"] == {"model": "no1"}
    assert document["thresholds"] == [0.7, 0.9]
    first, second = document["layers"]
    assert first["shape"] == [64, 32, 32]
    assert first["effective_rank"] is None
    assert first["components"][0] == {
        "threshold": 0.7,
        "low": 611,
        "high": 616,
        "spread_low": 611 / 65_536,
        "spread_high": 616 / 65_536,
        "estimate": None,
        "estimate_half_width": None,
        "within_low": None,
        "within_high": None,
        "random_low": None,
        "random_high": None,
    }
    assert (first["ceiling"], second["ceiling"]) == (49_999, 4)
    assert second["effective_rank"] == spectra["c2"].effective_rank


def test_estimates_stand_beside_the_interval_that_is_proved():
    points = [
        Point(0.7, n, parts, 1 / 200 + 0.5 / n, 0.0, 0.5) for n, parts in ((1000, 1), (250, 4), (125, 8))
    ]
    spectra = Spectra([layer("c1", dim=5000, growth=Growth(tuple(points)))], (0.7, 0.9))
    seven, nine = json.loads(export.to_json(spectra))["layers"][0]["components"]
    told = spectra["c1"].estimate(0.7)
    assert (seven["estimate"], seven["estimate_half_width"]) == (told.value, told.half_width)
    assert nine["estimate"] is None
    lines = list(csv.DictReader(io.StringIO(export.to_csv(spectra))))
    assert [line["estimate"] for line in lines] == [repr(told.value), ""]


def test_csv_has_a_line_per_layer_and_threshold():
    spectra = Spectra([wide_layer(), layer("with,comma")], (0.7, 0.9))
    lines = list(csv.DictReader(io.StringIO(export.to_csv(spectra))))
    assert [(line["layer"], line["threshold"]) for line in lines] == [
        ("c1", "0.7"),
        ("c1", "0.9"),
        ("with,comma", "0.7"),
        ("with,comma", "0.9"),
    ]
    assert lines[0]["shape"] == "64x32x32"
    assert lines[0]["effective_rank"] == ""
    assert float(lines[2]["effective_rank"]) == spectra["with,comma"].effective_rank
    assert export.to_csv(Spectra([])) == "layer\n"


def test_similarities_have_a_line_for_each_pair_and_nothing_for_the_undefined():
    rng = np.random.default_rng(0)
    one = grams_of({"c1": rng.normal(size=(9, 4)), "a,b": np.ones((9, 7))})
    two = grams_of({"gap": rng.normal(size=(9, 2))})
    known = cka(one, two)
    lines = list(csv.DictReader(io.StringIO(export.to_csv(known))))
    assert [(line["row"], line["column"]) for line in lines] == [("c1", "gap"), ("a,b", "gap")]
    assert [(line["row_dim"], line["column_dim"], line["samples"]) for line in lines] == [
        ("4", "2", "9"),
        ("7", "2", "9"),
    ]
    assert float(lines[0]["cka"]) == known.cka[0, 0]
    assert float(lines[0]["debiased"]) == known.debiased[0, 0]
    assert (lines[1]["cka"], lines[1]["debiased"]) == ("", "")
