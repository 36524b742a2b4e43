"""Fourth moments: those of the samples themselves, whatever the shift, the batches and the merging."""

import numpy as np
import pytest
import torch

from streamspread.accumulators.methods.covariance import Covariance
from streamspread.accumulators.methods.gram import Gram
from streamspread.accumulators.staging import Precision
from streamspread.options import Options
from tests.matrices import CPU

OPTIONS = Options(thresholds=(0.5,))


def samples(count=90, dim=30, offset=2.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator) * torch.arange(1, dim + 1) ** -0.5 + offset


def brute_force(x_ND):
    x_ND = x_ND.double().numpy()
    return float(np.sum(np.sum((x_ND - x_ND.mean(0)) ** 2, axis=1) ** 2) / (len(x_ND) - 1))


def gram(dim, count, rounding="fp32", tile=None):
    return Gram(dim, count, tile=tile or dim, precision=Precision(rounding), device=CPU, panel_rows=32)


def covariance(dim, rounding="fp32", **sizes):
    return Covariance(dim, precision=Precision(rounding), device=CPU, **({"staging_rows": 16} | sizes))


@pytest.mark.parametrize("rounding", ["fp32", "fp64"])
@pytest.mark.parametrize("first", [1, 7, 90])
def test_they_are_those_about_the_mean_of_all(rounding, first):
    x_ND = torch.cat([samples(offset=-3.0)[:20], samples(70, seed=1)])
    for accumulator in (gram(30, 90, rounding), covariance(30, rounding)):
        accumulator.update(x_ND[:first])
        accumulator.update(x_ND[first:])
        accumulator.end_pass()
        assert accumulator.spectrum(OPTIONS).fourth_moment == pytest.approx(brute_force(x_ND), rel=2e-5)


def test_tiles_add_up_to_the_same():
    x_ND, accumulator = samples(), gram(30, 90, tile=11)
    for _ in range(3):
        accumulator.update(x_ND)
        accumulator.end_pass()
    assert accumulator.spectrum(OPTIONS).fourth_moment == pytest.approx(brute_force(x_ND), rel=1e-5)


@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_states_merge_whatever_their_shifts_and_scales(factor):
    ours, theirs = samples(), samples(50, offset=-1.0, seed=1) * factor
    mine, other = covariance(30), covariance(30)
    mine.update(ours)
    other.update(theirs)
    mine.merge(other)
    merged = mine.spectrum(OPTIONS).fourth_moment
    assert merged == pytest.approx(brute_force(torch.cat([ours, theirs])), rel=2e-5)


def test_a_constant_layer_has_none_and_one_beyond_all_numbers_is_unknown():
    constant = covariance(30)
    constant.update(torch.ones(9, 30))
    assert constant.spectrum(OPTIONS).fourth_moment == 0.0
    huge = covariance(30, "fp64")
    huge.update(samples().double() * 1e80)
    assert np.isnan(huge.spectrum(OPTIONS).fourth_moment)
