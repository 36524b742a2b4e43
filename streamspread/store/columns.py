"""Numbers as the columns of a result hold them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from streamspread.results.metrics import SpectrumLike


def or_null(value: float) -> float | None:
    """A number as files hold it: what is not known is null there, not NaN."""
    return None if math.isnan(value) else value


def or_nan(value: float | None) -> float:
    """A number as a file held it, with NaN for what is not known."""
    return math.nan if value is None else value


def as_numpy(values: Any) -> np.ndarray:
    """The numbers of a pyarrow array, with NaN for those that are missing; not to be written to. Its own
    ``to_numpy`` imports pandas where that is installed, which takes a tenth of a second."""
    return values.to_numpy(zero_copy_only=False) if values.null_count else np.from_dlpack(values)


def intervals(spectrum: SpectrumLike, thresholds: Iterable[float]) -> list[dict[str, float]]:
    """K at each threshold as a column of files holds it."""
    found = ((tau, spectrum.components(tau)) for tau in thresholds)
    return [{"threshold": tau, "low": int(k.low), "high": int(k.high)} for tau, k in found]
