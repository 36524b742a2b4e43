"""Metrics: single numbers that sum up a spectrum, each by its name in the literature.

A method of :class:`Metrics` with ``@Metric`` is all that a metric takes. From it every spectrum has an
attribute, the Arrow file a column, JSON and CSV an entry, and the report's tables a column.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, overload

import numpy as np


class Known(Protocol):
    """What a metric may use of a spectrum; :class:`streamspread.results.spectrum.Spectrum` explains it."""

    @property
    def total_variance(self) -> float: ...
    @property
    def eigenvalues(self) -> np.ndarray: ...
    @property
    def complete(self) -> bool: ...
    @property
    def sum_of_squares(self) -> float: ...


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
    def participation_ratio(self: Known) -> float:
        """T² / Σλ², between 1 and D: D for equal eigenvalues, 1 for a single one (Gao et al. 2017, "A theory
        of multineuronal dimensionality, dynamics and measurement", doi:10.1101/214262).

        NaN for a constant layer and where Σλ² is not known.
        """
        squares = self.sum_of_squares
        if math.isnan(squares) and self.complete:
            squares = float(np.sum(np.square(self.eigenvalues)))
        return self.total_variance**2 / squares if squares > 0 else math.nan

    @Metric
    def effective_rank(self: Known) -> float:
        """exp(−Σ p·ln p) with p = λ/T, between 1 and D (Roy & Vetterli 2007, EUSIPCO, "The effective rank: a
        measure of effective dimensionality"; there p are shares of singular values, here of variances).

        NaN for a constant layer and unless every eigenvalue is known.
        """
        if not self.complete or self.total_variance <= 0:
            return math.nan
        p = self.eigenvalues[self.eigenvalues > 0]
        p = p / p.sum()
        return float(np.exp(-np.sum(p * np.log(p))))


def metric_names() -> tuple[str, ...]:
    """The names of all metrics, in order."""
    return tuple(name for name, member in vars(Metrics).items() if isinstance(member, Metric))


def metrics_of(spectrum: Metrics) -> dict[str, float]:
    """Every metric of the spectrum by name; NaN where it is not known."""
    return {name: getattr(spectrum, name) for name in metric_names()}
