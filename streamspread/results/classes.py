"""What labels tell of a layer: how much of its variance lies between classes, and how each one spreads."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from streamspread.results.metrics import SpectrumLike


@dataclass(frozen=True)
class ClassComponents:
    """K(τ) of one class beside that of as many samples of all classes. As computed in float32; not proved.

    Attributes:
        threshold: τ. ``name``: of the class. ``samples``: how many it has.
        components: K of these, about their own mean.
        mixed: the mean K of up to four sets of as many samples, drawn from all classes.
    """

    threshold: float
    name: str
    samples: int
    components: int
    mixed: float


@dataclass(frozen=True, eq=False)
class Classes:
    """A layer's variance split by class: Σ(x − x̄)² = Σ(x − x̄_c)² within + Σ n_c(x̄_c − x̄)² between.

    Attributes:
        names, counts: of the C classes that occur.
        between_share: the share of the variance that lies between the classes' means, from 0 to 1; NaN where
            the layer is constant.
        between: (B,) float64, descending: the eigenvalues of the covariance of the classes' means, each taken
            as often as its class has samples, with divisor N − 1; B is C − 1 or less. Their sum is
            ``between_share`` of the layer's total variance.
        span_share: the share of the variance that lies along the directions which the classes' means span,
            between classes and within them; NaN where these directions are not known.
        nc1: tr(Σ_W Σ_B†)/C, with Σ_W the mean outer product of deviations from the class's mean, and Σ_B that
            of the class means from the mean of all (Papyan, Han & Donoho 2020, doi:10.1073/pnas.2015509117,
            section "NC1"): 0 where all samples of a class are one point. NaN where the means are.
        within: the spectrum of the covariance within classes, pooled over them with divisor N − C, and so
            with N − C + 1 for its number of samples; None where no class has two samples, or where each
            class is one point but for what the sums' rounding hides.
        each: K of every class, where inner products of samples were summed; else empty.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    between_share: float = math.nan
    nc1: float = math.nan
    within: SpectrumLike | None = None
    each: tuple[ClassComponents, ...] = ()
    between: np.ndarray = field(default_factory=lambda: np.empty(0))
    span_share: float = math.nan

    def at(self, threshold: float) -> tuple[ClassComponents, ...]:
        """K(τ) of every class at one threshold; empty where it is not known."""
        return tuple(one for one in self.each if one.threshold == threshold)
