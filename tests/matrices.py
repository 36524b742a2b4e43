"""Matrices with prescribed spectra: as samples, whole, packed into panels, and as bands."""

import numpy as np
import torch

from streamspread.linalg.panels import SymmetricPanels
from tests.devices import CPU


def orthogonal(n, rng):
    """A random orthogonal matrix."""
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


def samples(values, count, rng):
    """(count, n) float64: normal, with variances ``values`` along random orthogonal directions."""
    basis = orthogonal(len(values), rng)
    return rng.normal(size=(count, len(values))) * np.sqrt(values) @ basis.T


def factor(values, dtype):
    """(n, n) whose product with its own transpose has these eigenvalues, but for rounding."""
    vectors = orthogonal(len(values), np.random.default_rng(len(values)))
    return torch.from_numpy(vectors * np.sqrt(values)).to(dtype)


def prescribed(values, device, dtype, rows=96):
    """Panels of a matrix with these eigenvalues, summed up 64 columns of a factor at a time."""
    panels = SymmetricPanels(len(values), rows, dtype, device)
    for columns in factor(values, dtype).to(device).split(64, 1):
        panels.add_outer(columns)
    return panels


def exact_panels(panels):
    """The same panels of float64 as sums that were never rounded."""
    exact = SymmetricPanels(panels.n, panels.rows, panels.dtype, panels.device, True, panels.panels)
    exact.u_NR, exact.m_RR = panels.u_NR, panels.m_RR
    return exact


def packed(n, rows, device=CPU, dtype=torch.float64, *, seed=0, fall=0.0, low_rank=False):
    """Panels of a random positive definite matrix, and the dense float64 matrix (on the CPU) that they hold.

    Its eigenvalues fall about as k^(−2·``fall``). ``low_rank``: with a correction of rank two.
    """
    generator = torch.Generator().manual_seed(seed)
    columns = 2 * n + 5
    x = torch.randn(n, columns, generator=generator, dtype=torch.float64)
    x *= torch.arange(1, columns + 1, dtype=torch.float64) ** -fall
    panels = SymmetricPanels(n, rows, dtype, device)
    panels.add_outer(x.to(device, dtype))
    dense = x @ x.T
    if low_rank:
        u = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        m = torch.tensor([[0.5, 0.2], [0.2, 0.0]], dtype=torch.float64)
        panels.u_NR, panels.m_RR = u.to(device), m.to(device)
        dense = dense + u @ m @ u.T
    return panels, dense


def diagonal(values, exact=None):
    """float32 panels of a diagonal matrix, that should have held the ``exact`` values; None: these."""
    panels = SymmetricPanels(len(values), 50, torch.float32, CPU)
    for begin, end, panel in panels.spans():
        panel.diagonal(begin).copy_(torch.as_tensor(values[begin:end]))
    exact = torch.as_tensor(values if exact is None else exact, dtype=torch.float64)
    panels.probes.y_NM = exact[:, None] * panels.probes.z_NM
    return panels


def of_dense(matrix, rows, exact=None):
    """float32 panels of a symmetric matrix (a tensor), that should have been ``exact``; None: it is."""
    panels = SymmetricPanels(len(matrix), rows, torch.float32, CPU)
    for begin, end, panel in panels.spans():
        panel.copy_(matrix[begin:end, :end])
    panels.probes.y_NM = (matrix if exact is None else exact).double() @ panels.probes.z_NM
    return panels


def random_band(n, bandwidth, seed=0):
    """(n, 2·bandwidth): random numbers in the diagonals of a band matrix; entry (j, d) is A[j + d, j]."""
    rng = np.random.default_rng(seed)
    band = np.zeros((n, 2 * bandwidth))
    for distance in range(min(bandwidth + 1, n)):
        band[: n - distance, distance] = rng.normal(size=n - distance)
    return band


def of_band(band):
    """The dense symmetric matrix of a band (n, bandwidth + 1)."""
    n, bandwidth = len(band), band.shape[1] - 1
    dense = np.zeros((n, n))
    for distance in range(min(bandwidth + 1, n)):
        column = np.arange(n - distance)
        dense[column + distance, column] = dense[column, column + distance] = band[column, distance]
    return dense
