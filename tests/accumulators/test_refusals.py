"""What cannot be summed, or is not what was announced, is refused by name and is never silent."""

import pytest
import torch

from streamspread.accumulators.methods.gram import Gram
from streamspread.accumulators.staging import Overflow, Precision
from streamspread.errors import ActivationError, DataError, OptionError
from tests.devices import CPU, DEVICES, PLACES
from tests.samples import TAUS, dense, power_law, with_spectrum
from tests.states import EXACT, covariance, fed, sketch, solved


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize(("row", "value"), [(3, float("nan")), (90, float("inf"))])
def test_a_number_that_is_not_finite_names_layer_and_batch(device, method, row, value):
    x = with_spectrum("steep", 100, 40, 0.0)
    x[row, 5] = value
    with pytest.raises(ActivationError, match=f"NaN or Inf in the activation in batch {row // 16 + 1}"):
        solved(EXACT[method](x, "fp32", device, 16), (0.7,))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", EXACT)
def test_fp16_overflow_is_never_silent(device, method):
    x = with_spectrum("steep", 100, 40, 0.0)
    x[60:] *= 1e4  # far beyond the first batch's range
    with pytest.raises(Overflow, match="fp16 overflow in batch"):
        solved(EXACT[method](x, "fp16", device, 16), (0.7,))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("rounding", ["fp32", "bf16"])
@pytest.mark.parametrize("size", [1e12, 1e20])
def test_sums_beyond_their_range_are_never_silent(device, method, rounding, size):
    x = with_spectrum("steep", 100, 40, 0.0)
    x[60:] *= size  # finite as it is staged, in the first batch's scale
    with pytest.raises(Overflow, match="float32 sums overflow"):
        solved(EXACT[method](x, rounding, device, 16), (0.7,))
    expected = dense(x).ks()
    spectrum = solved(EXACT[method](x, "fp64", device, 16), TAUS)
    assert [spectrum.components(tau).low for tau in TAUS] == expected


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("rounding", ["fp32", "bf16"])
def test_a_sum_of_a_few_values_beyond_its_range_is_never_silent(device, method, rounding):
    x = with_spectrum("steep", 100, 40, 0.0)
    x[60:] = 8e37  # a card adds 32 rows in float32 before it goes on in float64
    with pytest.raises(Overflow, match="overflow"):
        solved(EXACT[method](x, rounding, device, 16), (0.7,))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("first", [0, 60])
def test_float64_values_beyond_float32_overflow_in_whatever_batch(device, method, first):
    x = with_spectrum("steep", 100, 40, 0.0).double()
    x[first:] += 1e39
    with pytest.raises(Overflow, match=f"fp32 overflow in batch {first // 16 + 1}"):
        solved(EXACT[method](x, "fp32", device, 16), (0.7,))


def test_too_few_samples():
    with pytest.raises(DataError, match="at least 2 samples, got 1"):
        solved(covariance(torch.randn(1, 5), "fp32", CPU, 1), (0.7,))


def test_a_gram_insists_on_the_samples_that_were_announced():
    state = Gram(10, 8, tile=4, precision=Precision("fp32"), device=CPU)
    state.update(torch.randn(6, 10))
    with pytest.raises(ActivationError, match="6 samples in this pass, 8 were announced"):
        state.end_pass()
    with pytest.raises(ActivationError, match="more than the 8 samples"):
        state.update(torch.randn(3, 10))
    state = Gram(10, 8, tile=4, precision=Precision("fp32"), device=CPU)
    state.update(torch.randn(8, 10))
    with pytest.raises(ActivationError, match="4 of 10 features had their pass"):
        solved(state, (0.7,))


def test_what_a_sketch_cannot_sum_is_named():
    x = power_law(400, 90)
    x[200, 7] = torch.nan
    with pytest.raises(ActivationError, match="layer c9: NaN or Inf in the activation in batch 4"):
        fed(sketch(layer="c9"), x, 1)
    wide = power_law(400, 90)
    wide[300] *= 1e6
    with pytest.raises(Overflow, match="layer c9: fp16 overflow in batch 5"):
        fed(sketch(rounding="fp16", layer="c9"), wide, 1)
    with pytest.raises(DataError, match="at least 2 samples, got 1"):
        solved(fed(sketch(), power_law(400, 90)[:1], 1))
    with pytest.raises(OptionError, match="at least one direction"):
        sketch(rank=0)


def test_a_second_pass_must_bring_the_same_samples():
    x = power_law(400, 90)
    with pytest.raises(
        ActivationError, match=r"pass 2 brought other data than the first \(399 and 400 samples\)"
    ):
        fed(fed(sketch(layer="c1"), x, 1), x[:399], 1)
    with pytest.raises(ActivationError, match="layer c1: pass 2 brought other data"):
        fed(fed(sketch(layer="c1"), x, 1), x * 1.01, 1)


@pytest.mark.parametrize(
    ("method", "rounding", "size"),
    [
        ("covariance", "fp32", 1e-25),
        ("gram", "fp32", 1e-25),
        ("covariance", "fp64", 1e-100),
        ("gram", "fp64", 1e-100),
        ("sketch", "fp64", 1e-100),
    ],
)
def test_products_that_underflow_after_a_first_batch_without_deviations_are_refused(method, rounding, size):
    x = with_spectrum("power law", 64, 30, 0.0).double() * size
    x[:16] = 0.0
    makes = {**EXACT, "sketch": lambda x, *_: fed(sketch(30, 20, rounding), x, batch=16)}
    state = makes[method](x, rounding, CPU, 16)
    with pytest.raises(ActivationError, match="first batch did not vary, and deviations after it are so"):
        solved(state, TAUS)
