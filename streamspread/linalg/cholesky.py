"""A Cholesky factorisation in the panels of a packed matrix, and a product with its factor."""

from __future__ import annotations

import torch

from streamspread.linalg.panels import CHUNK, SymmetricPanels, spans_of
from streamspread.linalg.products import product


def is_positive_definite_(matrix: SymmetricPanels) -> bool:
    """Whether A is positive definite, by a Cholesky factorisation in place: the panels are ``spent``.

    Left-looking, block by block, so that it fits wherever the panels fit.
    """
    matrix.apply_low_rank_()
    spans = list(matrix.spans())
    matrix.spent = True
    # Of the diagonal blocks' factors: one product with an inverse instead of many solves.
    inverses: list[torch.Tensor] = []
    for i, (begin, end, panel) in enumerate(spans):
        for (left, right, above), inverse in zip(spans[:i], inverses, strict=True):
            block = panel[:, left:right]
            if left:
                block.addmm_(panel[:, :left], above[:, :left].T, alpha=-1.0)
            block.copy_(block @ inverse.T)
        diagonal = panel[:, begin:end]
        if begin:
            diagonal.addmm_(panel[:, :begin], panel[:, :begin].T, alpha=-1.0)
        factor, info = torch.linalg.cholesky_ex(diagonal)
        if int(info) != 0:
            return False
        diagonal.copy_(factor)
        identity = torch.eye(end - begin, dtype=matrix.dtype, device=matrix.device)
        inverses.append(torch.linalg.solve_triangular(factor, identity, upper=False))
    return True


def factor_product(matrix: SymmetricPanels, q_NL: torch.Tensor) -> torch.Tensor:
    """L·(Lᵀ·q) (n, L) in float64, where the panels hold the factor L of :func:`is_positive_definite_`."""
    y_NL, t_NL = torch.zeros_like(q_NL), torch.zeros_like(q_NL)
    bounds = list(spans_of(matrix.n, matrix.rows))
    for (begin, end), panel in zip(bounds, matrix.panels, strict=True):
        for top in range(begin, end, CHUNK):
            chunk = panel[top - begin : top - begin + CHUNK].double()
            t_NL[:end] += product(chunk.T, q_NL[top : top + chunk.shape[0]])
    for (begin, end), panel in zip(bounds, matrix.panels, strict=True):
        for top in range(begin, end, CHUNK):
            chunk = panel[top - begin : top - begin + CHUNK].double()
            y_NL[top : top + chunk.shape[0]] = product(chunk, t_NL[:end])
    return y_NL
