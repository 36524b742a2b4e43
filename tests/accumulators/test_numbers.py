"""The exact accumulators against dense float64: accumulator × device × precision × data × batch split; solved
densely, for leading eigenvalues, or all in place."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.accumulators.staging import Overflow
from streamspread.errors import OptionError
from tests.devices import CPU, DEVICES, PLACES
from tests.samples import TAUS, dense, with_spectrum
from tests.states import EXACT, every, leading, solved
from tests.variances import SAMPLED

NAMES = [name for name in SAMPLED if name != "flat"]  # whose sums lie at thresholds


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("rounding", ["fp64", "fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("samples", "dim", "offset"), [(500, 130, 0.0), (120, 300, 1000.0)])
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


@pytest.mark.parametrize(("rounding", "first"), [("fp32", 1), ("fp16", 3)])
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


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("rounding", ["fp64", "fp32"])
@pytest.mark.parametrize("name", ["steep", "power law"])
def test_leading_eigenvalues_give_the_same_answer(device, method, rounding, name):
    x = with_spectrum(name, 700, 260, 3.0)
    expected = dense(x).ks()
    spectrum = solved(EXACT[method](x, rounding, device, 64), TAUS[:3], leading(260))
    assert not spectrum.complete
    assert [spectrum.components(tau) for tau in TAUS[:3]] == [(k, k) for k in expected[:3]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("rounding", ["fp64", "fp32", "bf16"])
@pytest.mark.parametrize("name", NAMES[::2])
@pytest.mark.parametrize(("samples", "dim"), [(500, 130), (120, 300)])
def test_all_eigenvalues_in_place_give_the_same_answer(device, method, rounding, name, samples, dim):
    x = with_spectrum(name, samples, dim, 3.0)
    usual = solved(EXACT[method](x, rounding, device, 64), TAUS)
    state = EXACT[method](x, rounding, device, 64)
    spectrum = solved(state, TAUS, every())
    assert spectrum.complete
    assert spectrum.proof == "all eigenvalues, in place"
    for tau in TAUS:
        assert spectrum.components(tau).closed
        assert spectrum.components(tau) == usual.components(tau)
    assert spectrum.effective_rank == pytest.approx(usual.effective_rank, rel=1e-4)
    assert spectrum.participation_ratio == pytest.approx(usual.participation_ratio, rel=1e-5)
    with pytest.raises(OptionError, match="these sums were used up by all eigenvalues"):
        solved(state, TAUS)


@pytest.mark.parametrize("limit", [0, None])
@pytest.mark.parametrize("method", EXACT)
def test_what_only_rounding_made_counts_as_no_eigenvalue(method, limit):
    x = with_spectrum("rank-deficient", 1000, 400, 30.0)
    spectrum = solved(EXACT[method](x, "fp32", CPU, 64), (0.7,), every(limit))
    assert 20 < np.count_nonzero(spectrum.eigenvalues) < 100


def test_sums_go_on_after_a_spectrum_and_not_after_all_eigenvalues_in_place():
    x, more = (with_spectrum("power law", 200, 60, 5.0, seed=seed) for seed in (0, 1))
    state = EXACT["covariance"](x, "fp32", CPU, 50)
    first, again = solved(state, (0.7,)), solved(state, (0.7,))
    assert np.array_equal(first.eigenvalues, again.eigenvalues)
    state.update(more)
    expected = dense(torch.cat([x, more])).ks()
    assert [solved(state, TAUS).components(tau).low for tau in TAUS] == expected
    assert solved(state, (0.7,), every(limit=0)).proof == "all eigenvalues, in place"
    with pytest.raises(OptionError, match="these sums were used up by all eigenvalues"):
        solved(state, (0.7,), leading(150))
    state.update(x[:1])
    with pytest.raises(OptionError, match="these sums were used up by all eigenvalues"):
        state.end_pass()


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize(
    ("block", "proof", "by"), [(150, True, "Chebyshev polynomial"), (60, False, "Frobenius norm")]
)
def test_a_search_leaves_a_state_usable(method, block, proof, by):
    x = with_spectrum("power law", 400, 260, 0.0)
    state = EXACT[method](x, "fp32", CPU, 50)
    options = leading(block, proof=proof)
    first, again = solved(state, (0.7,), options), solved(state, (0.7,), options)
    assert first.proof == by
    assert np.array_equal(first.upper_sums, again.upper_sums)
