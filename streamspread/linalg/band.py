"""All eigenvalues of packed panels, in the panels' own memory: reduction to a band matrix by block products,
whose eigenvalues LAPACK finds on the CPU.

LAPACK's and cuSOLVER's solvers want the square matrix and one to four more of its size. Here the triangle
stays packed, and only a few blocks of vectors lie beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from streamspread.linalg.panels import SymmetricPanels
from streamspread.system import devices
from streamspread.system.devices import Profile
from streamspread.system.torch_state import switched

#: Subdiagonals of the band. A wider one makes larger products of the first stage and more work of the second:
#: at an order of 12,288 two CPU cores take 34 + 6 s with 32 of them, and 23 + 10 s with 64.
WIDTH = 64


def band_eigenvalues_(
    matrix: SymmetricPanels,
    bandwidth: int = WIDTH,
    progress: Callable[[float], None] | None = None,
    profile: Profile | None = None,
) -> np.ndarray:
    """All eigenvalues of A, float64, ascending. Uses up A: the panels are ``spent``.

    Only what is stored in the panels is rounded to their dtype; the terms subtracted from them, and the band,
    are float64.

    Args:
        matrix: symmetric, order n.
        bandwidth: subdiagonals of the band.
        progress: called with the share of the work that is done.
        profile: how much is widened to float64 at a time; None: as suits the device.
    """
    from scipy.linalg import eigvals_banded  # slow to load

    bandwidth = min(matrix.n, bandwidth)
    report = progress or (lambda done: None)
    report(0.0)
    # Shares of the time as measured on two CPU cores at an order of 16,384; a card is faster at the first.
    with switched(matrices=False):
        band_ND = reduce_to_band_(matrix, bandwidth, lambda done: report(0.7 * done), profile)
    values_N: np.ndarray = eigvals_banded(band_ND.T, lower=True, overwrite_a_band=True, check_finite=False)
    report(1.0)
    return values_N


def band_bytes(n: int, dtype: torch.dtype, device: torch.device) -> int:
    """Peak bytes that :func:`band_eigenvalues_` takes beside the panels, on their device."""
    bandwidth = min(n, WIDTH)
    chunk = _chunk_rows(n, devices.profile(device)) * n * 8
    vectors = n * bandwidth * (5 * 8 + 6 * dtype.itemsize)  # block rows, V, A·V and W, some twice
    strips = 2 * n * bandwidth * 8
    on_host = 2 * strips if device.type == "cpu" else 0  # the band, LAPACK's copy, and indices
    return chunk + vectors + strips + on_host


def reduce_to_band_(
    matrix: SymmetricPanels,
    bandwidth: int,
    progress: Callable[[float], None] | None = None,
    profile: Profile | None = None,
) -> np.ndarray:
    """A band matrix with A's eigenvalues: (n, bandwidth + 1) float64, in LAPACK's order: entry (j, d) is that
    of row j + d, column j.

    Works from the last rows up. With X the last ``bandwidth`` rows, left of their diagonal block, an
    orthogonal Q turns Xᵀ into a triangle below zeros, and QᵀAQ takes the place of A above them (Bischof, Lang
    & Sun 2000, "A framework for symmetric band reduction", §2; in compact WY form, Schreiber & Van Loan
    1989). Uses up A.
    """
    matrix.apply_low_rank_()
    n = matrix.n
    triangle = matrix.used_up(_chunk_rows(n, profile or devices.profile(matrix.device)))
    strips: list[tuple[int, torch.Tensor]] = []
    top = n
    while top > 0:
        begin = (top - 1) // bandwidth * bandwidth
        rows_MN = triangle("rows", begin, top)
        if begin > 0:
            v_NB, t_BB, triangle_BB = _reflect(rows_MN[:, :begin])
            _apply_(triangle, begin, v_NB, t_BB)
            rows_MN = torch.cat([triangle_BB, rows_MN[:, begin:].double()], dim=1)
        strips.append((begin, rows_MN))
        top = begin
        if progress is not None:
            progress(1.0 - (begin / n) ** 3)
    return _band(strips, n, bandwidth)


def _chunk_rows(n: int, profile: Profile) -> int:
    return max(profile.band_rows, min(profile.band_numbers // n, n // 8))


def _reflect(x_BN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(V, T, L) with X·(I − V T Vᵀ) = [0 … 0, L] and L (B, B) upper triangular: a QR decomposition of Xᵀ,
    read from its last row and column on.

    V is rounded to X's dtype; T and L are float64 and computed from the rounded V.
    """
    x_BN, dtype, size = x_BN.double(), x_BN.dtype, x_BN.shape[0]
    factor_NB, tau_B = torch.geqrf(x_BN.flip(0, 1).T)
    v_NB = factor_NB.tril(-1)
    v_NB.diagonal().copy_(tau_B != 0)  # where tau is 0 a column is reflected already: it stays
    v_NB = v_NB.flip(0).to(dtype)
    wide_NB = v_NB.double()
    # T's inverse holds VᵀV above the diagonal and half of it on the diagonal: so Q is orthogonal for the
    # rounded V too.
    gram_BB = wide_NB.T @ wide_NB
    inverse_BB = gram_BB.triu(1)
    inverse_BB.diagonal().copy_(torch.where(tau_B != 0, gram_BB.diagonal() / 2, 1.0))
    identity_BB = torch.eye(size, dtype=torch.float64, device=x_BN.device)
    t_BB = torch.linalg.solve_triangular(inverse_BB, identity_BB, upper=True)
    corner_BB = x_BN[:, -size:] - (x_BN @ wide_NB) @ t_BB @ wide_NB[-size:].T
    return v_NB, t_BB, corner_BB.triu()


def _apply_(triangle: Callable[..., Any], n: int, v_NB: torch.Tensor, t_BB: torch.Tensor) -> None:
    """A ← QᵀAQ in the leading n rows, for Q = I − V T Vᵀ.

    The factors of the update are computed in float64: sums of float32 products err in one direction where a
    single component holds most of A.
    """
    wide_NB = v_NB.double()
    # With Y = A V T: QᵀAQ = A − V Wᵀ − W Vᵀ, where W = Y − V (Tᵀ VᵀY)/2.
    y_NB = triangle("product", n, v_NB) @ t_BB
    y_NB -= wide_NB @ (t_BB.T @ (wide_NB.T @ y_NB) / 2)
    triangle("subtract", n, v_NB, y_NB.to(v_NB.dtype))


def _band(strips: list[tuple[int, torch.Tensor]], n: int, bandwidth: int) -> np.ndarray:
    """The band of block rows that end with their diagonal block, ordered by column and distance from the
    diagonal."""
    band_ND = np.zeros((n, bandwidth + 1))
    for begin, rows_MN in strips:
        rows = rows_MN.double().cpu().numpy()
        size, columns = rows.shape
        for distance in range(min(bandwidth + 1, begin + size)):
            # Entries (row, row − distance) of these rows, as far as there are such columns.
            low = max(0, distance - begin)
            row = np.arange(low, size)
            column = row + (columns - size) - distance  # in the strip, whose last column is the matrix's
            inside = column >= 0
            band_ND[begin + row[inside] - distance, distance] = rows[row[inside], column[inside]]
    return band_ND
