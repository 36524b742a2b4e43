"""Sums about the first rows' mean, or about 0 where that is as good and nothing need be brought anywhere."""

import numpy as np
import pytest

import streamspread
from streamspread.accumulators.float64 import scatter
from tests.devices import CPU


def rows(mean=0.0, scale=1.0, shape=(30_000, 20)):
    rng = np.random.default_rng(0)
    return mean + scale * rng.standard_normal(shape) / np.sqrt(np.arange(1, shape[1] + 1))


def brought(monkeypatch):
    """How many rows are brought to the buffer, each time."""
    seen, centred = [], scatter.Stage.centred

    def watched(self, part, shift_D):
        seen.append(len(part))
        return centred(self, part, shift_D)

    monkeypatch.setattr(scatter.Stage, "centred", watched)
    return seen


def read_only(x):
    x.flags.writeable = False
    return x


GIVEN = {
    "about 0": (rows(), True),
    "near 0": (rows(0.01), True),
    "far": (rows(1.0), False),
    "very far": (rows(1e7), False),
    "one feature far": (rows() + 5.0 * (np.arange(20) == 7), False),
    "one feature always 0": (rows() * (np.arange(20) != 7), True),
    "one feature constant": (np.where(np.arange(20) == 7, 3.0, rows()), False),
    "tiny": (rows(0.0, 1e-145), False),
    "float32": (rows().astype(np.float32), False),
    "columns adjacent": (np.asfortranarray(rows()), False),
    "other bytes": (rows().astype(">f8"), False),
    "read only": (read_only(rows()), False),
}


@pytest.mark.parametrize("name", GIVEN)
def test_variances_are_those_of_the_centred_rows_wherever_they_lie(name, monkeypatch):
    x, as_it_is = GIVEN[name]
    before, seen = x.copy(), brought(monkeypatch)
    pca = streamspread.PCA(5).fit(x)
    centred = x.astype(float) - x.mean(0, dtype=float)
    unit = np.abs(centred).max()
    want = unit**2 * np.linalg.svd(centred / unit, compute_uv=False)[:5] ** 2 / (len(x) - 1)
    np.testing.assert_allclose(pca.explained_variance_, want, rtol=1e-6 if "float32" in name else 1e-9)
    np.testing.assert_allclose(pca.mean_, x.mean(0, dtype=float), rtol=1e-6, atol=1e-9 * unit)
    assert (sum(seen) < len(x)) == as_it_is
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("mean", [0.0, 1.0, 1e3, 1e6])
def test_sums_are_those_of_extended_precision(mean):
    """Where squares of uncentred rows would be off by 2e-8 of the largest at a mean of 1,000."""
    x = rows(mean, shape=(9000, 6))
    summed = scatter.Scatter(6, CPU, at_once=2)
    summed.add(x)
    found = summed._centred(summed.matrix)[0].a_NN.numpy()
    wide = x.astype(np.longdouble)
    wide -= wide.mean(0)
    for i, j in zip(*np.tril_indices(6), strict=True):
        assert abs(found[i, j] - (wide[:, i] * wide[:, j]).sum()) <= 2e-15 * found[0, 0]
