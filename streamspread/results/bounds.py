"""Upper bounds on sums of leading eigenvalues: what turns Ritz values into an interval that is proved to
hold K.

Ritz values θ₁ ≥ … ≥ θ_L of a symmetric positive semi-definite A bound its eigenvalues from below (Cauchy
interlacing). The bounds here come from above, each from facts that are known without the other eigenvalues.
"""

from __future__ import annotations

import numpy as np


def frobenius_upper_sums(
    ritz_L: np.ndarray, trace: float, sum_of_squares: float, rank_limit: int
) -> np.ndarray:
    """Upper bounds of λ₁ + … + λ_k, k = 1 … L, from ‖A‖²_F and the trace.

    Among all spectra with λᵢ ≥ θᵢ (i ≤ L), Σλ² = ``sum_of_squares`` and Σλ = ``trace``, the sum of the first
    k is largest where they are max(θᵢ, ν) for one level ν that uses up the squares left over (the conditions
    of Karush, Kuhn and Tucker for a linear target under one quadratic constraint). What lies beyond L needs
    squares of its own: at least (what trace is left)²/(``rank_limit`` − L), by Cauchy and Schwarz.

    Returns:
        (L,) float64, non-decreasing, at most ``trace``.
    """
    spare = max(0.0, sum_of_squares - float(np.sum(ritz_L**2)))
    sums = _water_filled(ritz_L, spare)
    beyond = rank_limit - len(ritz_L)
    if beyond > 0:
        for _ in range(3):  # a smaller head leaves more trace for the tail, which needs more squares
            tail = max(0.0, trace - float(sums[-1]))
            sums = _water_filled(ritz_L, max(0.0, spare - tail**2 / beyond))
    return np.minimum(sums, trace)


def _water_filled(ritz_L: np.ndarray, spare: float) -> np.ndarray:
    """max Σ_{i≤k} λᵢ subject to λᵢ ≥ θᵢ and Σ_{i≤k} (λᵢ² − θᵢ²) ≤ ``spare``, for k = 1 … L."""
    count = len(ritz_L)
    squares = np.concatenate([[0.0], np.cumsum(ritz_L**2)])
    sums = np.concatenate([[0.0], np.cumsum(ritz_L)])
    k = np.arange(1, count + 1)
    # The level ν raises θ_{j+1} … θ_k, and the head θ_1 … θ_j stays above it: bisection for j, for all k at
    # once.
    low, high = np.zeros(count, dtype=int), k - 1
    while np.any(low < high):
        j = (low + high) // 2
        level = np.sqrt((spare + squares[k] - squares[j]) / (k - j))
        stays = ritz_L[j] >= level  # θ_{j+1} needs no raising: a longer head
        low, high = np.where(stays & (low < high), j + 1, low), np.where(stays, high, j)
    level = np.sqrt((spare + squares[k] - squares[low]) / (k - low))
    return np.maximum.accumulate(sums[low] + (k - low) * np.maximum(level, ritz_L))


def shifted_upper_values(ritz_L: np.ndarray, residual_LL: np.ndarray, shift: float) -> np.ndarray:
    """Upper bounds of λ₁ … λ_L, once no eigenvalue outside the basis exceeds ``shift``.

    With an orthonormal basis Q of the Ritz vectors and residual R = AQ − QΘ (orthogonal to Q), A is unitarily
    [[Θ, Rᵀ], [R, E]] with E ≤ ``shift``·I, so A ≤ [[Θ, Rᵀ], [R, shift·I]] in the Loewner order and the
    eigenvalues of that matrix, which are those of a 2L×2L one, bound A's one by one (Weyl).

    Args:
        ritz_L: (L,) Ritz values, descending.
        residual_LL: (L, L) RᵀR in the same order.
        shift: an upper bound of λmax(E), such as a Cholesky factorisation of shift·I − A + QΘQᵀ proves.
    """
    count = len(ritz_L)
    values, vectors = np.linalg.eigh(residual_LL)
    w_LL = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T  # WᵀW = RᵀR
    bound = np.zeros((2 * count, 2 * count))
    bound[:count, :count] = np.diag(ritz_L)
    bound[count:, :count] = w_LL
    bound[:count, count:] = w_LL.T
    bound[count:, count:] = shift * np.eye(count)
    return np.maximum(np.linalg.eigvalsh(bound)[::-1][:count], ritz_L)


def shifted_upper_sums(ritz_L: np.ndarray, residual_LL: np.ndarray, shift: float, trace: float) -> np.ndarray:
    """Upper bounds of λ₁ + … + λ_k, k = 1 … L: the sums of :func:`shifted_upper_values`, and at most
    ``trace``."""
    return np.minimum(np.cumsum(shifted_upper_values(ritz_L, residual_LL, shift)), trace)
