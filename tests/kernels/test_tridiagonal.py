"""Band matrices to tridiagonal ones: the same eigenvalues, whatever the shape, the band and the threads."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigvalsh_tridiagonal

from streamspread.kernels.tridiagonal import tridiagonal
from tests.matrices import of_band, random_band


def check(band, bandwidth):
    expected = np.linalg.eigvalsh(of_band(band))
    diagonal, subdiagonal = tridiagonal(band, bandwidth)
    assert (len(diagonal), len(subdiagonal)) == (len(band), len(band) - 1)
    computed = eigvalsh_tridiagonal(diagonal, subdiagonal)
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-13 * max(1.0, np.abs(expected).max()))


# Several tiles of several groups: 4 sweeps each, 16 steps a tile.
@pytest.mark.parametrize(
    ("n", "bandwidth"),
    [(1, 1), (2, 1), (2, 2), (3, 2), (5, 3), (17, 16), (257, 2), (700, 5), (1001, 32)],
)
def test_eigenvalues_stay_as_they_are(n, bandwidth):
    check(random_band(n, bandwidth), bandwidth)


@settings(max_examples=150, deadline=None)
@given(n=st.integers(1, 120), bandwidth=st.integers(1, 20), seed=st.integers(0, 1000))
def test_eigenvalues_stay_as_they_are_at_any_order_and_bandwidth(n, bandwidth, seed):
    check(random_band(n, min(n, bandwidth), seed), min(n, bandwidth))


@pytest.mark.parametrize("bandwidth", [1, 4])
def test_a_matrix_of_zeros_and_one_that_is_diagonal_already(bandwidth):
    for numbers in (np.zeros(50), np.arange(50.0)):
        band = np.zeros((50, 2 * bandwidth))
        band[:, 0] = numbers
        diagonal, subdiagonal = tridiagonal(band, bandwidth)
        assert np.array_equal(diagonal, numbers)
        assert np.array_equal(subdiagonal, np.zeros(49))


def test_the_number_of_threads_changes_no_bit():
    results = []
    before = numba.get_num_threads()
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            results.append(tridiagonal(random_band(900, 6), 6))
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])


def test_progress_grows_to_one():
    shares = []
    tridiagonal(random_band(1500, 4), 4, shares.append)
    assert len(shares) > 3
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
