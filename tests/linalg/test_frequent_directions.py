"""The sketch brackets the scatter matrix in the Loewner order; a Ritz pass agrees with the dense matrix."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.linalg.frequent_directions import FrequentDirections
from streamspread.linalg.ritz import RitzPass
from tests import matrices
from tests.devices import CPU, DEVICES


def samples(seed, count, dim, power=0.8, offset=0.0):
    rng = np.random.default_rng(seed)
    x = matrices.samples(np.arange(1, dim + 1) ** -power, count, rng)
    return torch.from_numpy(x + offset * rng.normal(size=dim)).float()


def scatter(x):
    centred = x.double().cpu() - x.double().cpu().mean(0)
    return (centred.T @ centred).numpy()


def bracket(sketch, truth):
    """Smallest and largest eigenvalue of C − BᵀB."""
    rows = sketch.rows_LD[: sketch.filled].double().cpu().numpy()
    values = np.linalg.eigvalsh(truth - rows.T @ rows)
    return values[0], values[-1]


@given(
    seed=st.integers(0, 10_000),
    rank=st.integers(1, 30),
    group=st.integers(1, 40),
    power=st.floats(0, 2),
    offset=st.sampled_from([0.0, 3.0]),
    enough=st.sampled_from([None, 0.5, 0.9]),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_scatter_lies_between_the_sketch_and_the_sketch_with_its_shrinkage(
    seed, rank, group, power, offset, enough
):
    x = samples(seed, 100, 25, power, offset)
    sketch = FrequentDirections(25, rank, torch.float32, CPU, enough)
    for part in x.split(group):
        sketch.absorb(part)
    low, high = bracket(sketch, scatter(x))
    float64 = 1e-12 * sketch.total  # of this test's own sums
    assert low >= -sketch.rounding_norm - float64
    assert high <= sketch.shrinkage + sketch.rounding_norm + float64
    assert sketch.count == 100
    assert sketch.total == pytest.approx(np.trace(scatter(x)), rel=1e-12)
    if enough is None:
        assert sketch.shrinkage * rank <= sketch.total  # Liberty's bound
    np.testing.assert_allclose(sketch.mean_D.numpy(), x.double().mean(0).numpy(), atol=1e-12)


def test_rounding_is_counted_where_the_stored_rows_are_rounded():
    x = samples(1, 300, 25)
    exact, rounded = (FrequentDirections(25, 30, dtype, CPU) for dtype in (torch.float64, torch.float32))
    for part in x.split(20):
        exact.absorb(part)
        rounded.absorb(part)
    assert exact.shrinkage <= 1e-13 * exact.total
    assert rounded.shrinkage <= 1e-13 * rounded.total
    off = np.abs(bracket(rounded, scatter(x))).max()
    assert 1e-10 * rounded.total < off <= rounded.rounding_norm < 1e-5 * rounded.total
    assert np.abs(bracket(exact, scatter(x))).max() <= exact.rounding_norm < 1e-10 * exact.total


def test_two_sketches_merge_across_origins_and_scales():
    x = samples(2, 160, 25, offset=2.0)
    left, right = (FrequentDirections(25, 12, torch.float32, CPU) for _ in range(2))
    shift = torch.from_numpy(np.random.default_rng(0).normal(size=25))
    for part in x[:70].split(30):
        left.absorb(part)
    for part in ((x[70:].double() - shift) / 4).split(30):
        right.absorb(part)
    left.merge(right, 4.0, shift)
    low, high = bracket(left, scatter(x))
    assert low >= -left.rounding_norm - 1e-12 * left.total
    assert high <= left.shrinkage + left.rounding_norm + 1e-12 * left.total
    assert left.total == pytest.approx(np.trace(scatter(x)), rel=1e-10)


@pytest.mark.parametrize("device", DEVICES)
def test_ritz_passes_agree_with_the_dense_matrix(device):
    x = samples(3, 200, 40).to(device)
    truth = scatter(x)
    sketch = FrequentDirections(40, 12, torch.float32, device)
    for part in x.split(25):
        sketch.absorb(part)
    svd = sketch.decompose(x[:0])
    ritz = RitzPass(*sketch.basis_(svd, 12), svd.mean_D)
    for _ in range(2):
        for part in x.split(70):
            ritz.add(part)
        solution = ritz.solve()
        facts = solution.facts
        q = np.linalg.qr(ritz.q_LD.double().cpu().numpy().T)[0]
        theta, vectors = np.linalg.eigh(q.T @ truth @ q)
        theta, q = theta[::-1], q @ vectors[:, ::-1]
        np.testing.assert_allclose(facts.ritz_K, theta, rtol=1e-9)
        residual = truth @ q - q * theta
        np.testing.assert_allclose(
            np.linalg.eigvalsh(facts.residual_KK),
            np.linalg.eigvalsh(residual.T @ residual),
            atol=1e-9 * theta[0],
        )
        outside = np.eye(40) - q @ q.T
        assert np.linalg.eigvalsh(outside @ truth @ outside)[-1] <= facts.missed
        assert np.all(facts.improved_K >= facts.ritz_K * (1 - 1e-12))
        assert np.all(facts.improved_K <= np.linalg.eigvalsh(truth)[::-1][:12] * (1 + 1e-12))
        assert facts.total == pytest.approx(np.trace(truth), rel=1e-12)
        ritz = ritz.advance_(solution)


def test_directions_that_a_basis_lacks_are_counted_as_missed():
    x = samples(4, 120, 30)
    sketch = FrequentDirections(30, 20, torch.float32, CPU)
    sketch.absorb(x[:60])
    svd = sketch.decompose(x[60:])
    q_LD, missed = sketch.basis_(svd, 5)
    assert q_LD.shape == (5, 30)
    q = np.linalg.qr(q_LD.double().numpy().T)[0]
    outside = np.eye(30) - q @ q.T
    largest = np.linalg.eigvalsh(outside @ scatter(x) @ outside)[-1]
    assert largest <= missed <= largest * 1.5
