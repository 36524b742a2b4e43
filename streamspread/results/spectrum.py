"""A spectrum: eigenvalues and totals in, K(τ), the spread K(τ)/D and the metrics out, as proved intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from streamspread.errors import OptionError
from streamspread.results.base import Framed, elsewhere
from streamspread.results.directions import Directions
from streamspread.results.growth import Estimate, Growth
from streamspread.results.interval import Interval
from streamspread.results.metrics import Metrics

if TYPE_CHECKING:
    from streamspread.results.classes import Classes

#: A layer that is a linear function of a smaller activation leaves those directions by roundings alone. They
#: change a deviation by a 2⁻⁸th at the most (bf16), so what variance they make is a far smaller share of T
#: than this: only thresholds nearer to 1 can ask for directions that roundings made.
ROUNDINGS = 2.0**-8


def check_thresholds(thresholds: float | str | Iterable[float | str]) -> tuple[float, ...]:
    """Thresholds τ as floats, in the order given, without repeats.

    Args:
        thresholds: one or several, as numbers or as text.

    Raises:
        OptionError: none given, or one outside (0, 1].
    """
    values = []
    if isinstance(thresholds, str) or not isinstance(thresholds, Iterable):
        thresholds = [thresholds]
    elif not getattr(thresholds, "ndim", 1):  # an array of one number counts as Iterable
        thresholds = [thresholds]  # type: ignore[list-item]
    for threshold in thresholds:
        try:
            value = float(threshold)
        except (TypeError, ValueError, OverflowError, RuntimeError):  # the last of a tensor without numbers
            value = math.nan
        if not 0.0 < value <= 1.0:
            raise OptionError(f"thresholds must lie in (0, 1], got {threshold!r}: try 0.7 or 0.5,0.7,0.9")
        values.append(value)
    if not values:
        raise OptionError("no threshold given: try 0.7 or 0.5,0.7,0.9")
    return tuple(dict.fromkeys(values))


def components_for(sums_k: np.ndarray, target: float) -> int | None:
    """The smallest k with ``sums_k[k-1] >= target`` (ties count as reached), or None where no sum reaches it.

    ``sums_k`` is non-decreasing float64; ``target`` is τ·T in the same unit.
    """
    k = int(np.searchsorted(sums_k, target, side="left"))
    return k + 1 if k < len(sums_k) else None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # == on arrays would raise, not compare
class Spectrum(Metrics, Framed):
    """The eigenvalues of a sample covariance (divisor N − 1), or bounds on them, and what follows from them.

    Eigenvalues, T and their sums are in the square of the activations' unit. Metrics such as
    ``participation_ratio`` and ``effective_rank`` are attributes too (:class:`Metrics`).

    Attributes:
        dim: D, the number of features. ``samples``: N.
        total_variance: T, the trace of the covariance.
        eigenvalues: (L,) float64, descending, ≥ 0, as they were computed. Where ``complete``, all eigenvalues
            that can differ from 0 (``rank_limit``); else L leading ones, as Ritz values.
        lower_sums: (L,) float64: lower bounds of λ₁ + … + λ_k; empty where the eigenvalues' own sums are.
        complete: whether every non-zero eigenvalue is there, except any that are lost in rounding errors.
        upper_sums: (M,) float64, M ≥ L: upper bounds of λ₁ + … + λ_k. Where all eigenvalues are there, the
            bounds on either side differ by as much as rounding errors can amount to; empty only where the
            eigenvalues are exact.
        sum_of_squares: Σλ² = ‖C‖²_F, which can be known where the eigenvalues are not; else NaN.
        proof: how the intervals are proved, in a few words.
        fourth_moment: Σ‖x − mean‖⁴/(N − 1), in the fourth power of the activations' unit; NaN where it is not
            known.
        moved: the squared rounding errors of the activations as a share of T, at int16: by so much the data
            were moved before they were summed. NaN where it is not known.
        growth: K over parts of the samples, which estimates of K beyond them are made from; None where it was
            not asked for or would have cost too much.
        classes: what labels tell; None where it was not asked for, or is not known.
        leading: the leading eigenvectors; None where they were not asked for.
    """

    dim: int
    samples: int
    total_variance: float
    eigenvalues: np.ndarray
    complete: bool
    lower_sums: np.ndarray = field(default_factory=lambda: np.empty(0))
    upper_sums: np.ndarray = field(default_factory=lambda: np.empty(0))
    sum_of_squares: float = math.nan
    proof: str = "all eigenvalues"
    fourth_moment: float = math.nan
    moved: float = math.nan
    growth: Growth | None = None
    classes: Classes | None = None
    leading: Directions | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_spectrum(self)

    printer = "print_spectrum"

    def plot(self) -> Any:
        """Draw the share of T that the k leading components hold, over k; a band where only bounds are known.

        Returns:
            a chart of Altair, which a notebook shows. MissingError where Altair is not installed.
        """
        return elsewhere("plot_spectrum")(self)

    @property
    def rank_limit(self) -> int:
        """min(D, N − 1): no sample covariance has more non-zero eigenvalues."""
        return min(self.dim, self.samples - 1)

    @property
    def ceiling(self) -> int:
        """What no K can exceed: ``rank_limit``, or less where more is known of the layer."""
        return self.rank_limit

    def limited_by_samples(self, threshold: float) -> bool:
        """Whether K(τ) says more of N than of the layer, and more directions are left.

        Where there is an estimate of K beyond the samples, it is so if that tells but "at least". Else it is
        so from K ≥ τ·(N − 1)/2 on: N samples of very many equal directions have K = τ·(N − 1), and in between
        1/K is nearly 1/K_∞ + 1/(τ·(N − 1)), so K is less than half of what infinitely many samples need.

        Raises:
            OptionError: a threshold outside (0, 1].
        """
        low = self.components(threshold).low
        if not 0 < low < self.directions:
            return False
        estimate = self.estimate(threshold)
        return low >= threshold * (self.samples - 1) / 2 if estimate is None else not estimate.told

    @property
    def directions(self) -> int:
        """How many there are, however many samples came: D, or less where more is known of the layer."""
        return self.dim

    def estimate(self, threshold: float, images: int | None = None) -> Estimate | None:
        """K(τ) of so many images, or of infinitely many, as an estimate that is **not proved**; None where
        there is none: for thresholds that the analysis was not asked for, and where ``growth`` is None."""
        if self.growth is None:
            return None
        return self.growth.estimate(threshold, images, self.directions)

    def components(self, threshold: float) -> Interval:
        """K(τ) = min{k : λ₁ + … + λ_k ≥ τ·T} as an interval; (0, 0) for a constant layer.

        Sums are float64. Where ``lower_sums`` reach τ·T bounds K from above, as does the ceiling, and where
        ``upper_sums`` do bounds it from below. Exact eigenvalues have no ``upper_sums``, and then K is one
        value.

        Raises:
            OptionError: a threshold outside (0, 1].
        """
        (threshold,) = check_thresholds([threshold])
        if self.total_variance <= 0.0:
            return Interval(0, 0)
        target = threshold * self.total_variance
        lower = self.lower_sums if len(self.lower_sums) else np.cumsum(self.eigenvalues)
        high = components_for(lower, target)
        if self.complete and not len(self.upper_sums):
            # At τ = 1 rounding can leave the last sum a hair under T: then every non-zero one is needed.
            low = high = min(high or int(np.count_nonzero(self.eigenvalues)), self.rank_limit)
        else:
            low = components_for(self.upper_sums, target) or len(self.upper_sums) + 1
            high = min(high or self.rank_limit, self.rank_limit)
            low = min(low, high)
        if threshold <= 1.0 - ROUNDINGS and low <= self.ceiling:
            high = min(high, self.ceiling)
        return Interval(low, high)

    def share(self, count: int) -> Interval:
        """The share of the variance that the ``count`` leading components hold, from 0 to 1, as an interval:
        (λ₁ + … + λ_count)/T; NaN at both ends for a constant layer.

        Raises:
            OptionError: no whole number, or one below 0.
        """
        if not isinstance(count, Integral) or count < 0:
            raise OptionError(f"the share of {count!r} components was asked for: give 0 or more")
        if self.total_variance <= 0.0:
            return Interval(math.nan, math.nan)
        lower = self.lower_sums if len(self.lower_sums) else np.cumsum(self.eigenvalues)
        upper = self.upper_sums if len(self.upper_sums) else lower
        if count == 0 or count >= self.rank_limit:
            return Interval(float(count > 0), float(count > 0))
        low = float(lower[min(count, len(lower)) - 1]) if len(lower) else 0.0
        known = count <= len(upper) or self.complete
        high = float(upper[min(count, len(upper)) - 1]) if known and len(upper) else self.total_variance
        low, high = (min(1.0, value / self.total_variance) for value in (low, high))
        return Interval(low, max(low, high))

    def spread(self, threshold: float) -> Interval:
        """K(τ)/D, a share between 0 and 1, as an interval; errors as :meth:`components`."""
        low, high = self.components(threshold)
        return Interval(low / self.dim, high / self.dim)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._said()})"

    def _said(self) -> str:
        taus = self.growth.thresholds if self.growth is not None else (0.7,)
        answers = ", ".join(f"K({tau:g}) = {self.components(tau):,}" for tau in taus[:3])
        return f"D = {self.dim:,}, N = {self.samples:,}, {answers}"


def check_spectrum(spectrum: Spectrum) -> None:
    """Refuse a spectrum from which no K would follow, or a wrong one.

    Raises:
        ValueError: counts out of range; NaN or Inf; eigenvalues or totals below zero; eigenvalues that are
            not descending, or sums that are not ascending; more or fewer of them than there can be.
    """
    if spectrum.dim < 1:
        raise ValueError(f"{spectrum.dim:,} features: a spectrum has 1 or more")
    if spectrum.samples < 2:
        raise ValueError(f"{spectrum.samples:,} samples: a covariance has 2 or more")
    if not 0.0 <= spectrum.total_variance < math.inf:
        raise ValueError(f"total variance {spectrum.total_variance:g}: it must be finite, and 0 or more")
    for name in ("sum_of_squares", "fourth_moment", "moved"):
        if getattr(spectrum, name) < 0.0:  # NaN stands for one that is not known, Inf for one out of range
            raise ValueError(f"{name.replace('_', ' ')} {getattr(spectrum, name):g}: it must be 0 or more")
    for name in ("eigenvalues", "lower_sums", "upper_sums"):
        _check_numbers(name.replace("_", " "), getattr(spectrum, name))
    _check_order(spectrum)
    _check_lengths(spectrum)


def _check_numbers(name: str, values: np.ndarray) -> None:
    if np.ndim(values) != 1:
        raise ValueError(f"{name} of shape {np.shape(values)}: they must be one row of numbers")
    if len(odd := np.flatnonzero(~np.isfinite(values))):
        raise ValueError(f"{name} are not all finite: number {odd[0] + 1:,} is {values[odd[0]]:g}")
    if len(odd := np.flatnonzero(values < 0.0)):
        raise ValueError(f"{name} are not all 0 or more: number {odd[0] + 1:,} is {values[odd[0]]:g}")


def _check_order(spectrum: Spectrum) -> None:
    rises = np.diff(spectrum.eigenvalues) > 0.0
    if not len(spectrum.lower_sums):
        rises[:1] = False  # results without lower sums have what sums may err by taken off the first
    if rises.any():
        raise ValueError(f"eigenvalues are not descending: number {np.argmax(rises) + 2:,} is above the last")
    for name in ("lower_sums", "upper_sums"):
        falls, words = np.diff(getattr(spectrum, name)) < 0.0, name.replace("_", " ")
        if falls.any():
            raise ValueError(f"{words} are not ascending: number {np.argmax(falls) + 2:,} is below the last")


def _check_lengths(spectrum: Spectrum) -> None:
    count, lower, upper = map(len, (spectrum.eigenvalues, spectrum.lower_sums, spectrum.upper_sums))
    if count > spectrum.dim:
        raise ValueError(f"{count:,} eigenvalues of {spectrum.dim:,} features")
    if lower not in (0, count):
        raise ValueError(f"{count:,} eigenvalues and {lower:,} lower sums")
    if 0 < upper < count:
        raise ValueError(f"{count:,} eigenvalues and bounds of {upper:,} sums")
