"""Eigenvalues of panels against numpy's on matrices with prescribed spectra."""

import numpy as np
import pytest
import torch

from streamspread.linalg.eigenvalues import Search, leading_eigenvalues
from streamspread.linalg.panels import SymmetricPanels
from streamspread.results.spectrum import components_for
from tests.devices import CPU, DEVICES
from tests.matrices import exact_panels, prescribed
from tests.solving import METHODS, SPECTRA, THRESHOLDS, N, solved


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_threshold_one_is_an_interval_up_to_the_rank(method, dtype):
    values = SPECTRA["rank-deficient"]
    low, high = solved(method, prescribed(values, CPU, dtype), float(values.sum())).components(1.0)
    assert low <= 37 <= high <= N


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leading_eigenvalues_close_every_threshold(device, name, dtype):
    values = SPECTRA[name]
    trace = float(values.sum())
    computed = leading_eigenvalues(
        prescribed(values, device, dtype), trace, THRESHOLDS, N, Search(block=32, max_block=N)
    )
    truth = np.cumsum(values)
    for tau in THRESHOLDS:
        k = components_for(truth, tau * trace)
        assert components_for(np.cumsum(computed.values), tau * trace) == k
        assert components_for(computed.upper_sums, tau * trace) == k
    m = len(computed.values)
    slack = 1e-5 * trace if dtype == torch.float32 else 1e-11 * trace
    assert np.all(np.cumsum(computed.values) <= truth[:m] + slack)
    assert np.all(computed.upper_sums >= truth[:m] - slack)


@pytest.mark.parametrize("proof", [False, True])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("n", [2, 8, 16, 17, 33])
def test_orders_of_about_a_block(n, dense, proof):
    values = 1.0 / np.arange(1, n + 1)
    trace, sums = float(values.sum()), np.cumsum(values)
    panels = prescribed(values, CPU, torch.float32)
    search = Search(block=16, max_block=n, dense=dense, proof=proof)
    computed = leading_eigenvalues(panels, trace, THRESHOLDS, n, search)
    for tau in THRESHOLDS:
        k = components_for(sums, tau * trace)
        assert components_for(computed.lower_sums, tau * trace) == k
        assert components_for(computed.upper_sums, tau * trace) == k


@pytest.mark.parametrize("dense", [False, True])
def test_a_search_gives_the_same_bits_again(dense):
    search = Search(block=32, max_block=N // 2, dense=dense)
    one, other = (
        leading_eigenvalues(prescribed(SPECTRA["harmonic"], CPU, torch.float32), 6.57, (0.7,), N, search)
        for _ in range(2)
    )
    assert np.array_equal(one.values, other.values)
    assert np.array_equal(one.upper_sums, other.upper_sums)


# K beyond the largest block; and within it, but with eigenvalues outside that are as large as those inside.
@pytest.mark.parametrize(
    ("values", "tau", "max_block"),
    [(SPECTRA["harmonic"], 0.99, 32), (np.linspace(1.0, 0.98, N), 0.7, 300)],
    ids=["beyond the block", "flat"],
)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_where_no_bound_on_the_others_proves_k_all_eigenvalues_do(dtype, device, values, tau, max_block):
    shares = []
    trace, truth = float(values.sum()), np.cumsum(values)
    panels = prescribed(values, device, dtype)
    search = Search(block=16, max_block=max_block, progress=shares.append)
    computed = leading_eigenvalues(panels, trace, (0.5, tau), N, search)
    assert computed.proof == "all eigenvalues, in place"
    assert computed.complete
    for threshold in (0.5, tau):
        k = components_for(truth, threshold * trace)
        assert components_for(computed.upper_sums, threshold * trace) == k
        assert components_for(np.cumsum(computed.values), threshold * trace) == k
    assert len(shares) > 1


def test_a_threshold_out_of_reach_does_not_leave_the_others_open():
    values = SPECTRA["harmonic"]
    trace, sums = float(values.sum()), np.cumsum(values)
    lows = []
    for thresholds in ((0.5, 0.7), (0.5, 0.7, 0.99)):
        panels = prescribed(values, CPU, torch.float32)
        computed = leading_eigenvalues(
            panels, trace, thresholds, N, Search(block=32, max_block=120, proof=False)
        )
        lows.append([components_for(computed.upper_sums, tau * trace) for tau in (0.5, 0.7)])
        for tau in (0.5, 0.7):
            assert components_for(np.cumsum(computed.values), tau * trace) == components_for(
                sums, tau * trace
            )
    assert lows[0] == lows[1]


def test_a_threshold_that_no_sum_can_reach_does_not_use_up_the_matrix():
    values = SPECTRA["steep"]
    panels = prescribed(values, CPU, torch.float32)
    computed = leading_eigenvalues(panels, float(values.sum()), (0.5, 1.0), N, Search(block=32, max_block=64))
    assert not computed.complete
    k = components_for(np.cumsum(values), 0.5 * values.sum())
    assert components_for(computed.upper_sums, 0.5 * values.sum()) == k
    assert components_for(np.cumsum(computed.values), 0.5 * values.sum()) == k


@pytest.mark.parametrize("k", [46, 58, 67])
def test_a_basis_that_fills_the_largest_block_is_not_trusted_with_a_hopeless_bound(k):
    values = SPECTRA["harmonic"][:300]
    trace, sums = float(values.sum()), np.cumsum(values)
    tau = float((sums[k - 1] - values[k - 1] / 10) / trace)
    panels = prescribed(values, CPU, torch.float32)
    computed = leading_eigenvalues(panels, trace, (tau,), 300, Search(block=16, max_block=75))
    assert components_for(computed.upper_sums, tau * trace) == k
    assert components_for(np.cumsum(computed.values), tau * trace) == k


@pytest.mark.parametrize("distance", [-3e-7, 3e-7])
@pytest.mark.parametrize("k", [20, 60])
def test_exact_sums_close_a_k_that_a_copy_in_float32_leaves_open(k, distance):
    values = SPECTRA["harmonic"]
    trace, sums = float(values.sum()), np.cumsum(values)
    tau = float(sums[k - 1] / trace) + distance
    panels = exact_panels(prescribed(values, CPU, torch.float64))
    computed = leading_eigenvalues(panels, trace, (tau,), N, Search(block=16, max_block=200))
    right = components_for(sums, tau * trace)
    assert right == (k if distance < 0 else k + 1)
    assert components_for(computed.lower_sums, tau * trace) == right
    assert components_for(computed.upper_sums, tau * trace) == right
    assert not computed.complete
    assert not panels.spent


@pytest.mark.parametrize("proof", [False, True])
@pytest.mark.parametrize("far", [0.0, 30.0])
def test_bounds_of_exact_sums_hold_in_whichever_copy_they_were_found(far, proof):
    x = torch.randn(500, 800, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x *= torch.arange(1, 801, dtype=torch.float64) ** -0.6
    panels = SymmetricPanels(500, 96, torch.float64, CPU)
    panels.add_outer(x + far)
    panels = exact_panels(panels)
    panels.centre()
    centred = x - x.mean(0)
    truth = np.linalg.eigvalsh((centred @ centred.T).numpy())[::-1].clip(0).cumsum()
    trace = float(truth[-1])
    search = Search(block=16, max_block=250, proof=proof)
    computed = leading_eigenvalues(panels, trace, (0.3, 0.5), 499, search)
    assert np.all(computed.lower_sums <= truth[: len(computed.lower_sums)] + 1e-9 * trace)
    assert np.all(computed.upper_sums >= truth[: len(computed.upper_sums)] - 1e-9 * trace)
    for tau in (0.3, 0.5) if proof else ():
        assert components_for(computed.lower_sums, tau * trace) == components_for(truth, tau * trace)
        assert components_for(computed.upper_sums, tau * trace) == components_for(truth, tau * trace)
