"""Upper bounds on eigenvalue sums: never below the truth, and tight where they should be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.results.bounds import frobenius_upper_sums, residual_upper_sums, residual_upper_values
from tests.matrices import orthogonal


def random_case(seed, n, basis, power):
    """(true eigenvalues, Ritz values, RᵀR, exact λmax outside the basis) for a random subspace near the
    leading one."""
    rng = np.random.default_rng(seed)
    values = np.sort(rng.random(n) ** power)[::-1] + 1e-9
    vectors = orthogonal(n, rng)
    matrix = (vectors * values) @ vectors.T
    q = np.linalg.qr(vectors[:, :basis] + rng.uniform(0, 0.5) * rng.normal(size=(n, basis)) / np.sqrt(n))[0]
    ritz, rotation = np.linalg.eigh(q.T @ matrix @ q)
    ritz, q = ritz[::-1], q @ rotation[:, ::-1]
    residual = matrix @ q - q * ritz
    outside = np.eye(n) - q @ q.T
    return (
        values,
        np.maximum(ritz, 0),
        residual.T @ residual,
        np.linalg.eigvalsh(outside @ matrix @ outside)[-1],
    )


cases = {
    "seed": st.integers(0, 10_000),
    "n": st.integers(3, 30),
    "share": st.floats(0.1, 0.9),
    "power": st.floats(0.2, 6),
}


@settings(max_examples=300, deadline=None)
@given(**cases)
def test_frobenius_bounds_hold(seed, n, share, power):
    values, ritz, _, _ = random_case(seed, n, max(1, int(share * n)), power)
    upper = frobenius_upper_sums(ritz, values.sum(), float(np.sum(values**2)), n)
    truth = np.cumsum(values)[: len(ritz)]
    assert np.all(upper >= truth * (1 - 1e-12))
    assert np.all(np.diff(upper) >= 0)
    assert np.all(upper <= values.sum() * (1 + 1e-12))


@settings(max_examples=300, deadline=None)
@given(**cases)
def test_residual_bounds_hold_from_the_exact_value_outside_on(seed, n, share, power):
    values, ritz, residual, outside = random_case(seed, n, max(1, int(share * n)), power)
    truth = np.cumsum(values)[: len(ritz)]
    for bound in (outside, outside * 1.5):
        upper = residual_upper_sums(ritz, residual, bound, values.sum())
        assert np.all(upper >= truth * (1 - 1e-10))


@pytest.mark.parametrize("rank", [0, 1, 40, 60])
@pytest.mark.parametrize("size", [1e-12, 1e-3, 1.0])
def test_singular_residuals_bound_as_their_eigenvectors_would(rank, size):
    rng = np.random.default_rng(rank)
    ritz = np.sort(rng.random(60))[::-1] + 1.0
    r = size * rng.normal(size=(200, rank)) @ rng.normal(size=(rank, 60))
    values, vectors = np.linalg.eigh(r.T @ r)
    w = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    exact = np.linalg.eigvalsh(np.block([[np.diag(ritz), w.T], [w, 0.9 * np.eye(60)]]))[::-1][:60]
    found = residual_upper_values(ritz, r.T @ r, 0.9)
    scale = exact.max()
    assert np.all(found >= exact - 1e-13 * scale)
    assert np.all(found <= exact + 1e-9 * scale)


def test_an_unfinished_basis_is_not_trusted():
    """The largest eigenvalue was missed altogether: residuals are zero, yet the bounds leave room for it."""
    ritz, missed = np.array([4.0, 2.0, 1.0]), 8.0
    squares, trace = float(np.sum(ritz**2) + missed**2), 15.0
    assert frobenius_upper_sums(ritz, trace, squares, 4)[0] >= missed
    assert residual_upper_sums(ritz, np.zeros((3, 3)), missed, trace)[0] >= 8.0
