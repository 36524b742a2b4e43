"""States over other samples merge."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.errors import OptionError
from tests.devices import CPU
from tests.samples import TAUS, check_holds, dense, power_law, with_spectrum
from tests.states import covariance, fed, gram, sketch, solved


@settings(max_examples=40, deadline=None)
@given(
    cut=st.integers(0, 200),
    rounding=st.sampled_from(["fp32", "fp64"]),
    drift=st.sampled_from([0.0, 5.0, 300.0]),
)
def test_covariances_merge_whatever_their_shifts_and_scales(cut, rounding, drift):
    x = with_spectrum("power law", 200, 60, 2.0)
    x[cut:] += drift  # the parts have different means, so different shifts and scales
    want = dense(x)
    first, second = (covariance(part, rounding, CPU, 32) for part in (x[:cut], x[cut:]))
    first.merge(second)
    spectrum = solved(first, TAUS)
    assert spectrum.samples == 200
    assert spectrum.total_variance == pytest.approx(want.total, rel=1e-5)
    for tau, k in zip(TAUS, want.ks(), strict=True):
        low, high = spectrum.components(tau)
        assert low <= k <= high <= low + 1  # a sum may lie within rounding of the threshold: at 2 of 597


def test_states_of_very_different_scale_merge():
    generator = torch.Generator().manual_seed(0)
    tiny, large = (torch.randn(40, 12, generator=generator) * size for size in (1e-30, 1e6))
    for parts in ((tiny, large), (large, tiny)):
        states = [covariance(part, "fp32", CPU, 16) for part in parts]
        states[0].merge(states[1])
        want = float(torch.cat(parts).double().var(0).sum())
        assert solved(states[0], TAUS).total_variance == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("rounding", ["fp32", "fp16"])
@pytest.mark.parametrize("sizes", [(1.0, 1e-20), (1e-20, 1.0), (1e-30, 0.0)], ids=str)
def test_gram_tiles_of_any_sizes_add_in_one_scale(sizes, rounding):
    x = with_spectrum("power law", 80, 100, 1.0)
    x[:, :50] *= sizes[0]
    x[:, 50:] *= sizes[1]
    larger = x[:, :50] if sizes[0] > sizes[1] else x[:, 50:]  # all that counts
    want = dense(larger / larger.abs().max())
    spectrum = solved(gram(x, rounding, CPU, 32), TAUS)
    assert spectrum.dim == 100
    assert spectrum.total_variance == pytest.approx(want.total * float(larger.abs().max()) ** 2, rel=1e-4)
    assert all(abs(spectrum.components(t).low - k) <= 1 for t, k in zip(TAUS, want.ks(), strict=True))


def test_states_of_different_layers_do_not_merge():
    with pytest.raises(OptionError, match="only states of one layer merge"):
        covariance(torch.randn(4, 10), "fp32", CPU, 4).merge(covariance(torch.randn(4, 11), "fp32", CPU, 4))
    with pytest.raises(OptionError, match="inner products over other samples do not merge"):
        gram(torch.randn(8, 10)).merge(gram(torch.randn(8, 10)))


def test_sketches_of_very_different_scale_merge():
    x = power_law(300, 40, 1.5)
    parts = [x[:150] * 1e-30, x[150:] * 1e6]
    for pair in (parts, parts[::-1]):
        merged, other = (fed(sketch(40, 30, thresholds=(0.5,)), part, 1) for part in pair)
        merged.merge(other)
        spectrum = solved(merged)
        assert np.all(np.isfinite(spectrum.eigenvalues))
        assert np.all(np.isfinite(spectrum.upper_sums))
        check_holds(spectrum, dense(torch.cat([part.double() for part in pair])), (0.3, 0.5))


def test_merged_sketches_of_parts_close_on_the_same_k_as_the_whole():
    x = power_law(400, 90) + 50.0
    parts = [fed(sketch(), part, 1) for part in (x[:150], x[150:260], x[260:])]
    merged = parts[0]
    for part in parts[1:]:
        merged.merge(part)
    assert solved(merged).samples == 400
    alone = solved(fed(sketch(), x, 2)).components(0.7)
    assert solved(fed(merged, x, 1)).components(0.7) == alone


def test_sketches_of_other_layers_or_later_passes_do_not_merge():
    x = power_law(400, 90)
    with pytest.raises(OptionError, match="got 91 features at fp32 and rank 40"):
        sketch().merge(sketch(dim=91))
    second = fed(sketch(), x, 1)
    second.update(x[:64])
    with pytest.raises(OptionError, match="merge in their first pass"):
        second.merge(sketch())
