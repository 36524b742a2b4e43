"""Spectra as Arrow files, one row per layer, with the run's provenance in the schema metadata."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from streamspread.errors import OptionError, StoreError
from streamspread.results.embedding import Embedding
from streamspread.results.growth import Growth, Point
from streamspread.results.metrics import metric_names, metrics_of
from streamspread.results.spectra import LayerSpectrum, Spectra
from streamspread.results.views import check_views
from streamspread.store import embeddings, facts, files, spectra
from streamspread.store.columns import (
    CLASSES,
    LEADING,
    as_numpy,
    classes_in,
    classes_row,
    intervals,
    leading_in,
    leading_row,
    or_nan,
    or_null,
)

KIND = "spectra"

_OTHERS = (".csv", ".html", ".json", ".npz", ".parquet", ".pdf", ".png", ".pt", ".safetensors", ".xlsx")
_AGREEMENT = 1e-3  # of T, by which numbers of one layer may differ

_INTEGER, _REAL, _REALS = pa.int64(), pa.float64(), pa.list_(pa.float64())
_K = {"threshold": _REAL, "low": _INTEGER, "high": _INTEGER}
# K over parts of the samples, and what it tells of K beyond them, for N → ∞.
_POINT = {
    "threshold": _REAL,
    "images": _INTEGER,
    "subsets": _INTEGER,
    "mean_inverse": _REAL,
    "sd_inverse": _REAL,
    "mean_fall": _REAL,
    "at_edge": pa.bool_(),
}
_ESTIMATE = {"threshold": _REAL, "value": _REAL, "half_width": _REAL, "told": pa.bool_()}

#: The columns of a file, to which every metric that is not among them adds one. A column is the field of that
#: name of a :class:`LayerSpectrum`, unless :func:`_row` makes it.
_COLUMNS = {
    "layer": pa.string(),
    "shape": pa.list_(_INTEGER),
    "dim": _INTEGER,
    "samples": _INTEGER,
    "method": pa.string(),
    "rounding": pa.string(),
    "passes": _INTEGER,
    "total_variance": _REAL,
    "eigenvalues": _REALS,
    "complete": pa.bool_(),
    "components": pa.list_(pa.struct(_K)),
    "participation_ratio": _REAL,
    "effective_rank": _REAL,
    "seconds": _REAL,
    "peak_bytes": _INTEGER,
    "sum_of_squares": _REAL,
    "upper_sums": _REALS,
    "proof": pa.string(),
    "lower_sums": _REALS,
    "ceiling": _INTEGER,  # for other programs, as are estimates
    "fourth_moment": _REAL,
    "growth": pa.list_(pa.struct(_POINT)),
    "estimates": pa.list_(pa.struct(_ESTIMATE)),
    "classes": CLASSES,
    "summed_dim": _INTEGER,
    "moved": _REAL,
    "twin": pa.bool_(),  # whether the weights are those of the random twin
    "view": pa.string(),
    "images": _INTEGER,  # where samples are places of these
    "leading": LEADING,
    "share_of_whole": _REAL,
    "source_dim": _INTEGER,
}
_FIELDS = [one.name for one in fields(LayerSpectrum) if one.name in _COLUMNS]
_NULL = {"growth", "estimates", "classes", "summed_dim", "images", "leading", "source_dim"}
_NULL |= {name for name, kind in _COLUMNS.items() if kind == _REAL} - {"total_variance"}

#: The columns that a file must have: of metrics the first two, by which other programs know them.
SCHEMA = pa.schema([pa.field(name, kind, name in _NULL) for name, kind in _COLUMNS.items()])


def write(spectra: Spectra, path: str | Path) -> None:
    """Write ``spectra`` as an Arrow IPC file, whole or not at all: no reader ever sees half a file.

    Raises:
        StoreError: these are no spectra, the name is that of another kind of file, or it cannot be written.
            What was at ``path`` before is then still there, untouched.
    """
    if not isinstance(spectra, Spectra):
        raise StoreError(f"cannot write {type(spectra).__name__}: give the Spectra of an analysis")
    if Path(path).suffix.lower() in _OTHERS:
        raise StoreError(
            f"cannot write {str(path)!r}: a result is an Arrow file, as result.arrow; to_polars() and "
            "to_pandas() give tables, which write other kinds"
        )
    header = {"kind": KIND, "thresholds": spectra.thresholds, "provenance": spectra.provenance}
    if spectra.twin is not None:
        header["twin"] = spectra.twin.provenance
    files.save(_table(spectra), header, path)


def read(path: str | Path) -> Spectra:
    """Read what :func:`write` wrote. Every float64 comes back bit for bit; metrics are computed anew.

    Raises:
        StoreError: no such file, or not a whole streamspread result of a format this version reads.
    """
    return from_table(*files.load(path), path)


def from_table(table: pa.Table, header: Mapping[str, Any], path: str | Path) -> Spectra:
    """The spectra in a table that was loaded from ``path``; errors as :func:`read`."""
    if (kind := header.get("kind", KIND)) != KIND:
        raise StoreError(f"{str(path)!r} holds an {kind}, not spectra: give a file that run wrote")
    table = files.conform(table, SCHEMA, path, "run")
    try:
        layers: dict[bool, list[LayerSpectrum]] = {False: [], True: []}
        for row, is_twins in enumerate(table["twin"].to_pylist()):
            layers[is_twins].append(_named(table, row))
        twin = None
        if "twin" in header:
            twin = Spectra(layers[True], header["thresholds"], facts.checked(header["twin"]))
        return Spectra(layers[False], header["thresholds"], facts.checked(header["provenance"]), twin)
    except (pa.ArrowException, ValueError, TypeError, KeyError, OptionError) as error:
        raise files.other_kind(path, error, "run") from error


def _table(spectra: Spectra) -> pa.Table:
    twins = () if spectra.twin is None else tuple(spectra.twin.values())
    others = (name for name in metric_names() if name not in SCHEMA.names)
    schema = pa.schema([*SCHEMA, *(pa.field(name, _REAL) for name in others)])
    rows = [_row(s, spectra.thresholds) | {"twin": False} for s in spectra.values()]
    rows += [_row(s, spectra.thresholds) | {"twin": True} for s in twins]
    return pa.table({name: [row[name] for row in rows] for name in schema.names}, schema)


def _row(s: LayerSpectrum, thresholds: tuple[float, ...]) -> dict[str, Any]:
    """A layer's value in every column; what is not known is null there."""
    row = {name: getattr(s, name) for name in (*_FIELDS, "ceiling")} | metrics_of(s)
    row |= {
        "components": intervals(s, thresholds),
        "growth": None if s.growth is None else [vars(point) for point in s.growth.points],
        "estimates": _estimates(s),
        "classes": classes_row(s, thresholds),
        "leading": leading_row(s.leading),
    }
    return {name: or_null(value) if isinstance(value, float) else value for name, value in row.items()}


def _estimates(spectrum: LayerSpectrum) -> list[dict[str, Any]] | None:
    if spectrum.growth is None:
        return None
    found = ((tau, spectrum.estimate(tau)) for tau in spectrum.growth.thresholds)
    return [
        {
            "threshold": tau,
            "value": or_null(one.value),
            "half_width": or_null(one.half_width),
            "told": one.told,
        }
        for tau, one in found
        if one is not None
    ]


def _named(table: pa.Table, row: int) -> LayerSpectrum:
    """The layer of a row; what is wrong with it is said by its name."""
    try:
        return _layer(table, row)
    except ValueError as error:
        raise ValueError(f"layer {table['layer'][row].as_py()}: {error}") from error


def _layer(table: pa.Table, row: int) -> LayerSpectrum:
    values: dict[str, Any] = {}
    for name in _FIELDS:
        scalar, kind = table[name][row], _COLUMNS[name]
        if kind == _REALS:
            values[name] = as_numpy(scalar.values)
        elif name != "leading":
            values[name] = or_nan(scalar.as_py()) if kind == _REAL else scalar.as_py()
    values |= {
        "shape": tuple(values["shape"]),
        "growth": values["growth"] and Growth(tuple(Point(**point) for point in values["growth"])),
        "classes": classes_in(values["classes"], values["dim"]),
        "leading": leading_in(table["leading"][row], values["dim"], values["samples"]),
    }
    spectrum = LayerSpectrum(**values)
    if not spectrum.complete and not len(spectrum.upper_sums):
        raise ValueError("upper sums are missing, and not all eigenvalues are there")
    written = {name: table[name][row].as_py() for name in ("components", *_POSITIVE)}
    _check_row(spectrum, written)
    _check_agreement(spectrum, written["components"])
    return spectrum


_POSITIVE = ("seconds", "participation_ratio", "effective_rank")


def _check_row(s: LayerSpectrum, written: Mapping[str, Any]) -> None:
    """Refuse a row whose other columns are not what :func:`write` writes: numbers, and none below zero."""
    if math.prod(s.shape) != s.dim or min(s.shape, default=1) < 1:
        raise ValueError(f"shape {s.shape} has not {s.dim:,} features")
    if s.passes < 1 or s.peak_bytes < 0:
        raise ValueError(f"{s.passes} passes and a peak of {s.peak_bytes} bytes")
    check_views(s.view)
    if s.images is not None and not 0 < s.images <= s.samples:
        raise ValueError(f"{s.samples:,} samples of {s.images:,} images")
    for name in ("summed_dim", "source_dim"):
        if (dim := getattr(s, name)) is not None and not 0 < dim <= s.dim:
            raise ValueError(f"{s.dim:,} features, and {name.replace('_', ' ')} {dim:,}")
    if not (math.isnan(s.share_of_whole) or 0.0 <= s.share_of_whole <= 1.0):
        raise ValueError(f"a share of {s.share_of_whole:g} of the whole's variance")
    for name in _POSITIVE:
        if written[name] is not None and not 0.0 <= written[name] < math.inf:
            raise ValueError(f"{name.replace('_', ' ')} {written[name]:g}: it must be finite, and 0 or more")
    for one in written["components"]:
        if None in one.values() or not 0.0 < one["threshold"] <= 1.0 or not 0 <= one["low"] <= one["high"]:
            raise ValueError(f"K({one['threshold']}) is [{one['low']}, {one['high']}]")


def _check_agreement(spectrum: LayerSpectrum, written: list[dict[str, Any]]) -> None:
    """Refuse numbers that cannot be of one layer: two bounds, or two intervals of one K, that exclude each
    other. Roundings are allowed for, of whichever version wrote them."""
    total, upper = spectrum.total_variance, spectrum.upper_sums
    lower = spectrum.lower_sums if len(spectrum.lower_sums) else np.cumsum(spectrum.eigenvalues)
    slack = _AGREEMENT * total
    if len(lower) and lower[-1] > total + slack:
        raise ValueError(f"eigenvalues add up to {lower[-1]:g}, of a total variance of {total:g}")
    if len(upper) and (upper[: len(lower)] < lower - slack).any():
        raise ValueError("upper sums lie below those of the eigenvalues")
    for one in written:
        low, high = spectrum.components(one["threshold"])
        if low > one["high"] or high < one["low"]:
            raise ValueError(
                f"K({one['threshold']:g}) is [{one['low']}, {one['high']}] in the file, and [{low}, {high}] "
                "by its eigenvalues"
            )


def read_any(path: str | Path) -> Spectra | Embedding:
    """The spectra or the embedding that the file holds.

    Raises:
        StoreError: no such file, or not a whole streamspread result of a format this version reads.
    """
    table, header = files.load(path)
    reader = embeddings if header.get("kind") == embeddings.KIND else spectra
    return reader.from_table(table, header, path)
