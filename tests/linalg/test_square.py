"""A square that is summed in place: its norm, and a search for leading pairs that passes over none."""

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh

from streamspread.linalg import square
from streamspread.linalg.square import Square
from tests.devices import CPU
from tests.matrices import orthogonal


def with_values(values):
    """The square with these eigenvalues, and NaN above its diagonal, and the whole matrix."""
    basis = orthogonal(len(values), np.random.default_rng(1))
    a_NN = basis * values @ basis.T
    a_NN = (a_NN + a_NN.T) / 2
    made = Square(len(values), CPU)
    made.a_NN.copy_(torch.from_numpy(np.where(np.tri(len(values), dtype=bool), a_NN, np.nan)))
    return made, a_NN


def test_the_norm_is_that_of_the_whole_matrix_from_its_triangle():
    made, a_NN = with_values(1.0 / np.arange(1, 601))
    assert made.squared_norm() == pytest.approx(np.linalg.norm(a_NN) ** 2, rel=1e-13)


@pytest.mark.parametrize(
    "values",
    [
        1.0 / np.arange(1, 301),
        np.r_[np.full(4, 3.0), np.linspace(1.0, 0.1, 296)],
        np.r_[9.0, np.full(5, 1.0), np.full(294, 0.5)],
        np.r_[7.0, 5.0, 3.0, 2.0, 1.0, np.zeros(295)],
        np.r_[1.0, np.full(299, 1.0 - 1e-9)],
        1e150 / np.arange(1, 301) ** 2,
    ],
    ids=["falling", "four alike", "five alike", "of rank five", "all but alike", "huge"],
)
def test_leading_pairs_are_those_of_a_dense_solve_or_none(values):
    made, a_NN = with_values(values)
    found = made.leading_pairs(5)
    if found is not None:
        values_K, vectors_NK = found
        np.testing.assert_allclose(values_K, np.sort(values)[::-1][:5], rtol=1e-11)
        np.testing.assert_allclose(vectors_NK.T @ vectors_NK, np.eye(5), atol=1e-14)
        off_NK = a_NN @ vectors_NK.numpy() - vectors_NK.numpy() * values_K
        assert np.linalg.norm(off_NK, axis=0).max() <= 1e-13 * values[0]
    assert np.isnan(made.a_NN[0, 1])  # what lies above the diagonal is neither read nor written


def test_a_search_that_ends_gives_pairs():
    assert with_values(1.0 / np.arange(1, 301))[0].leading_pairs(5) is not None


@pytest.mark.parametrize("passed", [0, 2, 4])
def test_a_pair_that_was_passed_over_is_missed(monkeypatch, passed):
    """As Lanczos's method by itself does with the copies of an eigenvalue."""

    def forgetful(operator, count, return_eigenvectors, **options):
        if not return_eigenvectors:
            return eigsh(operator, count, return_eigenvectors=False, **options)
        values_K, vectors_NK = eigsh(operator, count + 1, **options)
        kept = np.arange(count + 1) != count - passed
        return values_K[kept], vectors_NK[:, kept]

    monkeypatch.setattr(square, "eigsh", forgetful)
    assert with_values(1.0 / np.arange(1, 301))[0].leading_pairs(5) is None
