"""A sketch whose columns are shared says what one says that has all of them, the same on every rank."""

import numpy as np
import pytest
import torch

from streamspread.accumulators.methods.sketch import Sketch
from streamspread.accumulators.spectrum import Step
from streamspread.accumulators.staging import Overflow, Precision
from streamspread.errors import ActivationError
from streamspread.options import Options
from streamspread.ranks import ALONE, bounds_of
from streamspread.system.devices import CPU
from tests.side_by_side import together

TAUS = (0.5, 0.8)
DIM = 40


def samples(dim):
    generator = torch.Generator().manual_seed(dim)
    return torch.randn(150, dim, generator=generator) * torch.arange(1, dim + 1) ** -0.7 + 2.0


def sketch(ranks, dim, rounding="fp32", rank=12):
    return Sketch(
        dim,
        rank=min(rank, dim),
        thresholds=TAUS,
        precision=Precision(rounding, "c1"),
        device=torch.device("cpu"),
        staging_rows=16,
        adaptive=True,
        step=Step(rank, CPU, directions=2, ranks=ranks),
    )


def passes(ranks, x_ND, rounding="fp32", count=2, group=23):
    one, bounds = sketch(ranks, x_ND.shape[1], rounding), bounds_of(x_ND.shape[1], ranks)
    assert ranks is ALONE or one.bounds == bounds
    spectra = []
    for _ in range(count):
        for part in x_ND.split(group):
            one.update(part[:, bounds[ranks.rank] : bounds[ranks.rank + 1]].contiguous())
        one.end_pass()
        spectra.append(one.spectrum(Options(thresholds=TAUS)))
    return spectra, one.satisfied(Options(thresholds=TAUS))


@pytest.mark.parametrize("rounding", ["fp16", "bf16", "fp32", "fp64"])
@pytest.mark.parametrize(("dim", "size"), [(DIM, 3), (3, 5)])
def test_it_says_what_one_rank_says_on_all_of_them(dim, size, rounding):
    x = samples(dim)
    wanted, enough = passes(ALONE, x, rounding)
    found = together(size, lambda ranks: passes(ranks, x, rounding))
    values = np.linalg.eigvalsh(np.cov(x.double().numpy().T))[::-1]
    sums = np.cumsum(values) / values.sum()
    for spectra, satisfied in found:
        assert satisfied == enough
        for one, alone, first in zip(spectra, wanted, found[0][0], strict=True):
            assert np.array_equal(one.eigenvalues, first.eigenvalues)
            assert np.array_equal(one.upper_sums, first.upper_sums)
            assert np.array_equal(one.leading.vectors_KD, first.leading.vectors_KD)
            assert [one.components(tau) for tau in TAUS] == [alone.components(tau) for tau in TAUS]
            np.testing.assert_allclose(one.eigenvalues, alone.eigenvalues, atol=1e-6 * values[0])
            turned = np.diag(one.leading.vectors_KD @ alone.leading.vectors_KD.T)
            np.testing.assert_allclose(turned, 1.0, atol=1e-5)
            np.testing.assert_allclose(one.leading.mean_D, alone.leading.mean_D, rtol=1e-6)
            if rounding in ("fp32", "fp64"):
                for tau in TAUS:
                    assert (
                        one.components(tau).low <= np.searchsorted(sums, tau) + 1 <= one.components(tau).high
                    )


@pytest.mark.parametrize(
    ("value", "error", "line"),
    [
        (float("nan"), ActivationError, r"NaN or Inf in the activation in batch 4"),
        (1e6, Overflow, "fp16 overflow"),
    ],
)
@pytest.mark.parametrize("column", [0, DIM - 1])
def test_what_is_wrong_in_a_column_of_one_rank_is_said_by_all(value, error, line, column):
    x = samples(DIM)
    x[80, column] = value
    said = []

    def tried(ranks):
        with pytest.raises(error, match=line) as raised:
            passes(ranks, x, "fp16")
        said.append(str(raised.value))

    together(3, tried)
    assert len(said) == 3
    assert len(set(said)) == 1


def test_another_pass_that_brings_other_data_is_refused_by_all():
    x = samples(DIM)

    def tried(ranks):
        one, bounds = sketch(ranks, DIM), bounds_of(DIM, ranks)
        own = x[:, bounds[ranks.rank] : bounds[ranks.rank + 1]].clone()
        one.update(own)
        one.end_pass()
        own[:, :1] *= 3.0 if ranks.rank == 1 else 1.0  # in columns of one rank
        one.update(own)
        with pytest.raises(ActivationError, match="pass 2 brought other data"):
            one.end_pass()

    together(3, tried)
