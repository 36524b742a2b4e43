"""Directions of first samples as integers, against a dense decomposition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.kernels.formats import INT16_LIMIT
from streamspread.linalg.integer_rows import SPREAD, in_integers, leading_rows
from tests.samples import spread
from tests.variances import DRAWN, variances


def integers(name, count, dim, seed=0, size=500.0):
    rng = np.random.default_rng(seed)
    x = spread(variances(name, dim, rng), count, rng)
    return (x * (size / x.std())).round().clamp(-INT16_LIMIT, INT16_LIMIT).short()


def decomposed(x_ND):
    """Variances about the mean, descending, and directions (D, ·)."""
    centred = x_ND.double() - x_ND.double().mean(0)
    _, values, rows = np.linalg.svd(centred.numpy(), full_matrices=False)
    return values**2 / len(x_ND), rows


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(DRAWN),
    count=st.integers(2, 90),
    dim=st.integers(1, 120),
    threshold=st.sampled_from([0.3, 0.5, 0.8, 0.9]),
    most=st.integers(2, 120),
    offset=st.sampled_from([0, 300]),
    seed=st.integers(0, 2**32 - 1),
)
def test_rows_are_the_leading_directions_or_none_where_too_many_are_needed(
    name, count, dim, threshold, most, offset, seed
):
    x = (integers(name, count, dim, seed).int() + offset).clamp(-INT16_LIMIT, INT16_LIMIT).short()
    values, directions = decomposed(x)
    if values.sum() <= 1e-9:
        assert leading_rows(x, threshold, most) is None
        return
    shares = np.cumsum(values) / values.sum()
    needed = 1 + int(np.searchsorted(shares, threshold))
    found = leading_rows(x, threshold, most)
    near = np.abs(shares - threshold).min() <= 1e-5
    if found is None:  # a few more may seem to be needed, since directions are only nearly found
        assert near or 3 * needed > most
        return
    assert near or 2 * needed <= most
    q_LD = found
    assert q_LD.dtype == torch.int16
    assert 1 <= len(q_LD) <= min(most, dim)
    assert int(q_LD.int().abs().max()) <= INT16_LIMIT
    rows = q_LD.double().numpy()
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.linalg.eigvalsh(rows @ rows.T)[0] > 0.2  # far from dependent
    # They hold nearly as much as as many eigenvectors, and enough.
    basis = np.linalg.qr(rows.T)[0]
    centred = (x.double() - x.double().mean(0)).numpy()
    held = np.square(centred @ basis).sum() / count
    assert held >= values[: len(q_LD)].sum() * 0.9
    assert held >= threshold * values.sum() * (1 - 1e-3)
    assert directions.shape[1] == dim


def test_there_are_three_times_as_many_as_needed_and_some_more_but_no_noise():
    x = integers("harmonic", 400, 500)
    values, _ = decomposed(x)
    needed = 1 + int(np.searchsorted(np.cumsum(values), 0.5 * values.sum()))
    assert len(leading_rows(x, 0.5, 400)) == 3 * needed + 64 < 400
    assert len(leading_rows(x, 0.5, 2 * needed)) == 2 * needed
    assert leading_rows(x, 0.5, 2 * needed - 1) is None
    few = x.clone()
    few[:] = x[:1] * torch.arange(400)[:, None].remainder(3)  # of rank 1
    assert len(leading_rows(few, 0.9, 400)) == 1


def test_samples_that_do_not_vary_have_no_directions():
    assert leading_rows(torch.full((50, 20), 700, dtype=torch.int16), 0.5, 20) is None
    assert leading_rows(torch.full((1, 20), 700, dtype=torch.int16), 0.5, 20) is None


@pytest.mark.parametrize("step", [7, 300, 1200])
@pytest.mark.parametrize("kind", ["spread", "one large", "negative"])
def test_rows_in_integers_and_what_rounding_did(kind, step):
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(9, 1200, dtype=torch.float64, generator=generator)
    rows /= torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    unit = torch.full((9,), 1200**-0.5 / SPREAD, dtype=torch.float64)
    if kind == "one large":
        rows[4] = 1e-5
        rows[4, 11] = 1.0
        unit[4] = 1.0 / (INT16_LIMIT - 1)
    if kind == "negative":
        rows[4] = -rows[4].abs()
    parts = [(begin, min(1200, begin + step)) for begin in range(0, 1200, step)]
    q_KD, lost_KK = in_integers(lambda: ((*part, rows[:, slice(*part)].clone()) for part in parts), 9, 1200)
    assert q_KD.dtype == torch.int16
    lost = rows - q_KD.double() * unit[:, None]
    assert float((lost.abs() / unit[:, None]).max()) <= 0.5 + 1e-9
    torch.testing.assert_close(lost_KK, lost @ lost.T, rtol=1e-9, atol=1e-24)
