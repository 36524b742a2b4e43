"""Upper bounds on sums of leading eigenvalues, by which Ritz values become an interval proved to hold K.

The Ritz values θ₁ ≥ … ≥ θ_L of a symmetric positive semi-definite A are lower bounds of its leading
eigenvalues (Cauchy's interlacing theorem; Parlett, The Symmetric Eigenvalue Problem, section 10.1). The upper
bounds here use only what is known without the other eigenvalues: the trace, the sum of squares, residuals.
"""

from __future__ import annotations

import numpy as np


def frobenius_upper_sums(
    ritz_L: np.ndarray, trace: float, sum_of_squares: float, rank_limit: int
) -> np.ndarray:
    """Upper bounds of λ₁ + … + λ_k, k = 1 … L, from ‖A‖²_F and the trace.

    Consider all spectra with λᵢ ≥ θᵢ (i ≤ L), Σλ² = ``sum_of_squares`` and Σλ = ``trace``. The sum of the
    first k is largest where these are max(θᵢ, ν), with one level ν that uses up the spare squares (the
    Karush-Kuhn-Tucker conditions of a linear target under one quadratic constraint). Eigenvalues beyond L
    take some of the squares: at least (the trace left for them)²/(``rank_limit`` − L), by Cauchy-Schwarz.

    Args:
        ritz_L: (L,) float64 Ritz values, descending.
        trace, sum_of_squares: of A.
        rank_limit: the most eigenvalues of A that can differ from 0.

    Returns:
        (L,) float64, non-decreasing, at most ``trace``.
    """
    spare = max(0.0, sum_of_squares - float(np.sum(ritz_L**2)))
    sums = _water_filled(ritz_L, spare)
    beyond = rank_limit - len(ritz_L)
    if beyond > 0:
        # A smaller head leaves more trace for the tail, which needs more squares and leaves the head fewer;
        # every round is a valid bound, and three come close to the limit.
        for _ in range(3):
            tail = max(0.0, trace - float(sums[-1]))
            sums = _water_filled(ritz_L, max(0.0, spare - tail**2 / beyond))
    return np.minimum(sums, trace)


def _water_filled(ritz_L: np.ndarray, spare: float) -> np.ndarray:
    """max Σ_{i≤k} λᵢ subject to λᵢ ≥ θᵢ and Σ_{i≤k} (λᵢ² − θᵢ²) ≤ ``spare``, for k = 1 … L."""
    count = len(ritz_L)
    squares = np.concatenate([[0.0], np.cumsum(ritz_L**2)])
    sums = np.concatenate([[0.0], np.cumsum(ritz_L)])
    k = np.arange(1, count + 1)
    # The level ν raises θ_{j+1} … θ_k; the head θ_1 … θ_j stays above it. j is found by bisection, for all k
    # at once.
    low, high = np.zeros(count, dtype=int), k - 1
    while np.any(low < high):
        j = (low + high) // 2
        level = np.sqrt((spare + squares[k] - squares[j]) / (k - j))
        stays = ritz_L[j] >= level  # θ_{j+1} is not raised, so the head is longer
        low, high = np.where(stays & (low < high), j + 1, low), np.where(stays, high, j)
    level = np.sqrt((spare + squares[k] - squares[low]) / (k - low))
    return np.maximum.accumulate(sums[low] + (k - low) * np.maximum(level, ritz_L))


def residual_upper_values(ritz_L: np.ndarray, residual_LL: np.ndarray, outside: float) -> np.ndarray:
    """Upper bounds of λ₁ … λ_L, where no eigenvalue outside the basis exceeds ``outside``.

    Let Q be an orthonormal basis of the Ritz vectors and R = AQ − QΘ the residual, which is orthogonal to Q.
    In the basis [Q, Q⊥] A is [[Θ, Rᵀ], [R, E]] with E ≤ s·I, s = ``outside``. So A ≤ [[Θ, Rᵀ], [R, s·I]] in
    the Loewner order, and by Weyl's monotonicity theorem that matrix's eigenvalues bound A's one by one.
    Apart from s itself they are those of a 2L×2L matrix, which is what is computed.

    Args:
        ritz_L: (L,) float64 Ritz values, descending.
        residual_LL: (L, L) float64, RᵀR in the same order.
        outside: an upper bound of λmax(E), however it was found.

    Returns:
        (L,) float64, descending, at least ``ritz_L``.
    """
    count = len(ritz_L)
    w_LL = _factor(residual_LL)
    bound = np.zeros((2 * count, 2 * count))
    bound[:count, :count] = np.diag(ritz_L)
    bound[count:, :count] = w_LL
    bound[:count, count:] = w_LL.T
    bound[count:, count:] = outside * np.eye(count)
    return np.maximum(np.linalg.eigvalsh(bound)[::-1][:count], ritz_L)


def _factor(residual_LL: np.ndarray) -> np.ndarray:
    """W with WᵀW = RᵀR, or somewhat more, which bounds from above too: so much that Cholesky factorises what
    may be singular, and more than it rounds (Higham 2002, section 10.1)."""
    count = len(residual_LL)
    more = 2 * (count + 1) * np.finfo(np.float64).eps * np.trace(residual_LL)
    try:
        factor_LL: np.ndarray = np.linalg.cholesky(residual_LL + more * np.eye(count)).T
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(residual_LL)
        factor_LL = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    return factor_LL


def residual_upper_sums(
    ritz_L: np.ndarray, residual_LL: np.ndarray, outside: float, trace: float
) -> np.ndarray:
    """Upper bounds of λ₁ + … + λ_k, k = 1 … L: the sums of :func:`residual_upper_values`, at most ``trace``.

    Returns:
        (L,) float64.
    """
    return np.minimum(np.cumsum(residual_upper_values(ritz_L, residual_LL, outside)), trace)
