"""No interval excludes the true K, however far the data lie from the first batch."""

import numpy as np
import pytest
import torch

from tests.devices import CPU
from tests.samples import TAUS, with_spectrum
from tests.states import EXACT, covariance, leading, solved


def far_from_its_shift(x):
    """A state whose first batch, and so the shift, is one sample of zeros; 16 rows a flush."""
    x = torch.cat([torch.zeros(1, x.shape[1]), x])
    return covariance(x, batch=[1, len(x) - 1], staging_rows=16)


def assert_bounds_hold(state, x):
    sums = np.cumsum(np.linalg.eigvalsh(np.cov(x.double().numpy().T))[::-1])
    found = solved(state, TAUS)
    assert (found.lower_sums <= sums * (1 + 1e-9)).all()
    assert (found.upper_sums >= sums * (1 - 1e-9)).all()


ZEROS = torch.zeros(1, 60)


def test_updates_that_are_all_alike_exclude_no_k():
    generator = torch.Generator().manual_seed(1)
    rows, means = torch.randn(128, 60, generator=generator), torch.randn(60, generator=generator)
    x = torch.cat([torch.zeros(128, 60), (rows + 12.0 * means.sign()).repeat(1000, 1)])
    assert_bounds_hold(covariance(x, batch=[128, len(x) - 128], staging_rows=128), x)


@pytest.mark.parametrize("states", [1, 10])
def test_sums_far_from_their_shift_exclude_no_k_and_a_merge_into_better_ones_does_not_mend_them(states):
    x = with_spectrum("nearly flat", 60_000, 60, 400.0, seed=1)
    state = covariance(x[:20_000], batch=20_000, staging_rows=1024)
    for part in x[20_000:].chunk(states):
        state.merge(far_from_its_shift(part))
    assert_bounds_hold(state, torch.cat([*[ZEROS] * states, x]))


@pytest.mark.parametrize("proof", [True, False])
@pytest.mark.parametrize("seed", range(2))
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
    state = covariance(x, batch=[1, len(x) - 1], staging_rows=256)  # all others lie far from the first
    taus = (0.5, 0.99, 0.999, 0.9998, 0.9999)
    spectrum = solved(state, taus, leading(99, block=16, proof=proof))
    for tau in taus:
        low, high = spectrum.components(tau)
        assert low <= 1 + np.searchsorted(values.cumsum(), tau * values.sum()) <= high


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("amplitude", [20.0, 600.0])
@pytest.mark.parametrize("method", EXACT)
def test_a_first_sample_far_from_all_others_excludes_no_k(method, amplitude, batch):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1500, 120, generator=generator)
    x[0] = amplitude * torch.sign(torch.randn(120, generator=generator))
    values = np.linalg.eigvalsh(np.cov(x.double().numpy().T))[::-1]
    sums = np.cumsum(values) / values.sum()
    spectrum = solved(EXACT[method](x, "fp32", CPU, batch), TAUS)
    for tau in sums[0] + (1 - sums[0]) * np.linspace(0.02, 0.98, 40):
        low, high = spectrum.components(float(tau))
        assert low <= np.searchsorted(sums, tau) + 1 <= high


@pytest.mark.parametrize("rounding", ["fp32", "fp64"])
@pytest.mark.parametrize("batch", [1, 128])
@pytest.mark.parametrize("method", EXACT)
def test_a_threshold_at_a_sum_is_left_open_whatever_the_precision(method, batch, rounding):
    x = torch.randn(20, 130, generator=torch.Generator().manual_seed(0)).repeat(5, 1)  # of rank 19
    low, high = solved(EXACT[method](x, rounding, CPU, batch), (1.0,)).components(1.0)
    assert low <= 19 <= high
    corners = torch.eye(50)[:3]  # two equal eigenvalues: half of the variance is one of them
    low, high = solved(EXACT[method](corners, rounding, CPU, batch), (0.5,)).components(0.5)
    assert low <= 1 <= high
