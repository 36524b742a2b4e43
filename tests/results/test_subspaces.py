"""Principal angles and overlap of subspaces whose answers are known."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.results.directions import overlap, principal_angles


def rotated(angles, dim=20, seed=0):
    """Two sets of orthonormal columns with these angles between their spans."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
    count = len(angles)
    return q[:, :count], q[:, :count] * np.cos(angles) + q[:, count : 2 * count] * np.sin(angles)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 1000))
def test_angles_are_scipys_for_any_sizes(count_a, count_b, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((30, count_a)), rng.standard_normal((30, count_b))
    found = principal_angles(a, b)
    np.testing.assert_allclose(found, np.sort(scipy.linalg.subspace_angles(a, b)), atol=1e-12)
    products = np.linalg.qr(a)[0].T @ np.linalg.qr(b)[0]
    assert overlap(found) == pytest.approx(np.sum(products**2) / min(count_a, count_b))


def test_float32_columns_of_one_span_overlap_wholly():
    a, b = rotated(np.array([0.0, 0.0]))
    assert overlap(principal_angles(a.astype(np.float32), b.astype(np.float32))) == pytest.approx(
        1.0, abs=1e-12
    )


def test_what_is_no_pair_of_subspaces_is_refused():
    with pytest.raises(ValueError, match=r"as many rows each, not of shapes \(3, 1\) and \(4, 1\)"):
        principal_angles(np.ones((3, 1)), np.ones((4, 1)))
    with pytest.raises(ValueError, match="2 columns of 3 numbers are linearly dependent"):
        principal_angles(np.ones((3, 2)), np.eye(3)[:, :2])
    with pytest.raises(ValueError, match="4 columns of 3 numbers are linearly dependent"):
        principal_angles(np.eye(3)[:, :2], np.ones((3, 4)))
