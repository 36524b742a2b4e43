"""Leading eigenvalues of a small matrix, in float32 and without a proof, by block Lanczos (Golub & Underwood
1977): a basis of a random block, and of what A makes of each block, of which only the last two hold a part
beside rounding. That is taken off all others too, so that no eigenvalue comes twice.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

#: Vectors of a block: of fewer products are slower, of more it takes more vectors to hold as much.
BLOCK = 16

_MOST = 0.42  # of all vectors: with more a dense solve is as soon done
_BEYOND = 1.65  # times as many vectors as hold the target between them, for few to hold nearly as much
_STEP = 1.06  # by which the basis grows between two looks
_DEPENDENT = 1e-5  # of a vector is outside the span of the others of its block: that is rounding


def leading_values(
    matrix_NN: torch.Tensor, target: float, settled: Callable[[np.ndarray], bool]
) -> np.ndarray | None:
    """Ritz values (descending, float64) that are ``settled``, of a symmetric matrix without negative
    eigenvalues, (N, N) float32 on the CPU; None where :func:`all_values` is to be asked: too many eigenvalues
    make up the target, or there are too few others than 0.

    Args:
        target: a sum of leading eigenvalues that is to be reached.
        settled: is asked of more Ritz values each time.
    """
    order = len(matrix_NN)
    size, due, held = int(_MOST * order) // BLOCK * BLOCK, 0, 0.0
    generator = torch.Generator().manual_seed(0)
    q_LN = torch.empty(size, order)
    h_LL = torch.zeros(size, size)  # the lower triangle of QAQᵀ, but for rounding
    fresh_BN = _orthonormal(torch.randn(BLOCK, order, generator=generator))
    for begin in range(0, size, BLOCK):
        if fresh_BN is None:
            return None
        end = begin + BLOCK
        q_LN[begin:end] = fresh_BN
        image_BN = (matrix_NN @ fresh_BN.T).T
        last = slice(max(0, begin - BLOCK), end)
        along_BC = h_LL[begin:end, last] = image_BN @ q_LN[last].T
        more = float(h_LL[begin:end, begin:end].trace())
        held += more
        if due and end >= due:
            values_L = all_values(h_LL[:end, :end])
            if settled(values_L):
                return values_L
            due = int(_STEP * end) + 1
        elif not due and held >= target:
            due = int(_BEYOND * end)
        elif not due and begin >= 2 * BLOCK:
            # From the third block on each holds less than the one before.
            hopeless = held + more * (size / _BEYOND - end) / BLOCK < target
            due = size + 1 if hopeless else 0
        if due > size:
            return None
        fresh_BN = _orthonormal(torch.addmm(image_BN, along_BC, q_LN[last], alpha=-1))
        if fresh_BN is not None:
            fresh_BN = _orthonormal(fresh_BN - (fresh_BN @ q_LN[:end].T) @ q_LN[:end])
    return None


def all_values(matrix_NN: torch.Tensor) -> np.ndarray:
    """All eigenvalues (descending, float64; none below 0) by a dense solve in float32, or in float64 where
    that fails: MKL's does of one matrix in ten whose rows are mostly 0, as dead features leave it."""
    try:
        values_N = torch.linalg.eigvalsh(matrix_NN)
    except torch.linalg.LinAlgError:
        values_N = torch.linalg.eigvalsh(matrix_NN.double())
    descending: np.ndarray = np.maximum(values_N.double().cpu().numpy()[::-1], 0.0)
    return descending


def _orthonormal(y_BN: torch.Tensor) -> torch.Tensor | None:
    """An orthonormal basis of y's rows, by Cholesky QR with float64 sums; None where they are dependent."""
    wide_BN = y_BN.double()
    gram_BB = wide_BN @ wide_BN.T
    # Of rows of norm 1 the factor's diagonal says how much of each is outside the span of those before.
    scale_B = gram_BB.diagonal().rsqrt()
    factor_BB, info = torch.linalg.cholesky_ex(gram_BB * scale_B[:, None] * scale_B)
    if int(info) or not float(factor_BB.diagonal().min()) > _DEPENDENT:
        return None
    inverse_BB = torch.linalg.solve_triangular(factor_BB, scale_B.diag(), upper=False)
    return inverse_BB.to(y_BN.dtype) @ y_BN
