"""Results drawn in a notebook: charts of Altair, alone, on top of and beside each other."""

import sys
from dataclasses import replace

import pytest

from streamspread.errors import MissingError, OptionError
from streamspread.results.spectra import Spectra
from tests.spectra import bounded, equal_layer, equal_spectra, open_layer

altair = pytest.importorskip("altair", reason="plot needs Altair")
ONE = equal_spectra({"c1": 100, "features.very.deep": 200}, {"c1": 10, "features.very.deep": 10})


def rows(chart):
    return next(found for found in chart.to_dict()["datasets"].values() if found != [{}])


def test_a_result_is_its_spread_by_layer():
    found = rows(ONE.plot())
    assert [(row["stem"], row["low"], row["dim"]) for row in found] == [
        ("c1", 5, 100),
        ("features.very.deep", 5, 200),
    ]
    assert [row["low"] for row in rows(ONE.plot(threshold=0.7))] == [7, 7]


def test_charts_stand_on_and_beside_each_other():
    other = equal_spectra({"gap": 10}, {"gap": 4}, model="no2")
    both = (ONE.plot() + other.plot()) | ONE["c1"].plot()
    names = [param["name"] for param in both.to_dict()["params"]]
    assert len(names) == len(set(names))


def test_views_are_series_over_the_same_layers():
    layers = [replace(equal_layer(name, 100, 10), shape=(25, 2, 2)) for name in ("c1", "c2")]
    pooled = [replace(equal_layer(f"{s.layer}@pooled", 20, 10), view="pooled") for s in layers]
    found = rows(Spectra([*layers, *pooled], (0.5,), {"model": "net"}).plot())
    assert [(row["series"], row["stem"]) for row in found] == [
        ("net", "c1"),
        ("net, pooled", "c1"),
        ("net", "c2"),
        ("net, pooled", "c2"),
    ]


def test_a_layer_after_relu_is_one_of_its_own():
    found = rows(equal_spectra({"c1": 9, "c1.relu": 9}, {"c1": 3, "c1.relu": 4}).plot())
    assert [row["stem"] for row in found] == ["c1", "c1.relu"]


def test_an_interval_keeps_both_ends():
    (row,) = rows(Spectra([open_layer("c2", 900, 20, 30)]).plot())
    assert (row["low"], row["high"]) == (20, 30)


def test_a_layer_is_the_share_of_its_variance_over_k():
    found = rows(equal_layer("c1", 100, 4).plot())
    assert [(row["k"], row["low"]) for row in found] == [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)]
    found = rows(bounded([3.0, 2.0], [4.0, 6.0], 8.0).plot())
    assert [(row["low"], row["high"]) for row in found] == [(0.375, 0.5), (0.625, 0.75)]


def test_what_cannot_be_drawn_is_said(monkeypatch):
    with pytest.raises(OptionError, match=r"thresholds must lie in \(0, 1\], got 7"):
        ONE.plot(threshold=7)
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(MissingError, match=r"plot needs Altair .*: pip install altair"):
        ONE.plot()
