"""The sketch's intervals hold the true K, whatever the spectrum, sizes, order, offset and splits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.accumulators.sketch import Sketch, rank_to_close
from streamspread.accumulators.staging import Overflow, Staging
from streamspread.errors import ActivationError, DataError, OptionError
from tests.devices import CPU, DEVICES

THRESHOLDS = (0.3, 0.5, 0.7, 0.9, 0.99)

SPECTRA = {
    "flat": lambda d, rng: np.ones(d),
    "power law": lambda d, rng: np.arange(1, d + 1) ** -rng.uniform(0.3, 2.0),
    "steps": lambda d, rng: 10.0 ** -np.sort(rng.integers(0, 5, d)),
    "rank-deficient": lambda d, rng: np.where(
        np.arange(d) < rng.integers(1, d + 1), rng.random(d) + 0.1, 0.0
    ),
    "repeated": lambda d, rng: np.repeat(rng.random(d) + 0.01, rng.integers(2, 8))[:d],
    "one huge": lambda d, rng: np.where(np.arange(d) == 0, 10.0 ** rng.uniform(2, 6), rng.random(d)),
}
ORDERS = {
    "as drawn": lambda x, rng: np.arange(len(x)),
    "small first": lambda x, rng: np.argsort(np.linalg.norm(x, axis=1)),
    "large first": lambda x, rng: np.argsort(-np.linalg.norm(x, axis=1)),
    "blocks": lambda x, rng: np.argsort(
        x[:, 0] > np.median(x[:, 0]), kind="stable"
    ),  # each block has its own mean
    "by direction": lambda x, rng: np.argsort(np.argmax(np.abs(x - x.mean(0)), axis=1), kind="stable"),
}


def make_data(rng, spectrum, order, samples, dim, offset):
    basis = np.linalg.qr(rng.normal(size=(dim, dim)))[0] if rng.random() < 0.7 else np.eye(dim)
    x = rng.normal(size=(samples, dim)) * np.sqrt(SPECTRA[spectrum](dim, rng)[:dim]) @ basis.T
    x = x[ORDERS[order](x, rng)]
    return torch.from_numpy(x + offset * x.std() * rng.choice([-1.0, 1.0], dim))


def true_sums(x):
    """λ₁ + … + λ_k over T of the very numbers, by dense float64."""
    centred = x.double().numpy()
    centred = centred - centred.mean(0)
    sums = np.cumsum(np.linalg.svd(centred, compute_uv=False) ** 2)
    return sums / sums[-1]


def possible(sums, threshold):
    """The least and the largest K that a reference which is itself off by 1e-12 can have."""
    low, high = np.searchsorted(sums, [threshold - 1e-12, threshold + 1e-12])
    return low + 1, min(high + 1, len(sums))


def feed(state, x, rng):
    """One pass in batches of random sizes."""
    begin = 0
    while begin < len(x):
        size = int(rng.integers(1, len(x) + 1)) if rng.random() < 0.5 else int(rng.integers(1, 20))
        state.update(x[begin : begin + size])
        begin += size
    state.end_pass()


def check_holds(state, sums, thresholds=THRESHOLDS):
    spectrum = state.spectrum()
    for threshold in thresholds:
        found = spectrum.components(threshold)
        low, high = possible(sums, threshold)
        assert found.low <= high, (threshold, found, (low, high))
        assert found.high >= low, (threshold, found, (low, high))
    return spectrum


cases = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "spectrum": st.sampled_from(sorted(SPECTRA)),
        "order": st.sampled_from(sorted(ORDERS)),
        "samples": st.integers(2, 120),
        "dim": st.integers(1, 60),
        "rank": st.integers(1, 40),
        "staging": st.integers(1, 50),
        "offset": st.sampled_from([0.0, 1.0, 1000.0]),
        "rounding": st.sampled_from(["fp32", "fp64"]),
        "adaptive": st.booleans(),
        "parts": st.integers(1, 3),
        "passes": st.integers(1, 3),
    }
)


@given(cases)
@settings(max_examples=2500, deadline=None, derandomize=True)
def test_the_interval_holds_the_true_k(case):
    rng = np.random.default_rng(case["seed"])
    x = make_data(rng, case["spectrum"], case["order"], case["samples"], case["dim"], case["offset"])
    if case["rounding"] == "fp32":
        x = x.float()
    if float(x.double().var(0).sum()) <= 1e-18:
        return  # constant but for what rounding of the offset left
    sums = true_sums(x)
    states = [
        Sketch(
            case["dim"],
            rank=case["rank"],
            thresholds=THRESHOLDS[: rng.integers(1, 6)],
            rounding=case["rounding"],
            device=CPU,
            staging_rows=case["staging"],
            adaptive=case["adaptive"],
        )
        for _ in range(case["parts"])
    ]
    cuts = np.sort(rng.integers(0, len(x) + 1, case["parts"] - 1))
    for state, part in zip(states, np.split(np.arange(len(x)), cuts), strict=True):
        feed(state, x[part], rng)
    merged = states[0]
    for state in states[1:]:
        merged.merge(state)
    spectrum = check_holds(merged, sums)
    assert spectrum.samples == len(x)
    for _ in range(case["passes"] - 1):
        feed(merged, x, rng)
        spectrum = check_holds(merged, sums)
    centred = x.double() - x.double().mean(0)
    np.testing.assert_allclose(
        spectrum.total_variance, float(centred.square().sum()) / (len(x) - 1), rtol=1e-5
    )


def random_samples(seed=0, samples=400, dim=90, power=1.0, offset=0.0):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    x = rng.normal(size=(samples, dim)) * np.arange(1, dim + 1) ** (-power / 2) @ basis.T
    return torch.from_numpy(x + offset).float()


def make(dim=90, rank=40, rounding="fp32", device=CPU, thresholds=(0.5, 0.7), **more):
    return Sketch(
        dim, rank=rank, thresholds=thresholds, rounding=rounding, device=device, staging_rows=rank, **more
    )


def run(state, x, passes, batch=64):
    for _ in range(passes):
        for part in x.split(batch):
            state.update(part)
        state.end_pass()
    return state


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rounding", ["fp64", "fp32", "fp16", "bf16"])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_it_closes_on_the_k_of_the_rounded_samples(device, rounding, offset):
    x = random_samples(offset=offset).to(device)
    staging = Staging(90, 400, rounding, device)
    for part in x.split(64):
        staging.push(part)
    sums = true_sums(staging.staged().float().cpu() if rounding != "fp64" else staging.staged().cpu())
    spectrum = check_holds(run(make(rounding=rounding, device=device), x, 3), sums, (0.3, 0.5, 0.7))
    for threshold in (0.3, 0.5, 0.7):
        assert spectrum.components(threshold).closed
    assert not spectrum.complete


def test_every_pass_narrows_the_interval():
    x = random_samples(power=0.7)
    state, widths = make(), []
    for _ in range(3):
        found = run(state, x, 1).spectrum().components(0.5)
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] >= widths[2] == 0
    assert state.passes_done == 3


def test_a_threshold_beyond_the_rank_has_a_low_and_says_which_rank_closes_it():
    x = random_samples(power=0.3)
    sums = true_sums(x)
    spectrum = check_holds(run(make(rank=10, thresholds=(0.9,)), x, 2), sums)
    found = spectrum.components(0.9)
    assert found.high == 90
    assert found.low > 10
    enough = rank_to_close(spectrum, (0.9,), 10)
    assert enough is not None
    assert enough > 10
    closed = run(make(rank=enough, thresholds=(0.9,)), x, 3).spectrum()
    assert closed.components(0.9).closed
    assert rank_to_close(closed, (0.9,), enough) is None


def test_with_room_for_all_samples_the_spectrum_is_complete():
    x = random_samples(samples=30)
    spectrum = run(make(rank=40), x, 2).spectrum()
    assert spectrum.complete
    np.testing.assert_allclose(spectrum.upper_sums, np.cumsum(spectrum.eigenvalues), rtol=1e-9)
    expected = np.linalg.svd((x - x.double().mean(0)).numpy(), compute_uv=False)[:29] ** 2 / 29
    np.testing.assert_allclose(spectrum.eigenvalues, expected, rtol=1e-6)
    assert not run(make(rank=20), x, 2).spectrum().complete


def test_lower_bounds_are_below_and_upper_sums_above_every_true_sum():
    x = random_samples(power=0.8)
    values = np.linalg.svd((x.double() - x.double().mean(0)).numpy(), compute_uv=False) ** 2 / 399
    state = make()
    for _ in range(3):
        spectrum = run(state, x, 1).spectrum()
        count = min(len(spectrum.eigenvalues), len(spectrum.upper_sums))
        assert count >= 20
        truth = np.cumsum(values)
        assert np.all(np.cumsum(spectrum.eigenvalues)[:count] <= truth[:count] * (1 + 1e-6))
        assert np.all(spectrum.upper_sums <= spectrum.total_variance * (1 + 1e-12))
        assert np.all(spectrum.upper_sums >= truth[: len(spectrum.upper_sums)] * (1 - 1e-6))
        assert np.all(np.diff(spectrum.upper_sums) >= 0)
        assert np.all(np.diff(spectrum.eigenvalues) <= 0)


def test_merged_parts_close_on_the_same_k_as_the_whole():
    x = random_samples(offset=50.0)
    parts = [run(make(), part, 1) for part in (x[:150], x[150:260], x[260:])]
    merged = parts[0]
    for part in parts[1:]:
        merged.merge(part)
    assert merged.spectrum().samples == 400
    alone = run(make(), x, 2).spectrum().components(0.7)
    assert run(merged, x, 1).spectrum().components(0.7) == alone


def test_merging_with_an_empty_state_changes_nothing():
    x = random_samples()
    alone = run(make(), x, 1).spectrum().components(0.5)
    left, right = make(), run(make(), x, 1)
    left.merge(right)
    assert left.spectrum().components(0.5) == alone
    left.merge(make())
    assert left.spectrum().components(0.5) == alone


def test_states_of_other_layers_or_later_passes_do_not_merge():
    x = random_samples()
    with pytest.raises(OptionError, match="got 91 at fp32 and rank 40"):
        make().merge(make(dim=91))
    second = run(make(), x, 1)
    second.update(x[:64])
    with pytest.raises(OptionError, match="merge in their first pass"):
        second.merge(make())


def test_a_second_pass_must_bring_the_same_samples():
    x = random_samples()
    with pytest.raises(
        ActivationError, match=r"pass 2 brought other data than the first \(399 and 400 samples\)"
    ):
        run(run(make(layer="c1"), x, 1), x[:399], 1)
    with pytest.raises(ActivationError, match="layer c1: pass 2 brought other data"):
        run(run(make(layer="c1"), x, 1), x * 1.01, 1)


def test_a_constant_layer_needs_no_component():
    state = run(make(), torch.full((100, 90), 0.1), 1)
    assert state.spectrum().total_variance == 0.0
    assert state.spectrum().components(0.7) == (0, 0)
    assert run(state, torch.full((100, 90), 0.1), 1).spectrum().components(0.7) == (0, 0)


def test_what_cannot_be_summed_is_named():
    x = random_samples()
    x[200, 7] = torch.nan
    with pytest.raises(ActivationError, match="layer c9: NaN or Inf in the activation in batch 4"):
        run(make(layer="c9"), x, 1)
    wide = random_samples()
    wide[300] *= 1e6
    with pytest.raises(Overflow, match="layer c9: fp16 overflow in batch 5"):
        run(make(rounding="fp16", layer="c9"), wide, 1)
    with pytest.raises(DataError, match="at least 2 samples, got 1"):
        run(make(), random_samples()[:1], 1).spectrum()
    with pytest.raises(OptionError, match="at least one direction"):
        make(rank=0)


def test_an_adaptive_sketch_keeps_what_the_threshold_needs():
    x = random_samples(samples=2000, dim=300, power=1.5)
    fixed, adaptive = make(dim=300, rank=128), make(dim=300, rank=128, adaptive=True)
    assert run(fixed, x, 1).sketch.filled == 128
    assert 10 < run(adaptive, x, 1).sketch.filled < 60
    sums = true_sums(x)
    assert check_holds(run(adaptive, x, 1), sums).components(0.7).closed


def test_memory_is_as_announced_and_does_not_grow_with_the_samples():
    state, finish = Sketch.nbytes(10_000, rank=64, rounding="fp32", device=CPU, staging_rows=64, max_passes=3)
    one_pass, _ = Sketch.nbytes(10_000, rank=64, rounding="fp32", device=CPU, staging_rows=64, max_passes=1)
    assert state - one_pass == 8 * 64 * 10_000
    rows = 2 * 64 * 10_000 * 4
    assert rows < one_pass < rows + 70e6
    assert finish < 10e6


def test_a_threshold_at_a_sum_is_left_open_by_a_complete_sketch_too():
    x = torch.eye(50)[:3]
    low, high = run(make(50, thresholds=(0.5,)), x, 2).spectrum().components(0.5)
    assert low <= 1 <= high
    x = torch.randn(20, 90, generator=torch.Generator().manual_seed(0)).repeat(3, 1)
    low, high = run(make(rounding="fp64", thresholds=(1.0,)), x, 2).spectrum().components(1.0)
    assert low <= 19 <= high
