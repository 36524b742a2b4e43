"""Two results side by side: what is proved of the difference, and what else is known of both."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from streamspread.errors import DataError, OptionError
from streamspread.results import comparison
from streamspread.results.directions import principal_angles
from streamspread.results.spectra import Spectra
from tests.alignment import grams_of
from tests.spectra import equal_layer

ONE = Spectra(
    [equal_layer("c1", 100, 10), equal_layer("c2", 50, 20)], (0.7, 0.5), {"model": "no1", "data_seen": "x"}
)


def test_layers_are_held_against_their_like():
    other = Spectra(
        [equal_layer("c2", 60, 30), equal_layer("c3", 9, 9)], (0.9,), {"model": "no2", "data_seen": "x"}
    )
    found = ONE.compare(other)
    assert list(found) == ["c2"]
    assert found.threshold == 0.7
    assert found.titles == ("no1", "no2")
    c2 = found["c2"]
    assert (c2.dims, c2.a, c2.b) == ((50, 60), (14, 14), (21, 21))
    assert c2.difference == 7
    assert c2.spread_b == (21 / 60, 21 / 60)
    assert math.isnan(c2.cka)
    assert math.isnan(c2.overlap)
    assert found.notes == ("only in the first: c1", "only in the second: c3")
    assert repr(found) == "Comparison(τ = 0.7: of 1 layers, K of the second is larger in 1, smaller in 0)"
    assert ONE.compare(other, 0.5)["c2"].difference == 5


@pytest.mark.parametrize(
    ("facts", "samples", "note"),
    [
        ({"data_seen": "x"}, 500, "K grows with the number of samples, and these are 1,000 and 500"),
        ({}, 1000, "whether both saw the same data is not known"),
        ({"data_seen": "y", "data": "noise"}, 1000, "they saw other data: unknown; noise"),
    ],
)
def test_what_makes_two_results_differ_is_said(facts, samples, note):
    other = Spectra([equal_layer(name, 100, 10, samples) for name in ("c1", "c2")], provenance=facts)
    assert ONE.compare(other).notes == (note,)


def test_cka_is_there_where_grams_are():
    x_ND = np.random.default_rng(0).standard_normal((30, 4))
    grams = [grams_of({"c2": x_ND, "c1": x_ND[:, ::-1].copy()}) for _ in range(2)]
    found = ONE.compare(ONE, grams=tuple(grams))
    assert [found[name].cka for name in ("c1", "c2")] == pytest.approx([1.0, 1.0])


def test_overlap_is_there_where_directions_were_kept():
    rng = np.random.default_rng(1)
    kept = [np.linalg.qr(rng.standard_normal((100, count)))[0].astype(np.float32) for count in (5, 8)]
    results = []
    for vectors_DK in kept:
        layer = equal_layer("c1", 100, 10)
        object.__setattr__(layer, comparison.KEPT, SimpleNamespace(vectors_KD=vectors_DK.T))
        results.append(Spectra([layer]))
    found = results[0].compare(results[1])["c1"]
    np.testing.assert_array_equal(found.angles, principal_angles(kept[0], kept[1][:, :5]))
    assert 0 < found.overlap < 0.5
    assert results[0].compare(results[0])["c1"].overlap == pytest.approx(1.0)
    assert math.isnan(results[0].compare(ONE)["c1"].overlap)


def test_what_cannot_be_compared_is_refused():
    for other in (3, None, "c1", {"c1": 3}, ONE["c1"]):
        with pytest.raises(DataError, match="a result is compared with another one, as analyze and read"):
            ONE.compare(other)
    with pytest.raises(DataError, match=r"no layer has one name in both results \(c1, c2; gap\)"):
        ONE.compare(Spectra([equal_layer("gap", 9, 9)]))
    with pytest.raises(OptionError, match=r"thresholds must lie in \(0, 1\], got 2"):
        ONE.compare(ONE, 2)
