"""All eigenvalues of packed panels, in the panels' own memory: to a band by block products, then on the CPU.

LAPACK's and cuSOLVER's solvers want the square matrix and one to four more of its size. Here the triangle
stays packed, and a few vectors are all that is needed beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from streamspread.linalg.panels import SymmetricPanels
from streamspread.system.switches import switched

#: Subdiagonals of the band: wider ones make larger products of the first stage, and more work of the second.
#: At an order of 12,288 two CPU cores take 34 + 6 s with 32 of them, and 23 + 10 s with 64.
WIDTH = 64

# Numbers of the triangle that are widened to float64 at a time, at the most, and rows at the least; on a CPU
# they stay in its cache.
_CHUNK_NUMBERS = {"cpu": 1 << 20, "cuda": 1 << 23}
_LEAST_ROWS = 64


def band_eigenvalues_(
    matrix: SymmetricPanels, width: int = WIDTH, progress: Callable[[float], None] | None = None
) -> np.ndarray:
    """All eigenvalues of A, float64, ascending. Uses up A: the panels are ``spent``.

    Only the panels are rounded to their dtype: whatever is taken off them, and the band, is float64.

    Args:
        matrix: symmetric, order n.
        width: of the band.
        progress: called with the share of the work that is done.
    """
    from scipy.linalg import eigvalsh_tridiagonal  # slow to load, as is Numba

    from streamspread.kernels.tridiagonal import tridiagonal

    width = min(matrix.n, width)
    report = progress or (lambda done: None)
    report(0.0)
    # Shares of the time as measured on two CPU cores at an order of 16,384; a card is faster at the first.
    with switched(matrices=False):
        band_ND = reduce_to_band_(matrix, width, lambda done: report(0.7 * done))
    exponent = int(np.frexp(np.abs(band_ND).max())[1])
    band_ND = np.ldexp(band_ND, -exponent)  # squares of the smallest numbers would be 0
    diagonal, subdiagonal = tridiagonal(band_ND, width, lambda done: report(0.7 + 0.2 * done))
    values_N = np.ldexp(eigvalsh_tridiagonal(diagonal, subdiagonal, lapack_driver="sterf"), exponent)
    report(1.0)
    return values_N


def band_bytes(n: int, dtype: torch.dtype, device: torch.device) -> int:
    """Peak bytes that :func:`band_eigenvalues_` takes on the panels' device beside them."""
    width = min(n, WIDTH)
    chunk = _chunk_rows(n, device) * n * 8
    vectors = n * width * (5 * 8 + 6 * dtype.itemsize)  # block rows, V, A·V and W, some twice
    strips = 2 * n * width * 8
    on_host = 3 * strips if device.type == "cpu" else 0  # the band, a scaled copy, and indices
    return chunk + vectors + strips + on_host


def reduce_to_band_(
    matrix: SymmetricPanels, width: int, progress: Callable[[float], None] | None = None
) -> np.ndarray:
    """A band matrix with A's eigenvalues: (n, 2·width) float64, entry (j, d) at row j + d and column j.

    From the last rows up: with X the ``width`` rows at the end left of their diagonal block, an orthogonal Q
    turns Xᵀ into a triangle below zeros, and QᵀAQ takes the place of A above (Bischof, Lang & Sun 2000, "A
    framework for symmetric band reduction", §2; in compact WY form, Schreiber & Van Loan 1989). Uses up A.
    """
    matrix.apply_low_rank_()
    n = matrix.n
    height = _chunk_rows(n, matrix.device)
    panels = [part for panel in matrix.spans() for part in _split(*panel, height)]
    matrix.spent = True
    strips: list[tuple[int, torch.Tensor]] = []
    top = n
    while top > 0:
        begin = (top - 1) // width * width
        rows_MN = _rows(panels, begin, top)
        if begin > 0:
            v_NB, t_BB, triangle_BB = _reflect(rows_MN[:, :begin])
            _apply_(panels, begin, v_NB, t_BB)
            rows_MN = torch.cat([triangle_BB, rows_MN[:, begin:].double()], dim=1)
        strips.append((begin, rows_MN))
        top = begin
        if progress is not None:
            progress(1.0 - (begin / n) ** 3)
    return _band(strips, n, width)


def _chunk_rows(n: int, device: torch.device) -> int:
    return max(_LEAST_ROWS, min(_CHUNK_NUMBERS[device.type] // n, n // 8))


def _rows(panels: list[tuple[int, int, torch.Tensor]], begin: int, end: int) -> torch.Tensor:
    """Rows begin … end of the lower triangle, (end − begin, end); right of the diagonal is not to be read."""
    rows_MN = panels[0][2].new_zeros(end - begin, end)
    for first, beyond, panel in panels:
        low, high = max(first, begin), min(beyond, end)
        if low < high:
            columns = min(beyond, end)
            rows_MN[low - begin : high - begin, :columns] = panel[low - first : high - first, :columns]
    return rows_MN


def _reflect(x_BN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(V, T, L) with X·(I − V T Vᵀ) = [0 … 0, L], L (B, B) upper triangular: a QR decomposition of Xᵀ, read
    from its last row and column on. V is rounded to X's dtype; T and L are float64 and go with that V."""
    x_BN, dtype, size = x_BN.double(), x_BN.dtype, x_BN.shape[0]
    factor_NB, tau_B = torch.geqrf(x_BN.flip(0, 1).T)
    v_NB = factor_NB.tril(-1)
    v_NB.diagonal().copy_(tau_B != 0)  # a column that needs no reflection has none
    v_NB = v_NB.flip(0).to(dtype)
    wide_NB = v_NB.double()
    # T's inverse: VᵀV above the diagonal and half of it on it, so that Q is orthogonal for V as rounded.
    gram_BB = wide_NB.T @ wide_NB
    inverse_BB = gram_BB.triu(1)
    inverse_BB.diagonal().copy_(torch.where(tau_B != 0, gram_BB.diagonal() / 2, 1.0))
    identity_BB = torch.eye(size, dtype=torch.float64, device=x_BN.device)
    t_BB = torch.linalg.solve_triangular(inverse_BB, identity_BB, upper=True)
    corner_BB = x_BN[:, -size:] - (x_BN @ wide_NB) @ t_BB @ wide_NB[-size:].T
    return v_NB, t_BB, corner_BB.triu()


def _apply_(
    panels: list[tuple[int, int, torch.Tensor]], n: int, v_NB: torch.Tensor, t_BB: torch.Tensor
) -> None:
    """A ← QᵀAQ in the leading n rows, for Q = I − V T Vᵀ. What is taken off A is found in float64: sums of
    float32 products err in one direction where one component holds most of A."""
    wide_NB = v_NB.double()
    y_NB = torch.zeros_like(wide_NB)
    for begin, end, panel in _leading(panels, n):
        wide = panel.double()
        y_NB[begin:end].addmm_(wide, wide_NB[:end])
        if begin:
            y_NB[:begin].addmm_(wide[:, :begin].T, wide_NB[begin:end])
        del wide  # before the next one is made
    # With Y = A V T: QᵀAQ = A − V Wᵀ − W Vᵀ, where W = Y − V (Tᵀ VᵀY)/2.
    y_NB = y_NB @ t_BB
    y_NB -= wide_NB @ (t_BB.T @ (wide_NB.T @ y_NB) / 2)
    w_NB = y_NB.to(v_NB.dtype)
    left_NW, right_NW = torch.cat([v_NB, w_NB], dim=1), torch.cat([w_NB, v_NB], dim=1)
    for begin, end, panel in _leading(panels, n):
        panel.addmm_(left_NW[begin:end], right_NW[:end].T, alpha=-1.0)


def _split(begin: int, end: int, panel: torch.Tensor, height: int) -> Iterator[tuple[int, int, torch.Tensor]]:
    """A panel as panels of ``height`` rows. What lies right of their diagonal blocks is not used again."""
    for top in range(begin, end, height):
        bottom = min(end, top + height)
        yield top, bottom, panel[top - begin : bottom - begin, :bottom]


def _leading(panels: list[tuple[int, int, torch.Tensor]], n: int) -> Iterator[tuple[int, int, torch.Tensor]]:
    """The panels of the leading n rows."""
    for begin, end, panel in panels:
        if begin < n:
            yield begin, min(end, n), panel[: n - begin, :n]


def _band(strips: list[tuple[int, torch.Tensor]], n: int, width: int) -> np.ndarray:
    """The lower triangle of rows that end with their diagonal block, by columns and distance from the
    diagonal; room for as many again as ``width``."""
    band_ND = np.zeros((n, 2 * width))
    for begin, rows_MN in strips:
        rows = rows_MN.double().cpu().numpy()
        size, columns = rows.shape
        for distance in range(min(width + 1, begin + size)):
            # Entries (row, row − distance) of these rows, as far as there are such columns.
            low = max(0, distance - begin)
            row = np.arange(low, size)
            column = row + (columns - size) - distance  # in the strip, whose last column is the matrix's
            there = column >= 0
            band_ND[begin + row[there] - distance, distance] = rows[row[there], column[there]]
    return band_ND
