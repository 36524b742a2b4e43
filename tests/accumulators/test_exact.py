"""The exact accumulators against a dense float64 reference: accumulator × device × rounding × data × batch
split."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from streamspread import analyze
from streamspread.accumulators.covariance import Covariance
from streamspread.accumulators.finish import FinishOptions
from streamspread.accumulators.gram import Gram
from streamspread.accumulators.staging import Overflow, Staging
from streamspread.errors import ActivationError, DataError, OptionError
from streamspread.linalg.panels import SymmetricPanels
from tests.devices import CPU, DEVICES, PLACES

THRESHOLDS = (0.5, 0.7, 0.9, 0.95, 0.99)
SPECTRA = {
    "flat": lambda d: np.linspace(1.0, 0.9, d),
    "steep": lambda d: 0.8 ** np.arange(d),
    "rank-deficient": lambda d: np.where(np.arange(d) < 23, 1.0 / (1 + np.arange(d)), 0.0),
    "one dominant": lambda d: np.concatenate([[1e4], 1.0 / np.arange(1, d)]),
    "power law": lambda d: np.arange(1, d + 1) ** -0.8,
}


def make_data(name, samples, dim, offset, seed=0):
    """(samples, dim) float32 with the prescribed variances in random directions, and a mean of offset
    deviations."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    x = rng.normal(size=(samples, dim)) * np.sqrt(SPECTRA[name](dim)) @ basis.T
    return torch.from_numpy(x + offset * x.std() * rng.choice([-1.0, 1.0], dim)).float()


def reference(x):
    """(T, K at THRESHOLDS) of the very float32 numbers, by dense float64 eigenvalues."""
    values = np.linalg.eigvalsh(np.cov(x.double().numpy().T))[::-1].clip(0)
    sums = np.cumsum(values)
    return sums[-1], [int(np.searchsorted(sums, tau * sums[-1])) + 1 for tau in THRESHOLDS]


def covariance(x, rounding, device, batch):
    state = Covariance(x.shape[1], rounding=rounding, device=device, staging_rows=96, panel_rows=50)
    for part in x.to(device).split(batch):
        state.update(part)
    return state


def gram(x, rounding, device, batch):
    tile = x.shape[1] // 3 + 1
    state = Gram(x.shape[1], x.shape[0], tile=tile, rounding=rounding, device=device, panel_rows=50)
    for _ in range(Gram.passes(x.shape[1], tile)):
        for part in x.to(device).split(batch):
            state.update(part)
        state.end_pass()
    return state


METHODS = {"covariance": covariance, "gram": gram}


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rounding", ["fp64", "fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize(("samples", "dim"), [(500, 130), (120, 300)])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_components_equal_the_dense_float64_reference(device, method, rounding, name, samples, dim, offset):
    x = make_data(name, samples, dim, offset)
    total, expected = reference(x)
    spectrum = METHODS[method](x, rounding, device, 64).spectrum(THRESHOLDS)
    found = [spectrum.components(tau) for tau in THRESHOLDS]
    assert spectrum.samples == samples
    if rounding in ("fp64", "fp32"):
        assert found == [(k, k) for k in expected]
        assert spectrum.total_variance == pytest.approx(total, rel=1e-6)
    else:
        assert all(
            interval.closed and abs(interval.low - k) <= 1
            for interval, k in zip(found, expected, strict=True)
        )
        assert spectrum.total_variance == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rounding", ["fp64", "fp32"])
@pytest.mark.parametrize("name", ["steep", "one dominant", "power law"])
def test_leading_eigenvalues_give_the_same_answer(device, method, rounding, name):
    x = make_data(name, 700, 260, 3.0)
    _, expected = reference(x)
    options = FinishOptions(full_limit=0, block=32, max_block=260)
    spectrum = METHODS[method](x, rounding, device, 64).spectrum(THRESHOLDS[:3], options)
    assert not spectrum.complete
    assert [spectrum.components(tau) for tau in THRESHOLDS[:3]] == [(k, k) for k in expected[:3]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rounding", ["fp64", "fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize(("samples", "dim"), [(500, 130), (120, 300)])
def test_all_eigenvalues_in_place_give_the_same_answer(device, method, rounding, name, samples, dim):
    x = make_data(name, samples, dim, 3.0)
    dense = METHODS[method](x, rounding, device, 64).spectrum(THRESHOLDS)
    options = FinishOptions(full_limit=0, all_eigenvalues=True)
    state = METHODS[method](x, rounding, device, 64)
    spectrum = state.spectrum(THRESHOLDS, options)
    assert spectrum.complete
    assert spectrum.proof == "all eigenvalues, in place"
    for tau in THRESHOLDS:
        assert spectrum.components(tau).closed
        assert spectrum.components(tau) == dense.components(tau)
    assert spectrum.effective_rank == pytest.approx(dense.effective_rank, rel=1e-4)
    assert spectrum.participation_ratio == pytest.approx(dense.participation_ratio, rel=1e-5)
    with pytest.raises(OptionError, match="these sums were used up by an eigenvalue step"):
        state.spectrum(THRESHOLDS)


@pytest.mark.parametrize("limit", [0, None])
@pytest.mark.parametrize("method", METHODS)
def test_what_only_rounding_made_counts_as_no_eigenvalue(method, limit):
    x = make_data("rank-deficient", 1000, 400, 30.0)
    options = FinishOptions(full_limit=limit, all_eigenvalues=True)
    spectrum = METHODS[method](x, "fp32", CPU, 64).spectrum((0.7,), options)
    assert 20 < np.count_nonzero(spectrum.eigenvalues) < 100


@pytest.mark.slow
@pytest.mark.parametrize("solve", ["dense in float32", "in place"])
@pytest.mark.parametrize("amplitude", [3e-4, 1e-3, 3e-3])
@pytest.mark.parametrize(("method", "samples", "dim"), [("gram", 800, 2000), ("covariance", 2000, 800)])
def test_noise_beside_a_component_with_nearly_everything_excludes_no_k(
    method, samples, dim, amplitude, solve, monkeypatch
):
    monkeypatch.setattr("streamspread.linalg.eigenvalues.FLOAT64_LIMIT", 0)
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], (samples, 1)) * rng.choice([-1.0, 1.0], dim)
    x = torch.from_numpy(amplitude * rng.normal(size=(samples, dim)) + signs).float()
    staged = []
    add = SymmetricPanels.add_outer
    monkeypatch.setattr(
        SymmetricPanels, "add_outer", lambda panels, part: staged.append(part.double()) or add(panels, part)
    )
    options = FinishOptions(full_limit=0 if solve == "in place" else dim, all_eigenvalues=True)
    spectrum = METHODS[method](x, "fp32", CPU, 64).spectrum((0.5,), options)
    rounded = torch.cat(staged, 1).numpy()  # features by samples, or samples by features
    rounded = rounded - rounded.mean(1 if method == "covariance" else 0, keepdims=True)
    values = np.linalg.svd(rounded, compute_uv=False) ** 2
    sums = np.cumsum(values) / values.sum()
    for k in range(1, len(sums) - 1, 3):
        tau = float(sums[k - 1] - values[k - 1] / values.sum() / 2)
        low, high = spectrum.components(tau)
        assert low <= k <= high


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 199), max_size=6, unique=True),
    method=st.sampled_from(sorted(METHODS)),
    rounding=st.sampled_from(["fp32", "fp64"]),
)
def test_any_split_into_batches_gives_the_same_components(cuts, method, rounding):
    x = make_data("power law", 200, 60, 10.0)
    _, expected = reference(x)
    sizes = np.diff([0, *sorted(cuts), 200]).tolist()
    spectrum = METHODS[method](x, rounding, CPU, sizes).spectrum(THRESHOLDS)
    assert [spectrum.components(tau).low for tau in THRESHOLDS] == expected


@settings(max_examples=40, deadline=None)
@given(
    cut=st.integers(1, 199),
    rounding=st.sampled_from(["fp32", "fp64"]),
    drift=st.sampled_from([0.0, 5.0, 300.0]),
)
def test_covariances_merge_whatever_their_pilots_and_scales(cut, rounding, drift):
    x = make_data("power law", 200, 60, 2.0)
    x[cut:] += drift  # the parts have different means, so different pilots and scales
    total, expected = reference(x)
    first, second = (covariance(part, rounding, CPU, 32) for part in (x[:cut], x[cut:]))
    first.merge(second)
    spectrum = first.spectrum(THRESHOLDS)
    assert spectrum.samples == 200
    assert spectrum.total_variance == pytest.approx(total, rel=1e-5)
    assert [spectrum.components(tau).low for tau in THRESHOLDS] == expected


def far_from_its_pilot(x):
    """A state whose first batch, and so the pilot, is one sample of zeros; 16 rows a flush."""
    state = Covariance(x.shape[1], rounding="fp32", device=CPU, staging_rows=16)
    for part in (torch.zeros(1, x.shape[1]), x):
        state.update(part)
    return state


def assert_bounds_hold(state, x):
    sums = np.cumsum(np.linalg.eigvalsh(np.cov(x.double().numpy().T))[::-1])
    found = state.spectrum(THRESHOLDS)
    assert (np.cumsum(found.eigenvalues) <= sums * (1 + 1e-9)).all()
    assert (found.upper_sums >= sums * (1 - 1e-9)).all()


ZEROS = torch.zeros(1, 60)


@pytest.mark.parametrize("spectrum", ["flat", "power law"])
def test_many_updates_far_from_the_pilot_exclude_no_k(spectrum):
    x = make_data(spectrum, 40_000, 60, 200.0, seed=1)
    assert_bounds_hold(far_from_its_pilot(x), torch.cat([ZEROS, x]))


def test_updates_that_are_all_alike_exclude_no_k():
    generator = torch.Generator().manual_seed(1)
    rows, means = torch.randn(128, 60, generator=generator), torch.randn(60, generator=generator)
    x = torch.cat([torch.zeros(128, 60), (rows + 12.0 * means.sign()).repeat(1000, 1)])
    state = Covariance(60, rounding="fp32", device=CPU, staging_rows=128)
    for part in (x[:128], x[128:]):
        state.update(part)
    assert_bounds_hold(state, x)


@pytest.mark.parametrize("states", [1, 10])
def test_a_merge_into_a_state_with_a_good_pilot_does_not_mend_the_sums(states):
    x = make_data("flat", 60_000, 60, 400.0, seed=1)
    state = Covariance(60, rounding="fp32", device=CPU)
    state.update(x[:20_000])
    for part in x[20_000:].chunk(states):
        state.merge(far_from_its_pilot(part))
    assert_bounds_hold(state, torch.cat([*[ZEROS] * states, x]))


def test_merging_with_an_empty_state_changes_nothing():
    x = make_data("steep", 100, 40, 1.0)
    _, expected = reference(x)
    for pair in ((x, x[:0]), (x[:0], x)):
        first, second = (covariance(part, "fp32", CPU, 32) for part in pair)
        first.merge(second)
        assert [first.spectrum(THRESHOLDS).components(tau).low for tau in THRESHOLDS] == expected


def test_grams_over_other_features_merge():
    x = make_data("power law", 80, 100, 1.0)
    x[:, 60:] *= 1e-4  # the second half has another scale
    _, expected = reference(x)
    first, second = gram(x[:, :60], "fp64", CPU, 32), gram(x[:, 60:], "fp64", CPU, 32)
    first.merge(second)
    spectrum = first.spectrum(THRESHOLDS)
    assert spectrum.dim == 100
    assert [spectrum.components(tau).low for tau in THRESHOLDS] == expected


@pytest.mark.parametrize("rounding", ["fp32", "fp16"])
@pytest.mark.parametrize(
    "sizes", [(1.0, 1e-20), (1e-20, 1.0), (1.0, 0.0), (0.0, 1e-20), (1e-30, 0.0)], ids=str
)
@pytest.mark.parametrize("merged", [True, False])
def test_gram_tiles_of_any_sizes_add_in_one_scale(merged, sizes, rounding):
    x = make_data("power law", 80, 100, 1.0)
    x[:, :50] *= sizes[0]
    x[:, 50:] *= sizes[1]
    larger = x[:, :50] if sizes[0] > sizes[1] else x[:, 50:]  # all that counts
    total, expected = reference(larger / larger.abs().max())
    if merged:
        state, other = gram(x[:, :50], rounding, CPU, 32), gram(x[:, 50:], rounding, CPU, 32)
        state.merge(other)
    else:
        state = gram(x, rounding, CPU, 32)
    spectrum = state.spectrum(THRESHOLDS)
    assert spectrum.dim == 100
    assert spectrum.total_variance == pytest.approx(total * float(larger.abs().max()) ** 2, rel=1e-4)
    assert all(abs(spectrum.components(t).low - k) <= 1 for t, k in zip(THRESHOLDS, expected, strict=True))


def test_states_of_different_layers_do_not_merge():
    with pytest.raises(OptionError, match="only states of one layer merge"):
        covariance(torch.randn(4, 10), "fp32", CPU, 4).merge(covariance(torch.randn(4, 11), "fp32", CPU, 4))
    with pytest.raises(OptionError, match="only states over the same samples merge"):
        gram(torch.randn(4, 10), "fp32", CPU, 4).merge(gram(torch.randn(5, 10), "fp32", CPU, 5))


@pytest.mark.parametrize("method", METHODS)
def test_a_spectrum_can_be_asked_for_again_and_sums_go_on(method):
    x = make_data("power law", 200, 60, 5.0)
    state = METHODS[method](x, "fp32", CPU, 50)
    first, again = state.spectrum((0.7,)), state.spectrum((0.7,))
    assert np.array_equal(first.eigenvalues, again.eigenvalues)
    if method == "covariance":
        more = make_data("power law", 100, 60, 5.0, seed=1)
        state.update(more)
        _, expected = reference(torch.cat([x, more]))
        assert [state.spectrum(THRESHOLDS).components(tau).low for tau in THRESHOLDS] == expected


@pytest.mark.parametrize("method", METHODS)
def test_a_state_that_a_proof_used_up_says_so(method):
    x = make_data("power law", 400, 260, 0.0)
    state = METHODS[method](x, "fp32", CPU, 50)
    options = FinishOptions(full_limit=0, block=32, max_block=60)
    assert state.spectrum((0.5,), options).proof == "Cholesky factorisation"
    with pytest.raises(OptionError, match="these sums were used up by an eigenvalue step"):
        state.spectrum((0.5,), options)
    if method == "covariance":
        state.update(x[:1])
        with pytest.raises(OptionError, match="these sums were used up by an eigenvalue step"):
            state.end_pass()


@pytest.mark.parametrize("method", METHODS)
def test_without_proofs_a_state_stays_usable(method):
    x = make_data("power law", 400, 260, 0.0)
    state = METHODS[method](x, "fp32", CPU, 50)
    options = FinishOptions(full_limit=0, block=32, max_block=60, proof=False)
    first, again = state.spectrum((0.5,), options), state.spectrum((0.5,), options)
    assert np.array_equal(first.upper_sums, again.upper_sums)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [1e-25, 1e18])
def test_extreme_magnitudes_neither_overflow_nor_vanish(method, size):
    x = make_data("power law", 200, 60, 0.0)
    _, expected = reference(x)
    spectrum = METHODS[method](x * size, "fp32", CPU, 50).spectrum(THRESHOLDS)
    assert [spectrum.components(tau).low for tau in THRESHOLDS] == expected


@pytest.mark.parametrize("proof", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_eigenvalues_that_rounding_made_beside_one_large_component_exclude_no_k(seed, proof):
    rng = np.random.default_rng(seed)
    x = (
        rng.normal(size=(4000, 199))
        * np.r_[100, np.arange(1, 199) ** -0.35]
        * (rng.random((4000, 199)) < 0.1)
    )
    x[1:] += 100 * x.std() * rng.normal(size=199)
    x = torch.from_numpy(x).float()
    values = np.linalg.eigvalsh(np.cov(x.double().numpy().T))[::-1].clip(0)
    state = Covariance(199, rounding="fp32", device=CPU, staging_rows=256)
    state.update(x[:1])  # all others lie far from this one
    state.update(x[1:])
    taus = (0.5, 0.99, 0.999, 0.9998, 0.9999)
    spectrum = state.spectrum(taus, FinishOptions(full_limit=0, block=16, max_block=99, proof=proof))
    for tau in taus:
        low, high = spectrum.components(tau)
        assert low <= 1 + np.searchsorted(values.cumsum(), tau * values.sum()) <= high


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
def test_a_constant_layer_needs_no_component(device, method):
    spectrum = METHODS[method](torch.full((50, 20), 3.25), "fp32", device, 16).spectrum((0.7,))
    assert spectrum.total_variance == 0
    assert spectrum.components(0.7) == (0, 0)
    assert spectrum.proof == "constant layer"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("row", [3, 90])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_names_layer_and_batch(device, method, row, value):
    x = make_data("steep", 100, 40, 0.0)
    x[row, 5] = value
    with pytest.raises(ActivationError, match=f"NaN or Inf in the activation in batch {row // 16 + 1}"):
        METHODS[method](x, "fp32", device, 16).spectrum((0.7,))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
def test_fp16_overflow_is_never_silent(device, method):
    x = make_data("steep", 100, 40, 0.0)
    x[60:] *= 1e4  # far beyond the first batch's range
    with pytest.raises(Overflow, match="fp16 overflow in batch"):
        METHODS[method](x, "fp16", device, 16).spectrum((0.7,))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rounding", ["fp32", "bf16"])
@pytest.mark.parametrize("size", [1e12, 1e20])
def test_sums_beyond_their_range_are_never_silent(device, method, rounding, size):
    x = make_data("steep", 100, 40, 0.0)
    x[60:] *= size  # finite as it is staged, in the first batch's scale
    with pytest.raises(Overflow, match="float32 sums overflow"):
        METHODS[method](x, rounding, device, 16).spectrum((0.7,))
    _, expected = reference(x)
    spectrum = METHODS[method](x, "fp64", device, 16).spectrum(THRESHOLDS)
    assert [spectrum.components(tau).low for tau in THRESHOLDS] == expected


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rounding", ["fp32", "bf16"])
def test_a_sum_of_a_few_values_beyond_its_range_is_never_silent(device, method, rounding):
    x = make_data("steep", 100, 40, 0.0)
    x[60:] = 8e37  # a card adds 32 rows in float32 before it goes on in float64
    with pytest.raises(Overflow, match="overflow"):
        METHODS[method](x, rounding, device, 16).spectrum((0.7,))


@pytest.mark.parametrize("method", METHODS)
def test_an_analysis_names_the_layer_whose_sums_overflow_and_the_remedy(method):
    x = make_data("steep", 100, 40, 0.0)
    x[60:] *= 1e20
    with pytest.raises(ActivationError, match=r"layer 0: float32 sums overflow: .* try --rounding fp64"):
        analyze(nn.Sequential(nn.Identity()), x, "0", method=method, rounding="bf16", batch_size=20)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("first", [0, 60])
def test_float64_values_beyond_float32_overflow_in_whatever_batch(device, method, first):
    x = make_data("steep", 100, 40, 0.0).double()
    x[first:] += 1e39
    with pytest.raises(Overflow, match=f"fp32 overflow in batch {first // 16 + 1}"):
        METHODS[method](x, "fp32", device, 16).spectrum((0.7,))


def test_staging_hands_out_as_many_rows_as_are_wanted():
    staging, groups = Staging(3, 10, "fp32", CPU), []

    def take():
        groups.append(staging.staged().clone())
        staging.wanted = 7

    staging.wanted = 4
    x = torch.arange(60.0).reshape(20, 3)
    for part in x.split([1, 12, 7]):
        staging.fill(part, take)
    groups.append(staging.staged())
    assert [len(rows) for rows in groups] == [4, 7, 7, 2]
    assert torch.equal(torch.cat(groups) / staging.scale + x[0], x)
    assert (staging.count, staging.batches) == (20, 3)


def test_too_few_samples():
    with pytest.raises(DataError, match="at least 2 samples, got 1"):
        covariance(torch.randn(1, 5), "fp32", CPU, 1).spectrum((0.7,))


def test_a_gram_insists_on_the_samples_that_were_announced():
    state = Gram(10, 8, tile=4, rounding="fp32", device=CPU)
    state.update(torch.randn(6, 10))
    with pytest.raises(ActivationError, match="6 samples in this pass, 8 were announced"):
        state.end_pass()
    with pytest.raises(ActivationError, match="more than the 8 samples"):
        state.update(torch.randn(3, 10))
    state = Gram(10, 8, tile=4, rounding="fp32", device=CPU)
    state.update(torch.randn(8, 10))
    with pytest.raises(ActivationError, match="4 of 10 features had their pass"):
        state.spectrum((0.7,))


@pytest.mark.parametrize("method", METHODS)
def test_same_data_same_bits(method):
    x = make_data("power law", 150, 80, 1.0)
    values = [METHODS[method](x, "fp32", CPU, 40).spectrum((0.7,)).eigenvalues for _ in range(2)]
    assert np.array_equal(*values)


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("amplitude", [20.0, 141.0, 600.0])
@pytest.mark.parametrize("make", [covariance, gram])
def test_a_first_sample_far_from_all_others_excludes_no_k(make, amplitude, batch):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1500, 120, generator=generator)
    x[0] = amplitude * torch.sign(torch.randn(120, generator=generator))
    values = np.linalg.eigvalsh(np.cov(x.double().numpy().T))[::-1]
    sums = np.cumsum(values) / values.sum()
    spectrum = make(x, "fp32", CPU, batch).spectrum(THRESHOLDS)
    for tau in sums[0] + (1 - sums[0]) * np.linspace(0.02, 0.98, 40):
        low, high = spectrum.components(float(tau))
        assert low <= np.searchsorted(sums, tau) + 1 <= high


@pytest.mark.parametrize("rounding", ["fp32", "fp64"])
@pytest.mark.parametrize("batch", [1, 7, 128])
@pytest.mark.parametrize("make", [covariance, gram])
def test_a_threshold_at_a_sum_is_left_open_whatever_the_precision(make, batch, rounding):
    x = torch.randn(20, 130, generator=torch.Generator().manual_seed(0)).repeat(5, 1)  # of rank 19
    low, high = make(x, rounding, CPU, batch).spectrum((1.0,)).components(1.0)
    assert low <= 19 <= high
    corners = torch.eye(50)[:3]  # two equal eigenvalues: half of the variance is one of them
    low, high = make(corners, rounding, CPU, batch).spectrum((0.5,)).components(0.5)
    assert low <= 1 <= high


def test_states_of_very_different_scale_merge():
    generator = torch.Generator().manual_seed(0)
    tiny, large = (torch.randn(40, 12, generator=generator) * size for size in (1e-30, 1e6))
    for parts in ((tiny, large), (large, tiny)):
        states = [covariance(part, "fp32", CPU, 16) for part in parts]
        states[0].merge(states[1])
        want = float(torch.cat(parts).double().var(0).sum())
        assert states[0].spectrum(THRESHOLDS).total_variance == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("rounding", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("first", [1, 3])
@pytest.mark.parametrize("make", [covariance, gram])
def test_a_first_batch_of_equal_float64_samples_says_nothing_of_the_scale(make, first, rounding):
    x = torch.randn(300, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:first] = x[0]
    state = make(x, rounding, CPU, first)
    want = float(x.var(0).sum())
    assert state.spectrum(THRESHOLDS).total_variance == pytest.approx(want, rel=1e-2)
