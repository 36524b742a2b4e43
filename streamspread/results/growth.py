"""Estimates beyond the sample: K(τ) of more images than were seen, or of infinitely many.

A K over N images grows with N, as the participation ratio does: 1/K is nearly linear in 1/N (for the latter
Chun et al. 2025, arXiv:2509.26560). So K of parts of the images tells where it goes. With
x = (N − 1)/(n − 1) for parts of n images, two curves go through the means u of 1/K:

* the line u = a + b·x through the whole and the larger parts,
* the power u = a + b·x^p through the whole, the larger and the smaller parts: what is left of the way
  shrinks with every doubling of n by the same ratio r = 2^−p, whatever that is.

Their mean at x = (N − 1)/(M − 1) is 1/K of M images, and at x = 0 of infinitely many: on layers of networks
they err in opposite directions. Half the width of the estimate is hypot(2·se, difference of the two K, w),
with se = K²·sd/√x from the scatter of 1/K among the smaller parts, and w a share of the way from K to the
estimate that grows with its length. **Nothing of this is proved**: an estimate is never mixed with the
interval that is.

Both curves fail where eigenvalues are alike: noise spreads these, 1/K converges like 1/√n once n exceeds
their number, and both curves end too early. Then the eigenvalues up to K are more alike in the whole than in
the parts, where those that fall like a power are not; so it is seen, and w is the whole way.

Where r lies outside (0, 1), where K of all N is below half of either curve's, and where eigenvalues break off
right behind K, so that a little less variance in those before would make K jump, only "at least K" is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_SETTLED = 0.01  # a line that moves K by less than this share says that it has settled, and no r is asked for
_ALIKE = 0.95  # the fall of eigenvalues up to K in the whole over that in parts; of real layers 0.95 to 1.3
_FAR = 0.35  # a way of such a share of the estimate is as uncertain as it is long
_BREAK, _NEAR = 3.0, 0.05  # eigenvalues that fall by such a factor within K/4, so near to τ as a share of T
_STEPS = 60  # of a bisection
_MOST_POWER = 8.0


@dataclass(frozen=True)
class Point:
    """1/K(τ) over parts of the images, for K interpolated between whole numbers.

    Attributes:
        threshold: τ. ``images``: n of each part. ``subsets``: how many parts, none of which shares an image.
        mean_inverse: of 1/K. ``sd_inverse``: its standard deviation, 0 for a single part.
        mean_fall: of ln(λ at K/2 / λ at K). ``at_edge``: whether eigenvalues break off right behind K in any
            of them.
    """

    threshold: float
    images: int
    subsets: int
    mean_inverse: float
    sd_inverse: float
    mean_fall: float = 0.0
    at_edge: bool = False

    @classmethod
    def of(cls, threshold: float, images: int, parts: Sequence[tuple[np.ndarray, float]]) -> Point | None:
        """The point of parts, each by its leading eigenvalues (descending) and their trace; None where the
        eigenvalues of one do not reach τ."""
        read = [_read(np.asarray(values, np.float64), total, threshold) for values, total in parts]
        known = [one for one in read if one is not None]
        if not known or len(known) < len(read):
            return None
        inverses = [inverse for inverse, _, _ in known]
        return cls(
            threshold=threshold,
            images=images,
            subsets=len(known),
            mean_inverse=float(np.mean(inverses)),
            sd_inverse=float(np.std(inverses, ddof=1)) if len(known) > 1 else 0.0,
            mean_fall=float(np.mean([fall for _, fall, _ in known])),
            at_edge=any(edge for _, _, edge in known),
        )


@dataclass(frozen=True)
class Estimate:
    """K(τ) of more images than were seen. **Not proved.**

    Attributes:
        value, half_width: where K may be expected to lie; NaN where ``told`` is false.
        images: M, or None for infinitely many.
        told: whether the parts tell it; else K is at least ``seen``, and that is all.
        seen: K of all the images that were seen, a whole number.
        samples: N, how many these are.
    """

    value: float
    half_width: float
    images: int | None
    told: bool
    seen: int
    samples: int

    def __str__(self) -> str:
        """228 ± 4, or ≥ 205."""
        if not self.told:
            return f"≥ {self.seen:,}"
        return f"{round(self.value):,} ± {math.ceil(self.half_width):,}"

    @property
    def sentence(self) -> str:
        """205 of 5,000 samples · estimated 228 ± 4 at N → ∞ (not proved)."""
        if not self.told:
            return f"at least {self.seen:,} of {self.samples:,} samples; too few samples"
        where = "N → ∞" if self.images is None else f"N = {self.images:,}"
        return f"{self.seen:,} of {self.samples:,} samples · estimated {self} at {where} (not proved)"


@dataclass(frozen=True)
class Growth:
    """How K grows with the number of images: for each threshold the whole, a part of it and half of that."""

    points: tuple[Point, ...]

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Those for which there is an estimate."""
        return tuple(dict.fromkeys(point.threshold for point in self.points))

    def estimate(
        self, threshold: float, images: int | None = None, ceiling: float = math.inf
    ) -> Estimate | None:
        """K(τ) of so many images, or of infinitely many; None for a threshold that was not asked for, and for
        fewer images than were seen.

        Args:
            ceiling: K is at most so much, however many images there are.
        """
        points = sorted((p for p in self.points if p.threshold == threshold), key=lambda p: -p.images)
        if len(points) != 3:
            return None
        whole, samples = 1.0 / points[0].mean_inverse, points[0].images
        seen = math.ceil(whole * (1 - 1e-12))
        if images is not None and images <= samples:
            return Estimate(float(seen), 0.0, images, True, seen, samples) if images == samples else None
        found = _extrapolated(points, 0.0 if images is None else (samples - 1) / (images - 1))
        if found is None:
            return Estimate(math.nan, math.nan, images, False, seen, samples)
        # K is the whole number from which on the sum is reached, half more than interpolated on average, and
        # more images do not need fewer.
        value = min(max(found[0] + 0.5, seen), ceiling)
        return Estimate(value, found[1] + 0.5, images, True, seen, samples)


def _read(values_L: np.ndarray, total: float, threshold: float) -> tuple[float, float, bool] | None:
    """(1/K, ln(λ at K/2 / λ at K), whether they break off right behind K) of descending eigenvalues, for K
    interpolated between whole numbers."""
    sums, target = np.cumsum(values_L), threshold * total
    k = int(np.searchsorted(sums, target * (1 - 1e-12), side="left"))
    if not total > 0.0 or k >= len(sums):
        return None
    before = float(sums[k - 1]) if k else 0.0
    interpolated = k + min(1.0, (target - before) / float(values_L[k]))
    number = np.arange(1, len(values_L) + 1)
    half, end = np.interp([interpolated / 2, interpolated], number, values_L)
    behind = min(len(values_L), k + 2 + k // 4) - 1
    breaks = values_L[behind] * _BREAK < values_L[k]
    near = sums[behind] - target < _NEAR * total and total - sums[behind] > 1e-6 * total
    return 1.0 / interpolated, float(np.log(half / end)), bool(breaks and near)


def _extrapolated(points: list[Point], at: float) -> tuple[float, float] | None:
    """(K, half the width) at x = ``at`` from the whole and two sizes of parts; None where nothing is told."""
    whole, larger, smaller = points
    x_larger, x_smaller = ((whole.images - 1) / (p.images - 1) for p in (larger, smaller))
    slope = (larger.mean_inverse - whole.mean_inverse) / (x_larger - 1)
    line = whole.mean_inverse - slope * (1 - at)
    if line <= 0.0 or whole.at_edge:
        return None
    if abs(slope) < _SETTLED * whole.mean_inverse:
        curve, inverse = whole.mean_inverse, line
    else:
        power = _power(points, x_larger, x_smaller)
        if power is None:
            return None
        rise = (larger.mean_inverse - whole.mean_inverse) / (x_larger**power - 1)
        curve = whole.mean_inverse - rise * (1 - at**power)
        if not curve > 0.0 or whole.mean_inverse > 2 * min(curve, line):
            return None
        inverse = (curve + line) / 2
    error = 2 * smaller.sd_inverse / math.sqrt(x_smaller) / inverse**2
    way = 1 / inverse - 1 / whole.mean_inverse
    if whole.mean_fall >= _ALIKE * larger.mean_fall:
        way *= min(1.0, (way * inverse / _FAR) ** 2)
    return 1 / inverse, math.hypot(error, 1 / curve - 1 / line, way)


def _power(points: list[Point], x_larger: float, x_smaller: float) -> float | None:
    """p of u = a + b·x^p through three points; None where r = 2^−p lies outside (0, 1)."""
    whole, larger, smaller = (p.mean_inverse for p in points)
    if not smaller > larger > whole:
        return None
    quotient = (larger - whole) / (smaller - larger)
    if quotient >= math.log(x_larger) / math.log(x_smaller / x_larger):
        return None
    low, high = 1e-6, _MOST_POWER
    for _ in range(_STEPS):
        p = (low + high) / 2
        if (x_larger**p - 1) / (x_smaller**p - x_larger**p) > quotient:
            low = p
        else:
            high = p
    return low
