"""Spectra as JSON and CSV: every number in full, and nothing for the unknown."""

import csv
import io
import json

from streamspread.report import records
from streamspread.results.spectrum import Spectra
from tests.spectra import layer, wide_layer


def test_json_has_every_number_in_full_and_null_for_the_unknown():
    spectra = Spectra([wide_layer(), layer("c2")], (0.7, 0.9), {"model": "no1"})
    document = json.loads(records.to_json(spectra))
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
    }
    assert (first["ceiling"], second["ceiling"]) == (49_999, 4)
    assert second["effective_rank"] == spectra["c2"].effective_rank


def test_csv_has_a_line_per_layer_and_threshold():
    spectra = Spectra([wide_layer(), layer("with,comma")], (0.7, 0.9))
    lines = list(csv.DictReader(io.StringIO(records.to_csv(spectra))))
    assert [(line["layer"], line["threshold"]) for line in lines] == [
        ("c1", "0.7"),
        ("c1", "0.9"),
        ("with,comma", "0.7"),
        ("with,comma", "0.9"),
    ]
    assert lines[0]["shape"] == "64x32x32"
    assert lines[0]["effective_rank"] == ""
    assert float(lines[2]["effective_rank"]) == spectra["with,comma"].effective_rank
    assert records.to_csv(Spectra([])) == "layer\n"
