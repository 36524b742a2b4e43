"""What every spectrum must be, wherever it is made or read: numbers, in order, none below zero."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from streamspread.results.spectrum import Spectrum


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
