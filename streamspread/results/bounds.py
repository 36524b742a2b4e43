"""Upper bounds on sums of leading eigenvalues, by which Ritz values become an interval proved to hold K.

The Ritz values θ₁ ≥ … ≥ θ_L of a symmetric positive semi-definite A are lower bounds of its leading
eigenvalues (Cauchy's interlacing theorem; Parlett, The Symmetric Eigenvalue Problem, section 10.1). The upper
bounds here use only what is known without the other eigenvalues: the trace, the sum of squares, residuals,
and what a sketch of a stream of samples proves.
"""

from __future__ import annotations

from dataclasses import dataclass

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


_EXACT = 1e-10  # of the trace: where less than this is missing, only rounding errors are


@dataclass(frozen=True)
class SketchFacts:
    """What Frequent Directions prove of C: BᵀB − E ≤ C ≤ BᵀB + shrinkage·I + E.

    Attributes:
        values_M: (M,) float64, descending: the eigenvalues of BᵀB.
        shrinkage, rounding_norm, rounding_trace: see :mod:`streamspread.linalg.frequent_directions`.
        total: C's trace.
        error: a bound on the rounding error of any sum of these numbers.
    """

    values_M: np.ndarray
    shrinkage: float
    rounding_norm: float
    rounding_trace: float
    total: float
    error: float


@dataclass(frozen=True)
class RitzFacts:
    """What a Rayleigh–Ritz pass proves of C.

    Attributes:
        ritz_K: (K,) float64, descending: Ritz values of the basis.
        residual_KK: (K, K) float64: RᵀR of the residuals R = C·q − q·θ, in the same order.
        improved_K: (K,) float64, descending: Ritz values of C^½·basis, at least as large.
        missed: a bound on λ_max of C outside the basis.
        total: C's trace.
        error: a bound on the rounding error of any sum of Ritz values.
    """

    ritz_K: np.ndarray
    residual_KK: np.ndarray
    improved_K: np.ndarray
    missed: float
    total: float
    error: float


@dataclass(frozen=True)
class Enclosure:
    """Bounds on the sums of C's leading eigenvalues.

    Attributes:
        lower_K: descending; its partial sums bound those of the eigenvalues from below.
        upper_sums: bound them from above.
        complete: whether ``lower_K`` holds all of C's trace, but for rounding.
    """

    lower_K: np.ndarray
    upper_sums: np.ndarray
    complete: bool


def enclose(
    sketch: SketchFacts, ritz: RitzFacts | None, rank_limit: int, largest_threshold: float
) -> Enclosure:
    """The tightest enclosure that the facts give.

    Upper sums reach as far as the largest threshold needs, past the rank of the sketch if necessary: beyond
    it every eigenvalue is still bounded by the shrinkage.

    Args:
        sketch: what Frequent Directions prove.
        ritz: what the last Ritz pass proves; None before the first.
        rank_limit: at most so many eigenvalues are non-zero.
        largest_threshold: a fraction of the trace that upper sums must reach.
    """
    total = sketch.total if ritz is None else ritz.total
    error = sketch.error if ritz is None else max(sketch.error, ritz.error)
    slack = sketch.shrinkage + sketch.rounding_norm
    values_K, beyond = sketch.values_M[:rank_limit] + slack, slack
    if ritz is None:
        lower_K = sketch.values_M[:rank_limit]
        error += sketch.rounding_trace
    else:
        lower_K = ritz.improved_K[:rank_limit]
        bounded_K = residual_upper_values(ritz.ritz_K, ritz.residual_KK, ritz.missed)[:rank_limit]
        # Past the K vectors of the basis no eigenvalue exceeds what it misses (Courant and Fischer).
        both = max(len(values_K), len(bounded_K))
        values_K = np.minimum(_extended(values_K, slack, both), _extended(bounded_K, ritz.missed, both))
        beyond = min(slack, ritz.missed)
    length = _needed(values_K, beyond, largest_threshold * total, rank_limit)
    upper = np.cumsum(_extended(values_K, beyond, length))
    by_trace = np.cumsum(_extended(sketch.values_M + sketch.shrinkage, sketch.shrinkage, length))
    upper = np.minimum(upper, by_trace + sketch.rounding_trace)
    # The first k have at most what the lower bounds of the others leave of the trace.
    others = np.append(np.cumsum(lower_K[::-1])[::-1][1:], 0.0)
    others = _extended(others, 0.0, length)
    upper = np.minimum(upper, total - others)
    complete = total - float(lower_K.sum()) <= error <= _EXACT * total
    if lower_K[0] > 0:
        # Sums are known to within `error`: subtracted in proportion, so that the order stays.
        lower_K = lower_K * max(0.0, 1.0 - error / lower_K[0])
    upper = np.minimum.accumulate(upper[::-1])[::-1]  # no sum exceeds a later one
    return Enclosure(lower_K, np.minimum(upper + error, total), complete)


def _extended(values: np.ndarray, fill: float, length: int) -> np.ndarray:
    return np.concatenate([values[:length], np.full(max(0, length - len(values)), fill)])


def _needed(values_K: np.ndarray, beyond: float, target: float, rank_limit: int) -> int:
    """How many bounds it takes until their sum reaches the target, but no fewer than ``values_K`` has."""
    missing = target - float(values_K.sum())
    if missing <= 0.0 or len(values_K) >= rank_limit:
        return min(len(values_K), rank_limit)
    if beyond <= 0.0:
        return rank_limit
    return int(min(rank_limit, len(values_K) + np.ceil(missing / beyond) + 1))
