"""What 16 bits or a float32 sum cannot hold is summed again, or refused by name; it is never lost."""

import pytest
import torch
from torch import nn

import streamspread
from streamspread.errors import ActivationError
from tests.devices import DEVICES
from tests.networks import Sign, check_near, growing, identity, images, smallest_budget
from tests.samples import TAUS, dense, with_spectrum


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
def test_a_layer_that_overflows_at_fp16_is_done_again_at_bf16(method, device):
    x = growing(100, 500)
    model = nn.Sequential(nn.Identity(), Sign())
    spectra = streamspread.analyze(
        model, x, "*", TAUS, method=method, rounding="fp16", batch_size=100, device=device
    )
    assert [s.rounding for s in spectra.values()] == ["bf16", "fp16"]
    check_near(spectra["0"], dense(x))
    # Signs are rounded alike all over, so that what fp16 does to them does not average out.
    check_near(spectra["1"], dense(x.sign()), rel=2**-11)


def test_an_overflow_in_one_of_several_passes_is_done_again():
    x = growing(50, 100, 24)
    model = nn.Sequential(nn.Identity(), Sign())
    options = {"method": "gram", "rounding": "fp16", "batch_size": 50}
    budget = smallest_budget(model, x, ["0", "1"], **options)
    plan = streamspread.plan(model, x, ["0", "1"], memory=budget, **options)
    assert [p.passes > 1 for p in plan.layers] == [True, True]
    spectra = streamspread.analyze(model, x, "*", TAUS, memory=budget, **options)
    assert [s.rounding for s in spectra.values()] == ["bf16", "fp16"]
    check_near(spectra["0"], dense(x))


def test_an_overflow_of_data_that_can_be_read_once_names_the_layer_and_what_to_take():
    x = growing(100, 500)
    model = nn.Sequential(nn.Identity(), Sign())
    match = r"layer 0: fp16 overflow in batch 2, and data that can be read once .* take --rounding bf16"
    with pytest.raises(ActivationError, match=match):
        streamspread.analyze(model, iter(x.split(100)), "*", method="covariance", rounding="fp16")
    spectra = streamspread.analyze(model, iter(x.split(100)), "*", TAUS, method="covariance", rounding="bf16")
    check_near(spectra["0"], dense(x))


@pytest.mark.parametrize("first", ["zeros", "constant", "one sample"])
@pytest.mark.parametrize("size", [1e-9, 1.0, 1e3])
def test_a_first_batch_without_deviations_does_not_lose_the_later_ones(first, size):
    x = images(300).flatten(1) * size
    constant = torch.full((20, 192), float(x.abs().max()))
    start = {"zeros": torch.zeros(20, 192), "constant": constant, "one sample": x[:1]}[first]
    batches = [start, *x[1:].split(90)]
    spectra = streamspread.analyze(identity(), lambda: iter(batches), "0", TAUS, rounding="fp16")
    check_near(spectra["0"], dense(torch.cat(batches)))


@pytest.mark.parametrize("rounding", ["fp32", "bf16"])
def test_a_range_that_no_rounding_holds_is_an_error_and_not_a_loop(rounding):
    x = torch.cat([torch.randn(20, 4) * 1e-30, torch.randn(20, 4) * 1e30])
    with pytest.raises(
        ActivationError, match=rf"layer 0: .* batch 2: its range is too wide for rounding {rounding}"
    ):
        streamspread.analyze(identity(), x, "0", rounding=rounding, batch_size=20)


@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_an_analysis_names_the_layer_whose_sums_overflow_and_the_remedy(method):
    x = with_spectrum("steep", 100, 40, 0.0)
    x[60:] *= 1e20
    with pytest.raises(ActivationError, match=r"layer 0: float32 sums overflow: .* --rounding fp64"):
        streamspread.analyze(identity(), x, "0", method=method, rounding="bf16", batch_size=20)
