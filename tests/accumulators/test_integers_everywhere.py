"""Sums of integers have the same bits on every device, however samples come."""

import pytest
import torch

from streamspread.accumulators.methods.covariance import Covariance
from streamspread.accumulators.methods.gram import Gram
from streamspread.accumulators.staging import Overflow, Precision, origin_of
from tests.devices import PLACES, need_exact
from tests.samples import dense, with_spectrum
from tests.states import fed, solved

THRESHOLDS = (0.5, 0.7, 0.9, 0.99)
SCALE = 64.0  # values are multiples of 1/64

everywhere = pytest.mark.parametrize("device", PLACES, indirect=True)


@pytest.fixture(autouse=True)
def exact(device):
    need_exact(device)


def covariance(dim, device):
    precision = Precision("int16", "", SCALE)
    return Covariance(dim, precision=precision, device=device, staging_rows=48, panel_rows=24)


def check_sums(state, x):
    """That they are those of the rounded samples about 0, in integers."""
    state.end_pass()
    sums = state._begun()
    assert sums.staging.origin.scale == SCALE
    sums.move_to(torch.zeros(state.dim, dtype=torch.float64, device=state.device))
    whole = (x.double() * SCALE).round().long()
    scatter = whole.T @ whole
    for begin, end, panel in sums.panels.spans():
        assert torch.equal(panel.cpu().long(), scatter[begin:end, :end])
    assert torch.equal(sums.staging.sums.sum_D.cpu().long(), whole.sum(0))
    assert torch.equal(sums.staging.sums.squares_D.cpu().long(), whole.square().sum(0))


@everywhere
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("merged", [False, True])
def test_sums_are_those_of_the_rounded_samples(device, dtype, merged):
    x = with_spectrum("power law", 300, 70, 3.0).to(dtype)
    there = x.to(device)
    if merged:
        state, *others = (fed(covariance(70, device), part, 1, 33) for part in there.split((100, 150, 50)))
        for other in others:
            state.merge(other)
    else:
        state = fed(covariance(70, device), there, 1, (100, 33, 167))
    check_sums(state, x)


@everywhere
def test_sums_of_values_many_of_which_are_large(device):
    x = with_spectrum("power law", 200, 40, 0.0)
    x[:50] = 0.1 * x[:50]  # the first batch tells the unit
    x[50:] *= 400.0 / float(x.abs().max())
    state = fed(covariance(40, device), x.to(device), 1, 50)
    assert float(x.abs().max()) * SCALE > 2**14
    check_sums(state, x)


@everywhere
@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_k_is_that_of_the_rounded_samples(device, method):
    x = with_spectrum("power law", 150, 90, 20.0)
    scale = origin_of(x[:64], Precision("int16")).scale
    precision = Precision("int16", "", scale)
    if method == "gram":
        state = fed(Gram(90, 150, tile=40, precision=precision, device=device), x.to(device), 3)
        scale = state.sums.scale
    else:
        state = fed(Covariance(90, precision=precision, device=device), x.to(device))
    want = dense((x.double() * scale).round() / scale)
    spectrum = solved(state, THRESHOLDS)
    assert [spectrum.components(tau) for tau in THRESHOLDS] == [(k, k) for k in want.ks(THRESHOLDS)]
    assert spectrum.total_variance == pytest.approx(want.total, rel=1e-12)


@everywhere
def test_what_does_not_fit_says_in_which_unit_it_would(device):
    x = with_spectrum("power law", 200, 60, 0.0)
    x[100:] *= 1e4
    state = Covariance(60, precision=Precision("int16"), device=device)
    with pytest.raises(Overflow, match="layer : int16 overflow in batch 3") as caught:
        fed(state, x.to(device), 1, 50).end_pass()
    assert 2**12 < float(x.abs().max()) * caught.value.scale < 2**15
