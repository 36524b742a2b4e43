"""Sums that enclose those of the leading eigenvalues, from what a sketch, or a sketch and a Ritz pass, prove
of a matrix C that was only met as a stream of samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamspread.results.bounds import residual_upper_values

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
