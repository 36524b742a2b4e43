"""Panels of a matrix that is there already: views of a square one, or copies of half of it."""

from __future__ import annotations

import torch

from streamspread.linalg.owned import spans_of
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.products import mirrored


def of_square(square_NN: torch.Tensor, rows: int, dtype: torch.dtype, *, copy: bool) -> SymmetricPanels:
    """Panels of ``dtype``, float32 or float64, that are the rows of a symmetric (n, n) matrix up to their
    diagonal blocks. Where nothing is copied, nor its dtype another one, using them up overwrites the matrix.
    """
    n = len(square_NN)
    spans = spans_of(n, min(rows, n))
    panels = [square_NN[begin:end, :end].to(dtype, copy=copy) for begin, end in spans]
    return SymmetricPanels(n, rows, dtype, square_NN.device, True, panels)


def of_packed(packed_M: torch.Tensor, n: int, rows: int, dtype: torch.dtype) -> SymmetricPanels:
    """Panels of ``dtype`` of a lower triangle (n(n + 1)/2,) that lies packed row by row; copies."""
    panels = SymmetricPanels(n, rows, dtype, packed_M.device, exact=True)
    for begin, end, panel in panels.spans():
        for row in range(begin, end):
            panel[row - begin, : row + 1] = packed_M[row * (row + 1) // 2 :][: row + 1]
        block = panel[:, begin:end]
        block.copy_(mirrored(block))
    return panels
