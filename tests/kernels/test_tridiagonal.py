"""Band matrices to tridiagonal ones: the same eigenvalues, whatever the shape, the band and the threads."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigvalsh_tridiagonal

from streamspread.kernels.tridiagonal import tridiagonal


def random_band(n, width, seed=0):
    """(n, 2·width) with random numbers in its width + 1 diagonals, and the dense matrix that it is."""
    rng = np.random.default_rng(seed)
    band, dense = np.zeros((n, 2 * width)), np.zeros((n, n))
    for distance in range(min(width + 1, n)):
        column = np.arange(n - distance)
        band[column, distance] = rng.normal(size=n - distance)
        dense[column + distance, column] = dense[column, column + distance] = band[column, distance]
    return band, dense


def check(band, dense, width):
    diagonal, subdiagonal = tridiagonal(band, width)
    assert (len(diagonal), len(subdiagonal)) == (len(dense), len(dense) - 1)
    expected = np.linalg.eigvalsh(dense)
    found = eigvalsh_tridiagonal(diagonal, subdiagonal)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * max(1.0, np.abs(expected).max()))


# Several tiles of several groups: 4 sweeps each, 16 steps a tile.
@pytest.mark.parametrize(
    ("n", "width"),
    [(1, 1), (2, 1), (2, 2), (3, 2), (5, 3), (17, 16), (257, 2), (700, 5), (1001, 32)],
)
def test_eigenvalues_stay_as_they_are(n, width):
    check(*random_band(n, width), width)


@settings(max_examples=150, deadline=None)
@given(n=st.integers(1, 120), width=st.integers(1, 20), seed=st.integers(0, 1000))
def test_eigenvalues_stay_as_they_are_at_any_order_and_width(n, width, seed):
    check(*random_band(n, min(n, width), seed), min(n, width))


@pytest.mark.parametrize("width", [1, 4])
def test_a_matrix_of_zeros_and_one_that_is_diagonal_already(width):
    for numbers in (np.zeros(50), np.arange(50.0)):
        band = np.zeros((50, 2 * width))
        band[:, 0] = numbers
        diagonal, subdiagonal = tridiagonal(band, width)
        assert np.array_equal(diagonal, numbers)
        assert np.array_equal(subdiagonal, np.zeros(49))


def test_the_number_of_threads_changes_no_bit():
    found = []
    before = numba.get_num_threads()
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            found.append(tridiagonal(random_band(900, 6)[0], 6))
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])


def test_progress_grows_to_one():
    shares = []
    tridiagonal(random_band(1500, 4)[0], 4, shares.append)
    assert len(shares) > 3
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
