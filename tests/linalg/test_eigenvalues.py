"""Eigenvalues of panels against numpy's on matrices with prescribed spectra."""

import numpy as np
import pytest
import torch

from streamspread.linalg.eigenvalues import all_eigenvalues, leading_eigenvalues
from streamspread.linalg.panels import SymmetricPanels
from streamspread.spectrum import components_for
from tests.devices import CPU, DEVICES

THRESHOLDS = (0.5, 0.7, 0.9)
N = 400
SPECTRA = {
    "harmonic": 1.0 / np.arange(1, N + 1),
    "steep": 0.9 ** np.arange(N),
    "rank-deficient": np.where(np.arange(N) < 37, 1.0 / np.arange(1, N + 1) ** 0.5, 0.0),
    "one huge": np.concatenate([[1e4], 1.0 / np.arange(1, N) ** 0.7]),
    "steps": np.repeat([10.0, 1.0, 0.1, 0.01], N // 4) * np.linspace(1.01, 1.0, N),
}


def prescribed(values, device, dtype, rows=96):
    rng = np.random.default_rng(len(values))
    vectors = np.linalg.qr(rng.normal(size=(len(values), len(values))))[0]
    panels = SymmetricPanels(len(values), rows, dtype, device)
    panels.add_outer(torch.from_numpy(vectors * np.sqrt(values)).to(device, dtype))
    return panels


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", SPECTRA)
def test_all_eigenvalues(device, name):
    values = SPECTRA[name]
    found = all_eigenvalues(prescribed(values, device, torch.float64), N)
    assert found.complete
    np.testing.assert_allclose(found.values, values, rtol=0, atol=1e-11 * values[0])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leading_eigenvalues_close_every_threshold(device, name, dtype):
    values = SPECTRA[name]
    trace = float(values.sum())
    found = leading_eigenvalues(
        prescribed(values, device, dtype), trace, THRESHOLDS, N, block=32, max_block=N
    )
    truth = np.cumsum(values)
    for tau in THRESHOLDS:
        k = components_for(truth, tau * trace)
        assert components_for(np.cumsum(found.values), tau * trace) == k
        assert components_for(found.upper_sums, tau * trace) == k
    m = len(found.values)
    slack = 1e-5 * trace if dtype == torch.float32 else 1e-11 * trace
    assert np.all(np.cumsum(found.values) <= truth[:m] + slack)
    assert np.all(found.upper_sums >= truth[:m] - slack)


def test_without_proof_the_interval_still_holds_the_truth():
    values = SPECTRA["harmonic"]
    trace, target = float(values.sum()), 0.7 * float(values.sum())
    found = leading_eigenvalues(
        prescribed(values, CPU, torch.float64), trace, (0.7,), N, block=32, max_block=128, proof=False
    )
    k = components_for(np.cumsum(values), target)
    low, high = components_for(found.upper_sums, target), components_for(np.cumsum(found.values), target)
    assert found.proof == "Frobenius norm"
    assert low < k == high


def test_a_block_that_cannot_grow_far_enough_says_so():
    values = SPECTRA["harmonic"]
    found = leading_eigenvalues(
        prescribed(values, CPU, torch.float64), float(values.sum()), (0.99,), N, block=16, max_block=32
    )
    assert len(found.values) == 32
    assert components_for(np.cumsum(found.values), 0.99 * values.sum()) is None


def test_same_seed_same_bits():
    runs = [
        leading_eigenvalues(
            prescribed(SPECTRA["harmonic"], CPU, torch.float32),
            6.57,
            (0.7,),
            N,
            block=32,
            max_block=N,
            seed=3,
        )
        for _ in range(2)
    ]
    assert np.array_equal(runs[0].values, runs[1].values)
    assert np.array_equal(runs[0].upper_sums, runs[1].upper_sums)
