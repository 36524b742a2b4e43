"""Sums of integers have the same bits on every device, however samples come, and K is that of the rounded
samples."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.accumulators.methods.covariance import Covariance
from streamspread.accumulators.methods.gram import Gram
from streamspread.accumulators.staging import Overflow, Precision, origin_of
from tests.devices import CPU, PLACES, need_exact
from tests.samples import dense, with_spectrum
from tests.states import EXACT, every, fed, leading, solved

THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
SCALE = 64.0  # values are multiples of 1/64

everywhere = pytest.mark.parametrize("device", PLACES, indirect=True)


@pytest.fixture(autouse=True)
def _exact(request):
    if "device" in request.fixturenames:
        need_exact(request.getfixturevalue("device"))


def in_unit(scale, dim, device=CPU):
    """A covariance whose values are multiples of 1/scale."""
    precision = Precision("int16", "", scale)
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


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("name", ["power law", "rank-deficient"])
@pytest.mark.parametrize(("samples", "dim", "offset"), [(500, 130, 0.0), (120, 300, 1000.0)])
@pytest.mark.parametrize("how", [None, leading(130), every()], ids=["dense", "leading", "in place"])
def test_k_is_that_of_the_rounded_samples_in_float64(method, name, samples, dim, offset, how):
    x = with_spectrum(name, samples, dim, offset)
    state = EXACT[method](x, "int16", CPU, 64)
    scale = state.sums.scale if method == "gram" else state._begun().staging.origin.scale
    if method == "gram":  # a tile may have had a smaller unit
        state = Gram(dim, samples, tile=dim, precision=Precision("int16", "", scale), device=CPU)
        fed(state, x)
    rounded = (x.double() * scale).round() / scale
    want = dense(rounded)
    spectrum = solved(state, THRESHOLDS, how)
    assert [spectrum.components(tau) for tau in THRESHOLDS] == [(k, k) for k in want.ks(THRESHOLDS)]
    assert spectrum.total_variance == pytest.approx(want.total, rel=1e-12)
    error = float((rounded - x.double()).square().sum()) / (samples - 1) / want.total
    assert spectrum.moved == pytest.approx(error, rel=1e-3, abs=1e-20)


@pytest.mark.parametrize("method", EXACT)
def test_what_rounding_of_sums_leaves_open_is_nothing(method):
    x = with_spectrum("power law", 300, 90, 3.0)
    exact, rounded = (solved(EXACT[method](x, rounding), THRESHOLDS) for rounding in ("int16", "fp32"))
    widths = [float((s.upper_sums - s.lower_sums).max() / s.total_variance) for s in (exact, rounded)]
    assert widths[0] < 1e-11 < 1e-8 < widths[1]


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 199), max_size=6, unique=True),
    seed=st.integers(0, 99),
    merged=st.booleans(),
    offset=st.sampled_from([0.0, 3.0, -100.0]),
)
def test_no_order_batch_size_or_merge_changes_a_bit(cuts, seed, merged, offset):
    x = with_spectrum("power law", 200, 60, offset)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(seed))
    parts = x[order].split(np.diff([0, *sorted(cuts), 200]).tolist())
    if merged:
        state, *others = (fed(in_unit(SCALE, 60), part, 1, 33) for part in parts)
        for other in others:
            state.merge(other)
    else:
        state = fed(in_unit(SCALE, 60), x[order], 1, [len(part) for part in parts])
    check_sums(state, x)


@everywhere
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("merged", [False, True])
def test_sums_are_those_of_the_rounded_samples(device, dtype, merged):
    x = with_spectrum("power law", 300, 70, 3.0).to(dtype)
    there = x.to(device)
    if merged:
        state, *others = (fed(in_unit(SCALE, 70, device), part) for part in there.split((100, 150, 50)))
        for other in others:
            state.merge(other)
    else:
        state = fed(in_unit(SCALE, 70, device), there, 1, (100, 33, 167))
    check_sums(state, x)


@everywhere
def test_sums_of_values_many_of_which_are_large(device):
    x = with_spectrum("power law", 200, 40, 0.0)
    x[:50] = 0.1 * x[:50]  # the first batch tells the unit
    x[50:] *= 400.0 / float(x.abs().max())
    state = fed(in_unit(SCALE, 40, device), x.to(device), 1, 50)
    assert float(x.abs().max()) * SCALE > 2**14
    check_sums(state, x)


@everywhere
@pytest.mark.parametrize("method", EXACT)
def test_k_is_that_of_the_rounded_samples_on_every_device(device, method):
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


def test_tiles_of_any_width_have_the_same_inner_products():
    x = with_spectrum("power law", 120, 100, 0.0)
    x[:] = (x * 64).round() / 64  # so that about any shift a tile sums the same numbers
    x -= x.mean(0, keepdim=True).mul(64).round() / 64
    panels = []
    for tile in (100, 37, 8):
        state = Gram(100, 120, tile=tile, precision=Precision("int16", "", 64.0), device=CPU, panel_rows=50)
        fed(state, x, -(-100 // tile), 120)  # the shift is the mean of all: 0 on the grid
        panels.append(state.panels.panels)
    for others in panels[1:]:
        assert all(torch.equal(a, b) for a, b in zip(panels[0], others, strict=True))


@everywhere
@pytest.mark.parametrize(("method", "growth"), [("covariance", 1e4), ("gram", 40.0), ("covariance", 1e30)])
def test_what_does_not_fit_says_in_which_unit_it_would(device, method, growth):
    x = with_spectrum("power law", 200, 60, 0.0)
    x[100:] *= growth
    with pytest.raises(Overflow, match="layer : int16 overflow in batch") as caught:
        EXACT[method](x, "int16", device, 50).end_pass()
    precision = Precision("int16", "", caught.value.scale)
    largest = float(x.abs().max())
    assert 2**12 < largest * caught.value.scale < 2**15
    state = fed(Covariance(60, precision=precision, device=CPU), x, 1, 50)
    assert [solved(state, THRESHOLDS).components(tau).low for tau in (0.5, 0.7)] == dense(x).ks((0.5, 0.7))


def test_tiles_have_the_unit_that_suits_all_features():
    x = with_spectrum("power law", 80, 100, 0.0)
    x[:, :50] *= 1e-10
    state = fed(Gram(100, 80, tile=50, precision=Precision("int16", "c3", 0.0, 1e-6), device=CPU), x, 2)
    assert state.sums.scale == origin_of(x, Precision("int16")).scale
    spectrum = solved(state, THRESHOLDS)
    assert [spectrum.components(tau) for tau in THRESHOLDS] == [(k, k) for k in dense(x).ks(THRESHOLDS)]


def test_sums_that_grow_too_large_are_refused_and_a_larger_unit_is_named():
    x = with_spectrum("power law", 80, 20, 0.0)
    state = EXACT["covariance"](x, "int16", CPU, 80)
    state.end_pass()
    for _ in range(30):  # as many samples again each time
        state.panels.add_state(state.panels.state(), 1.0)
    scale = state._begun().staging.origin.scale
    with pytest.raises(Overflow, match="int16 sums exceed 2⁵¹") as caught:
        state.end_pass()
    assert caught.value.scale == scale / 16


def test_states_in_different_units_merge_in_the_larger_one_and_go_on():
    x = with_spectrum("power law", 300, 60, 20.0)
    first, second = fed(in_unit(256.0, 60), x[:100]), fed(in_unit(32.0, 60), x[100:200] * 1.5)
    first.merge(second)
    for part in x[200:].split(40):
        first.update(part)
    rounded = [
        (part.double() * scale).round() / scale
        for part, scale in ((x[:100], 256.0), (x[100:200] * 1.5, 32.0), (x[200:], 32.0))
    ]
    want = dense(torch.cat(rounded))
    spectrum = solved(first, THRESHOLDS)
    assert spectrum.total_variance == pytest.approx(want.total, rel=1e-12)
    assert [spectrum.components(tau) for tau in THRESHOLDS] == [(k, k) for k in want.ks(THRESHOLDS)]
