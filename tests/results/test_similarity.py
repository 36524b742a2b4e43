"""CKA from grams: against its definitions, what does not change it, and what is not defined."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.errors import DataError
from streamspread.results import similarity
from streamspread.results.similarity import TOLERANCE, Grams, cka
from tests.alignment import grams_of, references

SHAPES = st.tuples(st.integers(4, 40), st.integers(1, 60), st.integers(1, 60))
SEEDS = st.integers(0, 10**6)


def drawn(samples, dims, seed=0, common=0.5):
    """Features that have something in common, by layer."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(samples, 3))
    return {
        f"l{i}": common * shared @ rng.normal(size=(3, dim)) + rng.normal(size=(samples, dim)) + 5.0
        for i, dim in enumerate(dims)
    }


def turned(x_ND, rng):
    return x_ND @ np.linalg.qr(rng.normal(size=(x_ND.shape[1],) * 2))[0]


@pytest.mark.parametrize("samples", [2, 3, 4, 5, 17, 64, 200])
@pytest.mark.parametrize("numbers", [64, 1 << 22])
def test_both_are_what_their_definitions_say(samples, numbers, monkeypatch):
    monkeypatch.setattr(similarity, "_NUMBERS", numbers)
    features = drawn(samples, (1, 2, 30, 500))
    found = cka(grams_of(features))
    biased, debiased = references(features)
    np.testing.assert_allclose(found.cka, biased, atol=1e-6)
    np.testing.assert_allclose(found.debiased, debiased, atol=1e-5)
    assert (found.rows, found.columns) == (("l0", "l1", "l2", "l3"),) * 2
    assert (found.row_dims, found.column_dims) == ((1, 2, 30, 500),) * 2
    assert (found.samples, found.data_seen) == (samples, "0" * 32)


def test_between_two_networks_the_matrix_has_the_layers_of_one_by_those_of_the_other():
    a, b = drawn(50, (7, 20)), drawn(50, (300, 3, 9), seed=1)
    a["l1"], b["l1"] = a["l1"] + 2.0, a["l1"][:, :3]
    found = cka(grams_of(a), grams_of(b))
    biased, debiased = references(a, b)
    np.testing.assert_allclose(found.cka, biased, atol=1e-6)
    np.testing.assert_allclose(found.debiased, debiased, atol=1e-5)
    assert (found.row_dims, found.column_dims) == ((7, 20), (300, 3, 9))
    np.testing.assert_allclose(cka(grams_of(b), grams_of(a)).debiased, found.debiased.T, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, seed=SEEDS, scale=st.floats(1e-6, 1e6))
def test_rotation_scale_and_mean_change_nothing(shape, seed, scale):
    samples, dim, other = shape
    rng = np.random.default_rng(seed)
    features = drawn(samples, (dim, other), seed)
    moved = {"l0": scale * turned(features["l0"], rng) + scale * 3.0, "l1": features["l1"]}
    before, after = cka(grams_of(features)), cka(grams_of(moved))
    np.testing.assert_allclose(after.cka, before.cka, atol=TOLERANCE)
    between = cka(grams_of(features), grams_of(moved))
    assert between.cka[0, 0] == pytest.approx(1.0, abs=TOLERANCE)
    # Nothing may be left without the diagonal, and then nothing is said.
    for one, two in ((after.debiased, before.debiased), (between.debiased[:1, :1], np.ones((1, 1)))):
        both = ~np.isnan(one) & ~np.isnan(two)
        np.testing.assert_allclose(one[both], two[both], atol=TOLERANCE)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, seed=SEEDS)
def test_matrices_are_symmetric_with_ones_and_in_their_range(shape, seed):
    samples, dim, other = shape
    found = cka(grams_of(drawn(samples, (dim, other, 1), seed)))
    for value_LL, least in ((found.cka, 0.0), (found.debiased, -1.0)):
        np.testing.assert_array_equal(value_LL, value_LL.T)
        known = ~np.isnan(value_LL.diagonal())
        assert np.all(value_LL.diagonal()[known] == 1.0)
        assert np.all((value_LL[known][:, known] >= least) & (value_LL[known][:, known] <= 1.0))
    assert not np.isnan(found.cka).any()


def test_a_constant_layer_is_like_nothing_also_not_itself():
    features = drawn(30, (4, 9))
    features["constant"] = np.full((30, 5), 7.0)
    found = cka(grams_of(features))
    for value_LL in (found.cka, found.debiased):
        assert np.isnan(value_LL[2]).all()
        assert np.isnan(value_LL[:, 2]).all()
        assert not np.isnan(value_LL[:2, :2]).any()


def test_what_rounding_could_have_made_is_not_given():
    features = drawn(30, (4, 9))
    grams = grams_of(features)
    rows, columns = np.tril_indices(30)
    norm = np.sqrt(np.sum((1 + (rows != columns)) * grams["l0"].packed_M.astype(float) ** 2))
    given, refused = (
        cka(Grams([replace(grams["l0"], error=share * norm), grams["l1"]], samples=30, data_seen="x")).cka[
            0, 1
        ]
        for share in (4.8e-4, 5.0e-4)
    )
    assert given == cka(grams).cka[0, 1]
    assert np.isnan(refused)


@pytest.mark.parametrize("common", [0.0, 0.3, 3.0])
def test_errors_as_large_as_they_may_be_make_no_more_difference_than_is_said(common):
    grams = grams_of(drawn(40, (30, 60), common=common))
    square = {name: dense(gram.packed_M, 40) for name, gram in grams.items()}
    moved = []
    for name, other in (("l0", "l1"), ("l1", "l0")):  # each towards the other: so they change most
        mine, theirs = square[name], square[other]
        away = theirs - mine * np.sum(mine * theirs) / np.sum(mine**2)
        error = 4.8e-4 * np.linalg.norm(mine)
        shifted = mine + away * error / np.linalg.norm(away)
        packed_M = shifted[np.tril_indices(40)].astype(np.float32)
        moved.append(replace(grams[name], packed_M=packed_M, error=error))
    before, after = cka(grams).cka[0, 1], cka(Grams(moved, samples=40, data_seen="x")).cka[0, 1]
    assert 0.2 * TOLERANCE < after - before <= TOLERANCE


def dense(packed_M, samples):
    square = np.zeros((samples, samples))
    square[np.tril_indices(samples)] = packed_M
    return square + np.tril(square, -1).T


@pytest.mark.parametrize("samples", [4, 5, 100])
def test_samples_that_are_all_as_far_apart_leave_nothing_without_the_diagonal(samples):
    features = {"one of each": np.eye(samples), "l1": drawn(samples, (6,))["l0"]}
    found = cka(grams_of(features))
    assert found.cka[0, 0] == 1.0
    assert np.isnan(found.debiased[0]).all()
    assert found.debiased[1, 1] == 1.0


def test_grams_of_other_samples_are_not_compared():
    features = drawn(20, (4,))
    with pytest.raises(DataError, match=r"grams of 20 and of 19 samples cannot be compared: take the same"):
        cka(grams_of(features), grams_of({"l0": features["l0"][:19]}))
    with pytest.raises(DataError, match=r"grams of 20 samples each, but not of the same, cannot be compared"):
        cka(grams_of(features), grams_of(features, data_seen="1" * 32))
