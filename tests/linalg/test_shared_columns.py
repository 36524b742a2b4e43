"""Ranks that hold some columns each: a sketch and a Ritz pass prove of the whole matrix what one rank's
do."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.linalg.frequent_directions import FrequentDirections
from streamspread.linalg.ritz import RitzPass
from streamspread.ranks import ALONE, bounds_of
from streamspread.results.bounds import RitzFacts
from tests.devices import CPU
from tests.linalg.test_frequent_directions import samples, scatter
from tests.side_by_side import together

DIM = 25


def of(ranks, x_ND):
    """The columns that are this rank's."""
    bounds = bounds_of(x_ND.shape[1], ranks)
    return x_ND[:, bounds[ranks.rank] : bounds[ranks.rank + 1]].contiguous()


def sketched(ranks, x_ND, rank, group, enough=None):
    sketch = FrequentDirections(x_ND.shape[1], rank, torch.float32, CPU, enough, ranks=ranks)
    for part in of(ranks, x_ND).split(group):
        sketch.absorb(part)
    return sketch


def numbers(sketch):
    return tuple(
        getattr(sketch, name)
        for name in ("filled", "count", "total", "shrinkage", "rounding_norm", "rounding_trace")
    )


@given(
    seed=st.integers(0, 10_000),
    rank=st.integers(1, 30),
    group=st.integers(1, 40),
    size=st.sampled_from([2, 3, 30]),
    enough=st.sampled_from([None, 0.5, 0.9]),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_the_rows_of_all_ranks_enclose_the_scatter(seed, rank, group, size, enough):
    x = samples(seed, 100, DIM, 0.8, 3.0)
    found = together(size, lambda ranks: sketched(ranks, x, rank, group, enough))
    assert {numbers(one) for one in found} == {numbers(found[0])}
    rows_LD = torch.cat([one.rows_LD[: one.filled] for one in found], dim=1).double().numpy()
    truth = scatter(x)
    low, *_, high = np.linalg.eigvalsh(truth - rows_LD.T @ rows_LD)
    float64 = 1e-12 * found[0].total
    assert low >= -found[0].rounding_norm - float64
    assert high <= found[0].shrinkage + found[0].rounding_norm + float64
    mean_D = torch.cat([one.mean_D for one in found]).numpy()
    np.testing.assert_allclose(mean_D, x.double().mean(0).numpy(), atol=1e-12)
    alone = sketched(ALONE, x, rank, group, enough)
    assert numbers(found[0]) == pytest.approx(numbers(alone), rel=1e-4, abs=1e-6 * alone.total)


def refined(ranks, x_ND, passes=2):
    """Facts of Ritz passes, and the leading Ritz vectors' columns with their residuals."""
    sketch = sketched(ranks, x_ND, 8, 30)
    svd = sketch.decompose(of(ranks, x_ND)[:0])
    ritz = RitzPass(*sketch.basis_(svd, 8), svd.mean_D, ranks=ranks)
    for again in range(passes):
        for part in of(ranks, x_ND).split(17):
            ritz.add(part)
        solution = ritz.solve()
        if again < passes - 1:
            ritz = ritz.advance_(solution)
    return solution.facts, ritz.q_LD.clone(), ritz.missed, ritz.ritz_vectors(solution, 3)


@pytest.mark.parametrize("size", [2, 3, 30])
def test_a_ritz_pass_over_shared_columns_agrees_with_the_dense_matrix(size):
    x = samples(3, 100, DIM, 1.5)
    found = together(size, lambda ranks: refined(ranks, x))
    facts, _, missed, (_, residuals_K) = found[0]
    truth = scatter(x)
    q_LD = torch.cat([q for _, q, _, _ in found], dim=1).double().numpy()
    q_DL, _ = np.linalg.qr(q_LD.T)
    ritz = np.linalg.eigvalsh(q_DL.T @ truth @ q_DL)[::-1]
    np.testing.assert_allclose(facts.ritz_K, ritz[: len(facts.ritz_K)], rtol=1e-9)
    outside = np.eye(DIM) - q_DL @ q_DL.T
    assert np.linalg.eigvalsh(outside @ truth @ outside)[-1] <= facts.missed + facts.error
    assert facts.total == pytest.approx(np.trace(truth), rel=1e-12)
    vectors_KD = torch.cat([vectors for *_, (vectors, _) in found], dim=1).double().numpy()
    off_K = np.linalg.norm(vectors_KD @ truth - facts.ritz_K[:3, None] * vectors_KD, axis=1)
    assert (off_K <= residuals_K.numpy() * (1 + 1e-9)).all()
    for other, _, theirs, (_, bounds_K) in found:
        assert theirs == missed
        assert torch.equal(bounds_K, residuals_K)
        assert all(
            np.array_equal(getattr(other, name), getattr(facts, name)) for name in vars(RitzFacts(*[0] * 6))
        )
