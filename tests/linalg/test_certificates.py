"""What rounding does to sums of eigenvalues: bounds leave room for it, and for not much more."""

import functools

import numpy as np
import pytest
import torch

from streamspread.linalg import eigenvalues
from streamspread.linalg.certificates import Slack, sums_along_eigenvectors, sums_between, worth_vectors
from streamspread.linalg.eigenvalues import Search, all_eigenvalues, leading_eigenvalues
from streamspread.linalg.panels import SymmetricPanels
from streamspread.results.spectrum import components_for
from tests import matrices, tensor_cores
from tests.devices import CPU, DEVICES
from tests.matrices import factor, prescribed
from tests.solving import METHODS, SPECTRA, N, of_trace_one, solved


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("in_place", [False, True])
def test_all_eigenvalues_of_float32_sums_are_bounds_that_lie_close(device, name, in_place):
    values = SPECTRA[name]
    x = factor(values, torch.float32).double()
    trace = float(x.square().sum())
    truth = np.linalg.eigvalsh((x @ x.T).numpy())[::-1].clip(0).cumsum()
    panels = prescribed(values, device, torch.float32)
    computed = all_eigenvalues(panels, trace, N, in_place=in_place)
    assert computed.complete
    assert np.all(np.diff(computed.values) <= 0)
    assert np.all(computed.values >= 0)
    near, close = 1e-12 * trace, 2e-5 * trace
    assert np.all((truth - close <= computed.lower_sums) & (computed.lower_sums <= truth + near))
    assert np.all((truth - near <= computed.upper_sums) & (computed.upper_sums <= truth + close))
    assert computed.upper_sums[-1] == trace


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SPECTRA)
def test_a_threshold_close_to_a_sum_does_not_close_a_wrong_k(name, method):
    x = factor(SPECTRA[name], torch.float32).double()
    trace = float(x.square().sum())
    sums = np.linalg.eigvalsh((x @ x.T).numpy())[::-1].clip(0).cumsum() / trace
    spectrum = solved(method, prescribed(SPECTRA[name], CPU, torch.float32), trace)
    for distance in (-1e-7, -5e-8, -1e-8, -1e-9, 1e-9, 1e-8, 5e-8, 1e-7):
        for tau in sums + distance:
            if tau <= 1:
                low, high = spectrum.components(tau)
                assert low <= (components_for(sums, tau) or N) <= high


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["harmonic", "steep", "steps"])
def test_sums_that_lost_a_little_of_everything_are_found_by_the_probes(name, method):
    panels = prescribed(SPECTRA[name], CPU, torch.float32)
    exact = panels.probes.y_NM.clone()
    panels.multiply_(1 - 1e-5)  # as sums that are cut off instead of rounded
    panels.probes.y_NM = exact
    trace = float(SPECTRA[name].sum())
    sums = np.cumsum(SPECTRA[name]) / trace
    spectrum = solved(method, panels, trace)
    for k in range(1, N // 2):
        low, high = spectrum.components(sums[k - 1] - 5e-6)
        assert low <= components_for(sums, sums[k - 1] - 5e-6) <= high


def even_and_flat(n, scale):
    """Panels of one component that all entries share evenly and that holds nearly everything, a flat rest:
    a sum over a row has terms of one size and sign, so its rounding errors add up."""
    vectors = np.ones((1, 1))
    while len(vectors) < n:
        vectors = np.block([[vectors, vectors], [vectors, -vectors]])
    values = scale * np.concatenate([[0.999], np.linspace(2, 1, n - 1) * 1e-3 / (1.5 * n)])
    return matrices.of_dense(torch.from_numpy(vectors * values / n @ vectors.T).float(), 512)


@pytest.mark.parametrize("method", ["leading", "leading, proved", "all", "all in place"])
@pytest.mark.parametrize(("n", "scale"), [(1024, 0.7), (2048, 1.3)])
def test_errors_that_add_up_in_a_large_component_exclude_no_k(n, scale, method):
    panels = even_and_flat(n, scale)
    truth = np.linalg.eigvalsh(panels.dense(torch.float64).numpy())[::-1]
    trace, sums = float(truth.sum()), np.cumsum(truth)
    taus = {k: float((sums[k - 1] - truth[k - 1] / 2) / trace) for k in (n // 50, n // 15, n // 8)}
    if method in ("all", "all in place"):
        in_place = method == "all in place"
        computed = all_eigenvalues(panels, trace, n, in_place=in_place)
    else:
        proof = method == "leading, proved"
        computed = leading_eigenvalues(
            panels, trace, list(taus.values()), n, Search(block=64, max_block=n // 2, proof=proof)
        )
    for k, tau in taus.items():
        low = components_for(computed.upper_sums, tau * trace)
        high = components_for(computed.lower_sums, tau * trace) or n
        assert low <= k <= high


def test_what_was_summed_far_from_the_shift_leaves_more_uncertain():
    x = torch.randn(200, 300, generator=torch.Generator().manual_seed(0))
    near, far = (SymmetricPanels(200, 64, torch.float32, CPU) for _ in range(2))
    near.add_outer(x)
    far.add_outer(x + 100.0)
    one = torch.full((200, 1), 100.0, dtype=torch.float64)
    far.u_NR = torch.cat([one, x.double().sum(1, keepdim=True)], 1)
    far.m_RR = torch.tensor([[-300.0, -1.0], [-1.0, 0.0]], dtype=torch.float64)
    trace = float(x.double().square().sum())
    width = [
        float(computed.upper_sums[9] - computed.lower_sums[9])
        for computed in (all_eigenvalues(panels, trace, 200) for panels in (near, far))
    ]
    assert width[1] > 300 * width[0]


@pytest.mark.parametrize("in_place", [False, True])
def test_a_negative_eigenvalue_tells_how_far_others_may_be_off(in_place):
    values = [0.9001, 0.05, 0.05, -1e-4]  # of sums that should be 0.9, 0.05, 0.05, 0
    panels = matrices.diagonal(values, [0.9, 0.05, 0.05, 0.0])
    computed = all_eigenvalues(panels, 1.0, 4, in_place=in_place)
    assert computed.lower_sums[0] <= 0.9
    assert computed.upper_sums[0] >= 0.9001


@pytest.mark.parametrize("in_place", [False, True])
def test_one_negative_eigenvalue_does_not_hide_all_small_ones(in_place):
    n = 500
    values = np.concatenate([[0.99], np.full(n - 2, 0.01 / (n - 2)), [-1.5e-5]])
    computed = all_eigenvalues(matrices.diagonal(values), 1.0, n, in_place=in_place)
    assert np.count_nonzero(computed.values) >= n - 4


@pytest.mark.parametrize("error", [3e-5, -3e-5])
def test_products_that_err_by_a_share_of_themselves_are_found_by_the_norm(error, monkeypatch):
    values = np.concatenate([[0.99], np.linspace(1.1, 0.9, N - 1) * 0.01 / (N - 1)])
    panels, truth = prescribed(values, CPU, torch.float32), np.cumsum(values)

    def solve(matrix, progress=None, profile=None):  # the trace is right, and the largest value is not
        wrong = values[::-1].copy()
        wrong[-1] += error
        wrong[: N // 2] -= error / (N // 2)
        return wrong

    monkeypatch.setattr(eigenvalues, "band_eigenvalues_", solve)
    computed = all_eigenvalues(panels, 1.0, N, in_place=True)
    assert np.all(computed.lower_sums <= truth + 1e-12)
    assert np.all(computed.upper_sums >= truth - 1e-12)


@pytest.mark.parametrize("others", [(), (0.5, 0.8)])
@pytest.mark.parametrize("name", ["harmonic", "steep", "one huge"])
def test_a_threshold_within_rounding_of_a_sum_stays_open_by_one_at_no_more_cost(name, others):
    values = SPECTRA[name]
    trace, sums = float(values.sum()), np.cumsum(values)
    k = components_for(sums, 0.7 * trace)
    tau = float(sums[k - 1] / trace)  # k or k + 1: nothing in float32 can tell
    panels = prescribed(values, CPU, torch.float32)
    computed = leading_eigenvalues(panels, trace, (*others, tau), N, Search(block=32, max_block=N))
    assert not computed.complete  # all eigenvalues would not have told either
    assert components_for(computed.upper_sums, tau * trace) == k
    assert components_for(computed.lower_sums, tau * trace) == k + 1
    for other in others:
        want = components_for(sums, other * trace)
        assert components_for(computed.upper_sums, other * trace) == want
        assert components_for(computed.lower_sums, other * trace) == want


@functools.cache
def cut_off(name, model, far=0.0):
    """The scatter of 4,096 samples about a shift as tensor cores sum it, and their mean; the trace and the
    sums of eigenvalues about the mean as they should be, and the scatter itself. All but the first 8 samples
    lie ``far`` deviations from the shift.
    """
    random = np.random.default_rng(5)
    n = 64
    if name == "grey images":  # few bits, so that squares lose less than other products do
        x = 128 + 3 * random.normal(size=(4096, n))
        x += np.exp(0.3 * random.normal(size=n)) * 40 * random.normal(size=(4096, 1))
        x = x.clip(0, 255).round()
        x -= x[:8].mean(0)
    else:
        x = matrices.samples(SPECTRA[name][:n], 4096, random)
        x *= 100 / np.abs(x).max()
    x[8:] += far * x.std()
    x = x.astype(np.float16).astype(np.float64)
    mean_D = x.mean(0)
    dense = tensor_cores.gram(x, len(x), *tensor_cores.MODELS[model])
    exact = torch.from_numpy(x.T @ x)
    values = np.linalg.eigvalsh(x.T @ x - len(x) * np.outer(mean_D, mean_D))[::-1].clip(0)
    return dense, exact, mean_D, float(values.sum()), np.cumsum(values)


def spectrum_of_what_is_cut_off(method, name, model, taus, far=0.0):
    dense, exact, mean_D, trace, _ = cut_off(name, model, far)
    panels = matrices.of_dense(torch.from_numpy(dense), 20, exact)
    panels.set_diagonal_(exact.diagonal())
    panels.u_NR = torch.from_numpy(mean_D)[:, None]
    panels.m_RR = torch.full((1, 1), -4096.0, dtype=torch.float64)
    if method == "leading":
        computed = leading_eigenvalues(panels, trace, taus, 64, Search(block=16, max_block=64))
    else:
        computed = all_eigenvalues(panels, trace, 64, in_place=method == "all in place")
    return of_trace_one(computed, trace, 64)


@pytest.mark.parametrize("far", [0.0, 30.0])
@pytest.mark.parametrize("model", tensor_cores.MODELS)
@pytest.mark.parametrize("name", ["harmonic", "steep", "grey images"])
@pytest.mark.parametrize("method", METHODS)
def test_sums_that_are_cut_off_exclude_no_k(method, name, model, far):
    *_, trace, sums = cut_off(name, model, far)
    distances = np.outer([1, -1], [1e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4]).ravel()
    taus = [float(tau) for tau in np.add.outer(sums[:50:7] / trace, distances).ravel() if tau < 1]
    spectrum = spectrum_of_what_is_cut_off(method, name, model, taus, far)
    for tau in taus:
        low, high = spectrum.components(tau)
        assert low <= components_for(sums, tau * trace) <= high


@pytest.mark.parametrize("model", tensor_cores.MODELS)
@pytest.mark.parametrize("name", ["harmonic", "steep", "steps"])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_cut_off_widens_no_interval_by_much_more(method, name, model):
    dense, _, mean_D, trace, sums = cut_off(name, model)
    lost = 1 - (np.trace(dense) - 4096 * float(mean_D @ mean_D)) / trace
    assert 1e-5 < lost < 1e-4
    taus = [float(sums[7] / trace + distance) for distance in (-1.6 * lost, 3.1 * lost)]
    spectrum = spectrum_of_what_is_cut_off(method, name, model, taus)
    assert [spectrum.components(tau) for tau in taus] == [(8, 8), (9, 9)]


def summed(n, seed, device):
    """Float32 sums of a product, and the eigenvalues of its float64 value, descending."""
    generator = torch.Generator().manual_seed(seed)
    scales_N = torch.arange(1, n + 1, dtype=torch.float64) ** -0.5
    x_NK = (scales_N[:, None] * torch.randn(n, 3 * n, generator=generator, dtype=torch.float64)).float()
    panels = SymmetricPanels(n, 64, torch.float32, device)
    for columns in x_NK.to(device).split(n // 2, dim=1):
        panels.add_outer(columns)
    exact_NN = x_NK.double() @ x_NK.double().T
    panels.set_diagonal_(exact_NN.diagonal().to(device))
    return panels, torch.linalg.eigvalsh(exact_NN).numpy()[::-1]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(8))
def test_they_hold_and_are_sharper_than_the_norm(seed, device):
    panels, exact_N = summed(150, seed, device)
    sums_K = sums_along_eigenvectors(panels, 100, panels.squared_norm())
    below_K = np.cumsum(exact_N)[:100] - sums_K
    assert (below_K >= 0.0).all()
    by_norm = all_eigenvalues(panels, float(exact_N.sum()), 150)
    loose_K = np.cumsum(exact_N)[:100] - by_norm.lower_sums[:100]
    assert below_K[70:].max() < 0.7 * loose_K[70:].min()


@pytest.mark.parametrize("device", DEVICES)
def test_they_close_what_the_norm_leaves_open(device):
    panels, exact_N = summed(150, 3, device)
    total = float(exact_N.sum())
    by_norm = all_eigenvalues(panels, total, 150)
    k = 80
    sums_N = np.cumsum(exact_N)
    target = (by_norm.lower_sums[k - 1] + sums_N[k - 1]) / 2
    closed = all_eigenvalues(panels, total, 150, thresholds=[target / total])
    assert by_norm.lower_sums[k - 1] < target < closed.lower_sums[k - 1]
    assert (np.diff(closed.lower_sums) >= 0.0).all()
    assert (closed.lower_sums <= closed.upper_sums).all()
    # Where no threshold is open no eigenvectors are computed.
    far = all_eigenvalues(
        panels, total, 150, thresholds=[(np.cumsum(exact_N)[k - 1] + exact_N[k] / 2) / total]
    )
    np.testing.assert_array_equal(far.lower_sums, by_norm.lower_sums)


VALUES = np.array([5.0, 3.0, 1.5, 0.5])


def test_bounds_enclose_the_sums_by_the_smaller_of_head_and_tail():
    lower, upper = sums_between(VALUES, Slack(0.01, 0.0), 10.0, 4)
    sums = np.cumsum(VALUES)
    assert (lower <= sums).all()
    assert (sums <= upper).all()
    np.testing.assert_allclose((sums - lower)[:3], 0.01 * np.sqrt([1, 2, 1]), rtol=1e-9)
    assert upper[-1] == 10.0


@pytest.mark.parametrize(
    ("targets", "most"),
    [
        ([7.95], 2),  # the sum of two, 8.0, reaches it, and its lower bound does not
        ([8.05], 0),  # only an upper bound reaches it: vectors give none
        ([7.0], 0),  # closed
        ([10.0], 0),  # the trace itself
        ([4.95, 7.95, 7.0], 2),
        ([], 0),
    ],
)
def test_vectors_are_for_sums_that_reach_a_target(targets, most):
    lower, upper = sums_between(VALUES, Slack(0.1, 0.0), 10.0, 4)
    assert worth_vectors(VALUES, lower, upper, targets) == most
