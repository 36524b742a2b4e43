"""Metrics: single numbers that sum up a spectrum, each by its name in the literature.

A method of :class:`Metrics` with ``@Metric`` is all that a metric takes. From it every spectrum has an
attribute, the Arrow file a column, JSON and CSV an entry, and the report's tables a column.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, overload

import numpy as np

from streamspread.results.interval import Interval

_NARROW = 1e-3  # wider bounds of a share tell no share

_SMALL = 1e-280  # sums of squares below it have lost digits


class SpectrumLike(Protocol):
    """What a metric may use of a spectrum; :class:`streamspread.results.spectrum.Spectrum` explains it."""

    @property
    def dim(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def total_variance(self) -> float: ...
    @property
    def eigenvalues(self) -> np.ndarray: ...
    @property
    def complete(self) -> bool: ...
    @property
    def sum_of_squares(self) -> float: ...
    @property
    def fourth_moment(self) -> float: ...
    def components(self, threshold: float) -> Interval: ...
    def share(self, count: int) -> Interval: ...


class Metric:
    """A read-only attribute that is computed each time: a function of a spectrum → float, NaN where it is not
    known."""

    def __init__(self, compute: Callable[[Any], float]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, spectrum: None, owner: type) -> Metric: ...
    @overload
    def __get__(self, spectrum: object, owner: type | None = None) -> float: ...
    def __get__(self, spectrum: object | None, owner: type | None = None) -> Metric | float:
        return self if spectrum is None else self.compute(spectrum)

    def __set__(self, spectrum: object, value: object) -> None:
        raise AttributeError("a metric follows from the eigenvalues and cannot be set")


class Metrics:
    """The metrics of a spectrum, in the order in which files and tables have them."""

    @Metric
    def participation_ratio(self: SpectrumLike) -> float:
        """T² / Σλ², between 1 and D: D for equal eigenvalues, 1 for a single one (Gao et al. 2017, "A theory
        of multineuronal dimensionality, dynamics and measurement", doi:10.1101/214262).

        It grows with N, to the value of infinitely many samples. NaN for a constant layer and where Σλ² is
        not known.
        """
        share = _share_of_squares(self)
        return 1.0 / share if share > 0.0 else math.nan

    @Metric
    def effective_rank(self: SpectrumLike) -> float:
        """exp(−Σ p·ln p) with p = λ/T, between 1 and D (Roy & Vetterli 2007, EUSIPCO, "The effective rank: a
        measure of effective dimensionality"; there p are shares of singular values, here of variances).

        NaN for a constant layer and unless every eigenvalue is known.
        """
        if not self.complete or self.total_variance <= 0:
            return math.nan
        p = self.eigenvalues[self.eigenvalues > 0]
        p = p / p.sum()
        return float(np.exp(-np.sum(p * np.log(p))))

    @Metric
    def participation_ratio_unbiased(self: SpectrumLike) -> float:
        """T² over an estimate of tr(Σ²) without bias, for the covariance Σ of infinitely many samples, where
        ``participation_ratio`` has tr(S²) of the N that were seen, which is too large:

            (N−1) / (N(N−2)(N−3)) · [(N−1)(N−2)·tr(S²) + T² − N·Q],   Q = Σ‖x − mean‖⁴ / (N−1)

        (Himeno & Yamada 2014, J. Multivariate Analysis 130, doi:10.1016/j.jmva.2014.04.020; for dimensions of
        neural activity Chun et al. 2025, arXiv:2509.26560). NaN for fewer than 4 samples, and where Q or Σλ²
        is not known or the estimate is not positive: N is then far too small.
        """
        n, total = float(self.samples), self.total_variance
        if n < 4 or not total > 0.0:
            return math.nan
        fourth = self.fourth_moment / total / total
        bracket = (n - 1) * (n - 2) * _share_of_squares(self) + 1.0 - n * fourth
        share = (n - 1) / (n * (n - 2) * (n - 3)) * bracket
        return 1.0 / share if share > 0.0 else math.nan

    @Metric
    def stable_rank(self: SpectrumLike) -> float:
        """‖C‖²_F / ‖C‖²₂ = Σλ² / λ₁², between 1 and D: the stable rank of the covariance (Rudelson &
        Vershynin 2007, "Sampling from large matrices", doi:10.1145/1255443.1255449).

        That of the centred activations themselves is T / λ₁, which is ``nesum``. NaN for a constant layer and
        where Σλ² is not known.
        """
        if not _varies(self):
            return math.nan
        return _share_of_squares(self) * (self.total_variance / float(self.eigenvalues[0])) ** 2

    @Metric
    def nesum(self: SpectrumLike) -> float:
        """Σλ / λ₁ = T / λ₁, between 1 and D: the normalised sum of eigenvalues (He & Ozay 2022, ICML,
        "Exploring the gap between collapsed & whitened features in self-supervised learning"); also the
        stable rank of the centred activations, and the intrinsic dimension of their covariance.

        NaN for a constant layer, and where a sketch knows λ₁ to no more than 0.001 of itself.
        """
        if not _varies(self):
            return math.nan
        low, high = self.share(1)
        known = _are_those(self) or high - low <= _NARROW * high
        return self.total_variance / float(self.eigenvalues[0]) if known else math.nan

    @Metric
    def rankme(self: SpectrumLike) -> float:
        """exp(−Σ p·ln p) with p = √λ / Σ√λ, shares of singular values (Garrido et al. 2023, ICML, "RankMe:
        assessing the downstream performance of pretrained self-supervised representations by their rank";
        there of activations that are not centred).

        **Bound to N**: small singular values count for much, so it grows with N for as long as N is below D,
        and only values at one N compare. NaN for a constant layer and unless every eigenvalue is known.
        """
        if not self.complete or not _varies(self):
            return math.nan
        p = np.sqrt(self.eigenvalues[self.eigenvalues > 0] / self.eigenvalues[0])
        p = p / p.sum()
        return float(np.exp(-np.sum(p * np.log(p))))

    @Metric
    def power_law_10_100(self: SpectrumLike) -> float:
        """α of the power law λᵢ ∝ i^−α, by least squares of ln λ over ln i from the 10th component to the
        100th (Stringer et al. 2019, "High-dimensional geometry of population responses in visual cortex",
        doi:10.1038/s41586-019-1346-5, where the range was 11 to 500).

        It depends on the range, and the last components of few samples fall too fast. NaN where not all of
        these eigenvalues are known, as of a sketch, and positive.
        """
        return _power_law(self, 10, 100)

    @Metric
    def power_law_50_500(self: SpectrumLike) -> float:
        """α as ``power_law_10_100`` has it, from the 50th component to the 500th."""
        return _power_law(self, 50, 500)

    @Metric
    def saturation(self: SpectrumLike) -> float:
        """(K(0.99) − 1) / D, delve's layer saturation at its threshold, as a share instead of percent (Shenk,
        Richter, Arpteg & Huss 2019, "Spectral analysis of latent representations", arXiv:1907.08589).

        delve counts the components whose sum does not exceed 99 %, which is one less than K; it pools feature
        maps to their channels, whereas D is the whole layer's here. NaN for a constant layer and where
        K(0.99) is not known.
        """
        low, high = self.components(0.99)
        return (low - 1) / self.dim if 0 < low == high else math.nan

    @Metric
    def share_of_nine(self: SpectrumLike) -> float:
        """(λ₁ + … + λ₉)/T, the share of the variance that the nine leading components hold: as many as the
        means of ten classes can span, so it tells how near a layer of ten classes is to holding these alone
        (Papyan, Han & Donoho 2020, doi:10.1073/pnas.2015509117).

        The middle of the proved bounds; NaN where these are over 0.001 apart, and for a constant layer.
        """
        low, high = self.share(9)
        return (low + high) / 2 if high - low <= _NARROW else math.nan


def _varies(spectrum: SpectrumLike) -> bool:
    return (
        spectrum.total_variance > 0.0 and len(spectrum.eigenvalues) > 0 and bool(spectrum.eigenvalues[0] > 0)
    )


def _are_those(spectrum: SpectrumLike) -> bool:
    """Whether the eigenvalues are those of the covariance: all, or leading ones of sums of products, whose
    Σλ² is known. Those of a sketch may be far too small."""
    return spectrum.complete or not math.isnan(spectrum.sum_of_squares)


def _share_of_squares(spectrum: SpectrumLike) -> float:
    """Σλ² / T²; NaN for a constant layer and where it is not known. Nothing is squared that is not near 1."""
    total, squares = spectrum.total_variance, spectrum.sum_of_squares
    if not total > 0.0:
        return math.nan
    if _SMALL < squares < math.inf:
        return (math.sqrt(squares) / total) ** 2
    return float(np.sum(np.square(spectrum.eigenvalues / total))) if spectrum.complete else math.nan


def _power_law(spectrum: SpectrumLike, first: int, last: int) -> float:
    """−slope of ln λ over ln i, i = first … last."""
    values = spectrum.eigenvalues[first - 1 : last]
    if len(values) <= last - first or not values[-1] > 0.0 or not _are_those(spectrum):
        return math.nan
    return -float(np.polyfit(np.log(np.arange(first, last + 1)), np.log(values), 1)[0])


def metric_names() -> tuple[str, ...]:
    """The names of all metrics, in order."""
    return tuple(name for name, member in vars(Metrics).items() if isinstance(member, Metric))


def metrics_of(spectrum: Metrics) -> dict[str, float]:
    """Every metric of the spectrum by name; NaN where it is not known."""
    return {name: getattr(spectrum, name) for name in metric_names()}
