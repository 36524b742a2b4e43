"""Spectra: eigenvalues and totals in, K(τ), the spread K(τ)/D and the metrics out, as proved intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from streamspread.errors import OptionError
from streamspread.results.check import check_spectrum
from streamspread.results.directions import Directions
from streamspread.results.estimates import Estimate, Growth
from streamspread.results.interval import Interval as Interval
from streamspread.results.layers import ByLayer
from streamspread.results.metrics import Metrics
from streamspread.results.objects import SpectraObject, SpectrumObject
from streamspread.results.views import WHOLE

if TYPE_CHECKING:
    from streamspread.results.classes import Classes

#: A layer that is a linear function of a smaller activation leaves those directions by roundings alone. They
#: change a deviation by a 2⁻⁸th at the most (bf16), so what variance they make is a far smaller share of T
#: than this: only thresholds nearer to 1 can ask for directions that roundings made.
ROUNDINGS = 2.0**-8

_MOST_SAID = 6  # layers that a line names, without the gap in it


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
class Spectrum(Metrics, SpectrumObject):
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
        """Refuse what no K follows from (:func:`streamspread.results.check.check_spectrum`).

        Raises:
            ValueError: see there.
        """
        check_spectrum(self)

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


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # == on arrays would raise, not compare
class LayerSpectrum(Spectrum):
    """A layer's spectrum and how it was made.

    Attributes:
        layer: the tap's name, and behind an @ the view, unless that is the whole. ``shape``: of one sample's
            activation, such as (C, H, W).
        method: the accumulator that made it: covariance, gram, sketch, or another that is registered.
        rounding: the precision of the activations that were summed: fp64, fp32, fp16, bf16 or int16.
        passes: how many times the data went through the network for this layer.
        seconds: of wall-clock time, spent on this layer alone (sums and eigenvalues); the forward is shared
            by all layers of a pass and not counted, nor is making rows of a view. NaN: not measured.
        peak_bytes: the most memory that the passes with this layer were measured to take beyond what was in
            use before them; 0 where it was not measured.
        source_dim: the dimension of a smaller activation of which this layer is a linear function, if any: no
            more directions than that can vary.
        summed_dim: how many numbers of a sample were summed, where these were not the layer's D but those of
            an activation of which it is a linear function; else None.
        view: what a sample is: an image's whole output, or what is made of its places
            (:data:`streamspread.results.views.VIEWS`).
        images: how many images the samples are places of; None where each sample is an image of its own.
        share_of_whole: where an image's mean over its P places was seen beside its whole output, the share of
            the whole's variance that these means hold: P times their variance, over that of the whole.
            Else NaN.
    """

    layer: str
    shape: tuple[int, ...]
    method: str
    rounding: str
    passes: int
    seconds: float = math.nan
    peak_bytes: int = 0
    source_dim: int | None = None
    summed_dim: int | None = None
    view: str = WHOLE
    images: int | None = None
    share_of_whole: float = math.nan

    @property
    def own_name(self) -> str:
        """The layer's, whatever the view."""
        return self.layer.removesuffix(f"@{self.view}")

    @property
    def seen(self) -> int:
        """How many images were."""
        return self.samples if self.images is None else self.images

    @property
    def rank_limit(self) -> int:
        """min(D, N − 1), or min(``summed_dim``, N − 1)."""
        return min(self.summed_dim or self.dim, self.samples - 1)

    @property
    def directions(self) -> int:
        """min(D, ``summed_dim``, ``source_dim``): how many there are, however many samples came."""
        return min(self.dim, self.summed_dim or self.dim, self.source_dim or self.dim)

    @property
    def ceiling(self) -> int:
        """min(D, N − 1, ``source_dim``): what no K can exceed."""
        return min(self.rank_limit, self.directions)

    def _said(self) -> str:
        return f"{self.layer}: {super()._said()}, {self.method} {self.rounding}"


class Spectra(ByLayer[LayerSpectrum], SpectraObject):
    """Layers' spectra by name, in network order.

    Attributes:
        thresholds: those asked for; any other can be asked of the spectra as well, without a new run.
        provenance: how the result was made, as JSON holds it (:func:`streamspread.store.provenance`).
        twin: of the same layers of the same network with fresh weights; None where none was analysed.
    """

    def __init__(
        self,
        layers: Iterable[LayerSpectrum],
        thresholds: Sequence[float] = (0.7,),
        provenance: Mapping[str, Any] | None = None,
        twin: Spectra | None = None,
    ) -> None:
        super().__init__(layers, provenance)
        self.thresholds = check_thresholds(thresholds)
        self.twin = twin

    def at(self, thresholds: Sequence[float]) -> Spectra:
        """The same spectra for other thresholds; OptionError for one outside (0, 1]."""
        twin = self.twin and self.twin.at(thresholds)
        return Spectra(self.values(), thresholds, self.provenance, twin)

    def __repr__(self) -> str:
        tau = self.thresholds[0]
        parts = [f"{name}: K({tau:g}) = {s.components(tau)} of {s.dim:,}" for name, s in self._layers.items()]
        if len(parts) > _MOST_SAID:
            parts[_MOST_SAID - 1 : -1] = [f"… {len(parts) - _MOST_SAID} more …"]
        return f"Spectra({', '.join(parts)})"
