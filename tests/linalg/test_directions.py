"""Lower sums along eigenvectors: never above the exact sums, and sharper than a norm of the error gives."""

import numpy as np
import pytest
import torch

from streamspread.linalg.certificates import sums_along_eigenvectors
from streamspread.linalg.eigenvalues import all_eigenvalues
from streamspread.linalg.panels import SymmetricPanels
from tests.devices import DEVICES


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
@pytest.mark.parametrize("seed", range(20))
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
