"""From a sketch, or a sketch and a Ritz pass, to sums that enclose those of the leading eigenvalues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamspread.linalg.ritz import RitzFacts
from streamspread.results.bounds import shifted_upper_values

# Share of the trace: values that hold all of it, to a rounding error smaller than this, are all there are.
_EXACT = 1e-10


@dataclass(frozen=True)
class SketchFacts:
    """What Frequent Directions prove of C: BᵀB − E ≤ C ≤ BᵀB + shrinkage·I + E.

    Attributes:
        values_M: (M,) float64, descending: the eigenvalues of BᵀB.
        shrinkage, rounding_norm, rounding_trace: see :mod:`streamspread.linalg.frequent_directions`.
        total: C's trace. ``error``: a bound on the rounding error of any sum of these numbers.
    """

    values_M: np.ndarray
    shrinkage: float
    rounding_norm: float
    rounding_trace: float
    total: float
    error: float


@dataclass(frozen=True)
class Enclosure:
    """Sums over ``lower_K`` (descending) are at most, ``upper_sums`` at least, those of leading eigenvalues.

    ``complete``: ``lower_K`` holds all of C's trace, but for rounding.
    """

    lower_K: np.ndarray
    upper_sums: np.ndarray
    complete: bool


def enclose(
    sketch: SketchFacts, ritz: RitzFacts | None, rank_limit: int, largest_threshold: float
) -> Enclosure:
    """The tightest enclosure that the facts give.

    Upper sums reach as far as the largest threshold's sum needs, past the rank of the sketch where it must
    be: every eigenvalue has a bound, if only the shrinkage.
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
        shifted_K = shifted_upper_values(ritz.ritz_K, ritz.residual_KK, ritz.missed)[:rank_limit]
        # Past the K vectors of the basis no eigenvalue exceeds what it misses (Courant and Fischer).
        both = max(len(values_K), len(shifted_K))
        values_K = np.minimum(_extended(values_K, slack, both), _extended(shifted_K, ritz.missed, both))
        beyond = min(slack, ritz.missed)
    length = _needed(values_K, beyond, largest_threshold * total, rank_limit)
    upper = np.cumsum(_extended(values_K, beyond, length))
    by_trace = np.cumsum(_extended(sketch.values_M + sketch.shrinkage, sketch.shrinkage, length))
    upper = np.minimum(upper, by_trace + sketch.rounding_trace)
    # The first k have at most what the lower bounds of the others leave.
    others = np.append(np.cumsum(lower_K[::-1])[::-1][1:], 0.0)
    others = _extended(others, 0.0, length)
    upper = np.minimum(upper, total - others)
    complete = total - float(lower_K.sum()) <= error <= _EXACT * total
    if lower_K[0] > 0:
        # Sums are proved to within `error`; taken off in proportion, it keeps the order.
        lower_K = lower_K * max(0.0, 1.0 - error / lower_K[0])
    upper = np.minimum.accumulate(upper[::-1])[::-1]  # no sum exceeds a later one
    return Enclosure(lower_K, np.minimum(upper + error, total), complete)


def _extended(values: np.ndarray, fill: float, length: int) -> np.ndarray:
    return np.concatenate([values[:length], np.full(max(0, length - len(values)), fill)])


def _needed(values_K: np.ndarray, beyond: float, target: float, rank_limit: int) -> int:
    """How many bounds it takes until their sum reaches the target; at least all of ``values_K``."""
    missing = target - float(values_K.sum())
    if missing <= 0.0 or len(values_K) >= rank_limit:
        return min(len(values_K), rank_limit)
    if beyond <= 0.0:
        return rank_limit
    return int(min(rank_limit, len(values_K) + np.ceil(missing / beyond) + 1))
