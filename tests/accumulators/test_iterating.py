"""The quick form of a sketch, by subspace iteration on integers: what it proves, where it is unfit, and that
neither batches nor states change a bit."""

from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.accumulators.base import Unfit
from streamspread.accumulators.methods.sketch import QuickSketch
from streamspread.accumulators.staging import Overflow, Precision
from streamspread.errors import ActivationError, DataError, OptionError
from streamspread.options import Options
from tests.bits import plain
from tests.devices import CPU
from tests.samples import ORDERS, check_holds, dense, power_law, spread
from tests.states import fed, sketch
from tests.variances import DRAWN, variances

ONE = (0.5,)


def quick(dim, thresholds=ONE, rank=None, first=40, most=8, scale=1.0):
    """One that has seen nothing, of whole numbers, which are exact: in units of 1."""
    return QuickSketch(
        dim,
        rank=rank or dim,
        precision=Precision("int16", "c1", scale),
        device=CPU,
        staging_rows=first,
        until=Options(thresholds=thresholds, max_passes=most),
    )


def whole(x, size=500.0):
    """Samples as whole numbers of about that size, in float32."""
    return (x * (size / max(float((x - x.mean(0)).square().mean().sqrt()), 1e-30))).round().float()


def law(count=400, dim=90, power=1.0, seed=0):
    return whole(power_law(count, dim, power, seed))


def run(state, x, batch=64, until=ONE, most=8):
    """The spectrum after each pass, up to one that satisfies."""
    options, found = Options(thresholds=until, max_passes=most), []
    while not found or not state.satisfied(options):
        fed(state, x, 1, batch)
        found.append(state.spectrum(options))
    return found


def check_bounds(spectrum, truth):
    sums = truth.sums
    lower, upper = np.cumsum(spectrum.eigenvalues), spectrum.upper_sums
    assert np.all(lower <= sums[: len(lower)] * (1 + 1e-11))
    assert np.all(upper >= sums[: len(upper)] * (1 - 1e-11))


def first_of_their_own(x, rng, directions=3, size=2000.0):
    """Samples before the others, in a few directions of their own."""
    few = rng.normal(size=(len(x) // 4 + 1, directions)) @ rng.normal(size=(directions, x.shape[1]))
    return torch.cat([whole(torch.from_numpy(few), size), x])


#: What is done to samples.
CHANGES = {
    "as they are": lambda x, rng: x,
    "first ones of their own": first_of_their_own,
    "mean far off": lambda x, rng: torch.cat([x[:1], x[1:] + float(rng.integers(1, 15_000))]),
    "spikes": lambda x, rng: torch.where(torch.from_numpy(rng.random(x.shape) < 0.01), x.sign() * 20_000, x),
}


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(DRAWN),
    order=st.sampled_from(sorted(ORDERS)),
    change=st.sampled_from(sorted(CHANGES)),
    count=st.integers(2, 250),
    dim=st.integers(1, 90),
    rank=st.integers(1, 90),
    first=st.integers(2, 120),
    offset=st.sampled_from([0.0, 1.0, 1000.0]),
    size=st.sampled_from([4.0, 60.0, 400.0]),
    batch=st.integers(1, 260),
    thresholds=st.sampled_from([(0.3,), (0.5,), (0.9,), (0.3, 0.5, 0.8)]),
    times=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_interval_holds_the_true_k(
    name, order, change, count, dim, rank, first, offset, size, batch, thresholds, times, seed
):
    rng = np.random.default_rng(seed)
    x = spread(variances(name, dim, rng), count, rng, order=order, turned=rng.random() < 0.7)
    x = whole(x, size)
    x = CHANGES[change](x, rng).clamp(-15_000, 15_000) + offset * size  # no two are too far apart for int16
    truth = dense(x)
    state = quick(dim, thresholds, rank, first, times)
    options = Options(thresholds=thresholds, max_passes=times)
    for number in range(times):
        with suppress(Unfit):  # which is no reason to prove what is wrong
            fed(state, x, 1, batch)
        if state.passes_done <= number:  # first samples told
            return
        spectrum = state.spectrum(options)
        assert spectrum.samples == len(x)
        assert spectrum.total_variance == pytest.approx(truth.total, rel=1e-9)
        if truth.total > 0.0:
            assert spectrum.moved == 0.0
            check_holds(spectrum, truth, thresholds)
            check_bounds(spectrum, truth)
        else:
            assert spectrum.components(thresholds[0]) == (0, 0)


@pytest.mark.parametrize(("power", "passes"), [(1.2, 1), (1.0, 2), (0.8, 2), (0.6, 3)])
def test_k_closes_in_a_few_passes(power, passes):
    x = whole(spread(np.arange(1, 301) ** -power, 4000, np.random.default_rng(1)))
    found = run(quick(300, first=1000), x, 500)
    want = dense(x).k(0.5)
    assert [each.components(0.5).closed for each in found] == [False] * (passes - 1) + [True]
    assert found[-1].components(0.5) == (want, want)
    assert found[-1].proof == "Rayleigh–Ritz + random vectors"
    assert not found[-1].complete


def test_k_is_that_of_rounded_values_of_any_scale():
    x = power_law(900, 120, 0.8) * 1e-6 + 3e-6
    state = quick(120, first=300, scale=0.0)
    spectrum = run(state, x)[-1]
    assert spectrum.components(0.5) == (dense(x).k(0.5),) * 2
    assert spectrum.total_variance == pytest.approx(dense(x).total, rel=1e-3)
    assert 0.0 < spectrum.moved < 1e-3


@pytest.mark.parametrize("batch", [1, 64, 400])
def test_the_size_of_batches_does_not_change_a_bit(batch):
    x = law()
    rest = len(x) - 30  # the first batch's mean is where all are measured from
    batches = ([30, *[size] * (rest // size), rest % size] for size in (50, batch))
    expected, found = (run(quick(90), x, sizes) for sizes in batches)
    assert len(found) >= 2
    assert [plain(each) for each in found] == [plain(each) for each in expected]


#: Batches before a state is taken, of six a pass: before the first samples are complete, in the first pass,
#: at its end, in the second one and at its end.
TAKEN = [0, 3, 6, 7, 12]


@pytest.mark.parametrize("ended", [False, True], ids=["running", "ended"])
@pytest.mark.parametrize("taken", TAKEN)
def test_a_state_goes_on_to_the_same_bits(taken, ended):
    x, options = law(300, 70), Options(thresholds=ONE)
    batches = [part for _ in range(3) for part in x.split(50)]
    states = [quick(70, first=120)]
    for number, part in enumerate([*batches, None]):
        last = number % 6 == 0 < number
        if last and not (ended and number == taken):
            for state in states:
                state.end_pass()
        if number == taken:
            if last and ended:
                states[0].end_pass()
            held = {name: one.tensor.clone() for name, one in states[0].state().items()}
            other = quick(70, first=120)
            other.load_state(held)
            for tensor in held.values():  # it is copied
                tensor.zero_()
            states.append(other)
        if part is not None:
            for state in states:
                state.update(part)
    one, other = (state.spectrum(options) for state in states)
    assert one is not other
    assert states[0].passes_done == states[1].passes_done == 3
    assert plain(one) == plain(other)
    assert one.components(0.5).closed


def test_a_state_that_knows_it_is_unfit_still_does():
    x = whole(torch.randn(200, 60, generator=torch.Generator().manual_seed(0)))
    state = quick(60, rank=10, first=50)
    for part in x[:150].split(50):
        state.update(part)
    other = quick(60, rank=10, first=50)
    other.load_state({name: one.tensor for name, one in state.state().items()})
    for each in (state, other):
        each.update(x[150:])
        with pytest.raises(Unfit, match="its first samples show no 10 directions that would tell K"):
            each.end_pass()


def white(count, dim):
    return whole(torch.randn(count, dim, generator=torch.Generator().manual_seed(0)))


#: Samples, most directions, first samples; what is said in which pass, of at most two.
UNFIT = {
    "more directions": (
        white(200, 60),
        12,
        50,
        1,
        "no 12 directions that would tell K",
    ),
    "even of all": (white(200, 60), 12, 500, 1, "no 12 directions that would tell K"),
    "constant first": (
        *(torch.cat([torch.full((64, 90), 3.0), law()]), 90, 64, 1),
        "no 90 directions that would tell K",
    ),
    "open after the last pass": (
        *(first_of_their_own(law(), np.random.default_rng(0), size=100.0), 20, 40, 2),
        "K stayed open in 2 passes",
    ),
    "never reached": (
        *(first_of_their_own(white(600, 90), np.random.default_rng(0), 1, 500.0), 4, 60, 2),
        "K is more than its 4 directions can tell",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_is_unfit_says_why_and_no_sooner(name):
    x, rank, first, passes, why = UNFIT[name]
    most = 2 if "open" in name else 8
    state = fed(quick(x.shape[1], first=first, most=most, rank=rank), x, passes - 1)
    assert not state.passes_done or not state.satisfied(Options(thresholds=ONE, max_passes=most))
    with pytest.raises(Unfit, match=why):
        fed(state, x)


@pytest.mark.parametrize(("x", "first"), [(white(200, 60), 50), (UNFIT["constant first"][0], 65)])
def test_first_samples_that_show_enough_directions_are_fit(x, first):
    assert fed(quick(x.shape[1], first=first), x).passes_done == 1


@pytest.mark.parametrize("value", [0.0, 0.1, -7000.0])
def test_a_constant_layer_needs_no_component(value):
    x = torch.full((100, 90), value)
    state = fed(quick(90), x)
    options = Options(thresholds=ONE)
    assert state.satisfied(options)
    for _ in range(2):
        spectrum = state.spectrum(options)
        assert spectrum.components(0.5) == (0, 0)
        assert spectrum.total_variance == 0.0
        assert spectrum.proof == "constant layer"
        fed(state, x)


@pytest.mark.parametrize("samples", [0, 1])
def test_too_few_samples(samples):
    state = quick(90)
    with pytest.raises(DataError, match=f"at least 2 samples, got {samples}"):
        fed(state, law()[:samples]).spectrum(Options(thresholds=ONE))


@pytest.mark.parametrize(
    "other",
    [lambda x: x[:-1], lambda x: x * 2, lambda x: torch.cat([x, x[:1]])],
    ids=["fewer", "larger", "more"],
)
def test_a_pass_that_brings_other_data_is_refused(other):
    x = law()
    state = fed(quick(90), x)
    with pytest.raises(ActivationError, match="layer c1: pass 2 brought other data than the first"):
        fed(state, other(x))


@pytest.mark.parametrize(("value", "row", "pass_"), [(float("nan"), 3, 1), (-float("inf"), 390, 2)])
def test_a_number_that_is_not_finite_names_layer_and_batch(value, row, pass_):
    x = law()
    bad = x.clone()
    bad[row, 5] = value
    state = quick(90)
    if pass_ == 2:
        fed(state, x)
    with pytest.raises(
        ActivationError, match=f"layer c1: NaN or Inf in the activation in batch {row // 16 + 1}"
    ):
        fed(state, bad, 1, 16)


@pytest.mark.parametrize("row", [3, 390])
def test_overflow_is_never_silent(row):
    x = law()
    x[row, 5] = 40_000.0
    with pytest.raises(Overflow, match=f"layer c1: int16 overflow in batch {row // 16 + 1}") as caught:
        fed(quick(90), x, 1, 16)
    assert caught.value.scale == 0.25  # 40,000 is 10,000 units, below 2¹⁴
    assert fed(quick(90, scale=caught.value.scale), x, 1, 16).passes_done == 1


def test_a_unit_that_is_too_coarse_is_never_silent():
    state = QuickSketch(
        90,
        rank=90,
        precision=Precision("int16", "c1", 1.0, most_moved=1e-6),
        device=CPU,
        staging_rows=40,
        until=Options(thresholds=ONE),
    )
    with pytest.raises(Overflow, match=r"int16 moved the data by .* of their variance"):
        fed(state, power_law(400, 90))


@pytest.mark.parametrize("pair", [(1, 0), (0, 1), (1, 1)], ids=str)
def test_merging_is_refused_in_one_line(pair):
    x = law()
    one, other = (fed(quick(90), x, passes) for passes in pair)
    with pytest.raises(
        OptionError, match=r"^sketches merge where they are Frequent Directions, in their first pass$"
    ):
        one.merge(other)
    running = quick(90)
    running.update(x[:30])
    with pytest.raises(OptionError, match=r"^sketches merge where they are Frequent Directions"):
        running.merge(quick(90))
    assert running.samples == 30


def test_both_forms_agree():
    x = law(600, 100, 0.8)
    options = Options(thresholds=ONE)
    usual = fed(sketch(100, 90, "fp32", thresholds=ONE), x, 2).spectrum(options)
    assert run(quick(100), x)[-1].components(0.5) == usual.components(0.5)
