"""The exact accumulators against dense float64: accumulator × device × precision × data × batch split."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.accumulators.staging import Overflow
from tests.devices import CPU, DEVICES, PLACES
from tests.samples import TAUS, dense, with_spectrum
from tests.states import EXACT, solved
from tests.variances import SAMPLED

NAMES = [name for name in SAMPLED if name != "flat"]  # whose sums lie at thresholds


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("rounding", ["fp64", "fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("samples", "dim"), [(500, 130), (120, 300)])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_components_equal_the_dense_float64_reference(device, method, rounding, name, samples, dim, offset):
    x = with_spectrum(name, samples, dim, offset)
    want = dense(x)
    spectrum = solved(EXACT[method](x, rounding, device, 64), TAUS)
    found = [spectrum.components(tau) for tau in TAUS]
    assert spectrum.samples == samples
    if rounding in ("fp64", "fp32"):
        assert found == [(k, k) for k in want.ks()]
        assert spectrum.total_variance == pytest.approx(want.total, rel=1e-6)
    else:
        assert all(
            interval.closed and abs(interval.low - k) <= 1
            for interval, k in zip(found, want.ks(), strict=True)
        )
        assert spectrum.total_variance == pytest.approx(want.total, rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 199), max_size=6, unique=True),
    method=st.sampled_from(sorted(EXACT)),
    rounding=st.sampled_from(["fp32", "fp64"]),
)
def test_any_split_into_batches_gives_the_same_components(cuts, method, rounding):
    x = with_spectrum("power law", 200, 60, 10.0)
    expected = dense(x).ks()
    sizes = np.diff([0, *sorted(cuts), 200]).tolist()
    spectrum = solved(EXACT[method](x, rounding, CPU, sizes), TAUS)
    assert [spectrum.components(tau).low for tau in TAUS] == expected


@pytest.mark.parametrize("method", EXACT)
def test_same_data_same_bits(method):
    x = with_spectrum("power law", 150, 80, 1.0)
    values = [solved(EXACT[method](x, "fp32", CPU, 40), (0.7,)).eigenvalues for _ in range(2)]
    assert np.array_equal(*values)


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("size", [1e-25, 1e18])
def test_extreme_magnitudes_neither_overflow_nor_vanish(method, size):
    x = with_spectrum("power law", 200, 60, 0.0)
    expected = dense(x).ks()
    spectrum = solved(EXACT[method](x * size, "fp32", CPU, 50), TAUS)
    assert [spectrum.components(tau).low for tau in TAUS] == expected


def equal_first(first):
    x = torch.randn(300, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:first] = x[0]
    return x


@pytest.mark.parametrize("rounding", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("first", [1, 3])
@pytest.mark.parametrize("method", EXACT)
def test_a_first_batch_of_equal_float64_samples_says_nothing_of_the_scale(method, first, rounding):
    x = equal_first(first)
    state = EXACT[method](x, rounding, CPU, first)
    want = float(x.var(0).sum())
    assert solved(state, TAUS).total_variance == pytest.approx(want, rel=1e-2)


@pytest.mark.parametrize("first", [1, 3])
@pytest.mark.parametrize("method", EXACT)
def test_at_int16_what_comes_after_equal_samples_overflows_and_tells_its_unit(method, first):
    x = equal_first(first)
    with pytest.raises(Overflow, match="int16 overflow in batch 2") as caught:
        solved(EXACT[method](x, "int16", CPU, first), TAUS)
    reach = float((x - x[0]).abs().max()) * caught.value.scale
    assert 2**13 <= reach < 2**14


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", EXACT)
def test_a_constant_layer_needs_no_component(device, method):
    spectrum = solved(EXACT[method](torch.full((50, 20), 3.25), "fp32", device, 16), (0.7,))
    assert spectrum.total_variance == 0
    assert spectrum.components(0.7) == (0, 0)
    assert spectrum.proof == "constant layer"
