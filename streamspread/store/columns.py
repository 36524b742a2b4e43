"""Columns of a result: numbers, a layer's classes, and its directions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from streamspread.results.classes import ClassComponents, Classes
from streamspread.results.directions import Directions
from streamspread.results.metrics import SpectrumLike
from streamspread.results.spectra import LayerSpectrum
from streamspread.results.spectrum import Spectrum


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


_FLOATS = pa.list_(pa.float64())
_NUMBERS = ("eigenvalues", "lower_sums", "upper_sums")

# What bounds K within the classes; its number of samples is N − C + 1.
_WITHIN = {
    "samples": pa.int64(),
    "total_variance": pa.float64(),
    "complete": pa.bool_(),
    "proof": pa.string(),
    **dict.fromkeys(_NUMBERS, _FLOATS),
}
_EACH = {
    "threshold": pa.float64(),
    "name": pa.string(),
    "samples": pa.int64(),
    "components": pa.int64(),
    "mixed": pa.float64(),
}
_INTERVAL = {"threshold": pa.float64(), "low": pa.int64(), "high": pa.int64()}

CLASSES = pa.struct(
    {
        "names": pa.list_(pa.string()),
        "counts": pa.list_(pa.int64()),
        "between_share": pa.float64(),
        "nc1": pa.float64(),
        "within": pa.struct(_WITHIN),
        "components_within": pa.list_(pa.struct(_INTERVAL)),  # for other programs
        "each": pa.list_(pa.struct(_EACH)),
        "between": _FLOATS,
        "span_share": pa.float64(),
    }
)


def classes_row(spectrum: LayerSpectrum, thresholds: Sequence[float]) -> dict[str, Any] | None:
    """A layer's classes as the column holds them."""
    classes = spectrum.classes
    if classes is None:
        return None
    within = classes.within
    return {
        "names": classes.names,
        "counts": classes.counts,
        "between_share": or_null(classes.between_share),
        "nc1": or_null(classes.nc1),
        "within": None if within is None else {name: getattr(within, name) for name in _WITHIN},
        "components_within": None if within is None else intervals(within, thresholds),
        "each": [asdict(one) for one in classes.each],
        "between": classes.between,
        "span_share": or_null(classes.span_share),
    }


def classes_in(row: Mapping[str, Any] | None, dim: int) -> Classes | None:
    """What :func:`classes_row` wrote, of a layer of so many features.

    Raises:
        ValueError: what is no split of a variance.
    """
    if row is None:
        return None
    if len(row["names"]) != len(row["counts"]) or any(count < 1 for count in row["counts"]):
        raise ValueError(f"{len(row['names'])} classes of {row['counts']} samples")
    share, nc1 = or_nan(row["between_share"]), or_nan(row["nc1"])
    if not (math.isnan(share) or 0.0 <= share <= 1.0) or nc1 < 0.0 or math.isinf(nc1):
        raise ValueError(f"a share of {share:g} between classes, and NC1 of {nc1:g}")
    between, span = np.asarray(row["between"], np.float64), or_nan(row["span_share"])
    if not (math.isnan(span) or 0.0 <= span <= 1.0):
        raise ValueError(f"a share of {span:g} along the classes' means")
    if len(between) >= len(row["names"]) or not np.isfinite(between).all() or (between < 0.0).any():
        raise ValueError(
            f"{len(between)} eigenvalues between {len(row['names'])} classes, or none of 0 or more"
        )
    within = row["within"]
    if within is not None:
        arrays = {name: np.asarray(within[name], np.float64) for name in _NUMBERS}
        within = Spectrum(**{**within, **arrays, "dim": dim})
    return Classes(
        names=tuple(row["names"]),
        counts=tuple(row["counts"]),
        between_share=share,
        nc1=nc1,
        within=within,
        each=tuple(_each(one) for one in row["each"]),
        between=between,
        span_share=span,
    )


def _each(row: Mapping[str, Any]) -> ClassComponents:
    one = ClassComponents(**row)
    known = None not in row.values()
    if not (known and 0 <= one.components <= one.samples and 0.0 <= one.mixed < math.inf):
        raise ValueError(f"class {one.name}: K of {one.components}, {one.mixed} where classes are mixed")
    return one


#: Matrices row by row; large lists, since their offsets reach beyond 2³¹ numbers of all layers together.
LEADING = pa.struct(
    {
        "variances": pa.list_(pa.float64()),
        "residuals": pa.list_(pa.float64()),
        "mean": pa.large_list(pa.float64()),
        "vectors": pa.large_list(pa.float32()),
        "scores": pa.large_list(pa.float32()),
    }
)


def leading_row(found: Directions | None) -> dict[str, Any] | None:
    """A layer's directions, as the column has them."""
    if found is None:
        return None
    return {
        "variances": found.variances_K,
        "residuals": found.residuals_K,
        "mean": found.mean_D,
        "vectors": found.vectors_KD.reshape(-1),
        "scores": None if found.scores_NK is None else found.scores_NK.reshape(-1),
    }


def leading_in(row: pa.StructScalar | None, dim: int, samples: int) -> Directions | None:
    """What :func:`leading_row` made a row of, bit for bit.

    Raises:
        ValueError: other shapes than those of a layer's directions, or numbers that are not finite.
    """
    if row is None or not row.is_valid:
        return None

    def numbers(name: str) -> np.ndarray:
        values = row[name].values
        return np.empty(0) if values is None else as_numpy(values)

    variances_K, vectors = numbers("variances"), numbers("vectors")
    count = len(variances_K)
    scores = numbers("scores") if row["scores"].is_valid else None
    return Directions(
        vectors_KD=vectors.reshape(count, dim).astype(np.float32, copy=False),
        variances_K=variances_K,
        residuals_K=numbers("residuals"),
        mean_D=numbers("mean"),
        scores_NK=None if scores is None else scores.reshape(samples, count).astype(np.float32, copy=False),
    )
