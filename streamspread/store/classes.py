"""The column of a result in which a layer's classes stand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from streamspread.results.classes import ClassComponents, Classes
from streamspread.results.spectra import LayerSpectrum
from streamspread.results.spectrum import Spectrum
from streamspread.store.columns import intervals, or_nan, or_null

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
        "between": _FLOATS,  # older files have neither of these two
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
    written = row.get("between")
    between = np.asarray([] if written is None else written, np.float64)
    span = or_nan(row.get("span_share"))
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
