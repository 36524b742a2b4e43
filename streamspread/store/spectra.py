"""Spectra as Arrow files, one row per layer, with the run's provenance in the schema metadata."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from streamspread.errors import OptionError, StoreError
from streamspread.results.embedding import Embedding
from streamspread.results.growth import Growth, Point
from streamspread.results.metrics import metric_names, metrics_of
from streamspread.results.spectra import LayerSpectrum, Spectra
from streamspread.results.views import WHOLE, check_views
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

#: The columns of format 1, all of which a file must have. Two of them are metrics; every other metric has a
#: column after these, which is written for other programs and not needed to read the file.
SCHEMA = pa.schema(
    [
        pa.field("layer", pa.string(), nullable=False),
        pa.field("shape", pa.list_(pa.int64()), nullable=False),
        pa.field("dim", pa.int64(), nullable=False),
        pa.field("samples", pa.int64(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("rounding", pa.string(), nullable=False),
        pa.field("passes", pa.int64(), nullable=False),
        pa.field("total_variance", pa.float64(), nullable=False),
        pa.field("eigenvalues", pa.list_(pa.float64()), nullable=False),
        pa.field("complete", pa.bool_(), nullable=False),
        pa.field(
            "components",
            pa.list_(pa.struct({"threshold": pa.float64(), "low": pa.int64(), "high": pa.int64()})),
            nullable=False,
        ),
        pa.field("participation_ratio", pa.float64()),
        pa.field("effective_rank", pa.float64()),
        pa.field("seconds", pa.float64()),
        pa.field("peak_bytes", pa.int64(), nullable=False),
        pa.field("sum_of_squares", pa.float64()),
        pa.field("upper_sums", pa.list_(pa.float64()), nullable=False),
        pa.field("proof", pa.string(), nullable=False),
    ]
)


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
    there = [_as_written(field, table) for field in LATER if field.name in table.column_names]
    table = files.conform(table, pa.schema([*SCHEMA, *there]), path, "run")
    try:
        layers = [_named(table, row) for row in range(table.num_rows)]
        own = [s for s, is_twins in zip(layers, _of_twin(table), strict=True) if not is_twins]
        twin = None
        if "twin" in header:
            others = [s for s, is_twins in zip(layers, _of_twin(table), strict=True) if is_twins]
            twin = Spectra(others, header["thresholds"], facts.checked(header["twin"]))
        return Spectra(own, header["thresholds"], facts.checked(header["provenance"]), twin)
    except (pa.ArrowException, ValueError, TypeError, KeyError, OptionError) as error:
        raise files.other_kind(path, error, "run") from error


def _as_written(field: pa.Field, table: pa.Table) -> pa.Field:
    """A column's field, of a struct without the parts that older files do not have."""
    written = table.schema.field(field.name).type
    if not (pa.types.is_struct(field.type) and pa.types.is_struct(written)):
        return field
    names = {part.name for part in written}
    return field.with_type(pa.struct([part for part in field.type if part.name in names]))


# K over parts of the samples, and what it tells of K beyond them, for N → ∞.
_POINT = {
    "threshold": pa.float64(),
    "images": pa.int64(),
    "subsets": pa.int64(),
    "mean_inverse": pa.float64(),
    "sd_inverse": pa.float64(),
    "mean_fall": pa.float64(),
    "at_edge": pa.bool_(),
}
_ESTIMATE = {"threshold": pa.float64(), "value": pa.float64(), "half_width": pa.float64(), "told": pa.bool_()}

#: Columns that older files do not have.
LATER = pa.schema(
    [
        pa.field("lower_sums", pa.list_(pa.float64())),
        pa.field("ceiling", pa.int64()),
        pa.field("fourth_moment", pa.float64()),
        pa.field("growth", pa.list_(pa.struct(_POINT))),
        pa.field("estimates", pa.list_(pa.struct(_ESTIMATE))),  # for other programs
        pa.field("classes", CLASSES),
        pa.field("summed_dim", pa.int64()),
        pa.field("moved", pa.float64()),
        pa.field("twin", pa.bool_()),  # whether the weights are those of the random twin
        pa.field("view", pa.string()),
        pa.field("images", pa.int64()),  # where samples are places of these
        pa.field("leading", LEADING),
        pa.field("share_of_whole", pa.float64()),
        pa.field("source_dim", pa.int64()),
    ]
)


def full_schema() -> pa.Schema:
    """The columns that are written: those of format 1, those that came later, then a nullable float64 for
    every other metric."""
    others = (name for name in metric_names() if name not in SCHEMA.names)
    return pa.schema([*SCHEMA, *LATER, *(pa.field(name, pa.float64()) for name in others)])


def _table(spectra: Spectra) -> pa.Table:
    twins = () if spectra.twin is None else tuple(spectra.twin.values())
    layers = [*spectra.values(), *twins]
    metrics = [metrics_of(s) for s in layers]
    columns: dict[str, list[Any]] = {
        "layer": [s.layer for s in layers],
        "shape": [list(s.shape) for s in layers],
        "dim": [s.dim for s in layers],
        "samples": [s.samples for s in layers],
        "method": [s.method for s in layers],
        "rounding": [s.rounding for s in layers],
        "passes": [s.passes for s in layers],
        "total_variance": [s.total_variance for s in layers],
        "eigenvalues": [np.asarray(s.eigenvalues, np.float64) for s in layers],
        "complete": [s.complete for s in layers],
        "components": [intervals(s, spectra.thresholds) for s in layers],
        "seconds": [or_null(s.seconds) for s in layers],
        "peak_bytes": [s.peak_bytes for s in layers],
        "sum_of_squares": [or_null(s.sum_of_squares) for s in layers],
        "upper_sums": [np.asarray(s.upper_sums, np.float64) for s in layers],
        "proof": [s.proof for s in layers],
        "lower_sums": [np.asarray(s.lower_sums, np.float64) for s in layers],
        "ceiling": [s.ceiling for s in layers],
        "fourth_moment": [or_null(s.fourth_moment) for s in layers],
        "growth": [None if s.growth is None else [vars(point) for point in s.growth.points] for s in layers],
        "estimates": [_estimates(s) for s in layers],
        "classes": [classes_row(s, spectra.thresholds) for s in layers],
        "summed_dim": [s.summed_dim for s in layers],
        "moved": [or_null(s.moved) for s in layers],
        "twin": [False] * len(spectra) + [True] * len(twins),
        "view": [s.view for s in layers],
        "images": [s.images for s in layers],
        "leading": [leading_row(s.leading) for s in layers],
        "share_of_whole": [or_null(s.share_of_whole) for s in layers],
        "source_dim": [s.source_dim for s in layers],
    }
    columns |= {name: [or_null(values[name]) for values in metrics] for name in metric_names()}
    return pa.table(columns, full_schema())


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


def _of_twin(table: pa.Table) -> list[bool | None]:
    """Which rows are of the random twin; older files have none."""
    return table["twin"].to_pylist() if "twin" in table.column_names else [None] * table.num_rows


def _named(table: pa.Table, row: int) -> LayerSpectrum:
    """The layer of a row; what is wrong with it is said by its name."""
    try:
        return _layer(table, row)
    except ValueError as error:
        raise ValueError(f"layer {table['layer'][row].as_py()}: {error}") from error


def _layer(table: pa.Table, row: int) -> LayerSpectrum:
    def value(name: str) -> Any:
        return table[name][row].as_py() if name in table.column_names else None

    def number(name: str) -> float:
        return or_nan(value(name))

    def floats(name: str) -> np.ndarray:
        values = table[name][row].values if name in table.column_names else None
        return np.empty(0) if values is None else as_numpy(values)

    leading = table["leading"][row] if "leading" in table.column_names else None
    spectrum = LayerSpectrum(
        layer=value("layer"),
        shape=tuple(value("shape")),
        dim=value("dim"),
        samples=value("samples"),
        method=value("method"),
        rounding=value("rounding"),
        passes=value("passes"),
        total_variance=value("total_variance"),
        eigenvalues=floats("eigenvalues"),
        complete=value("complete"),
        lower_sums=floats("lower_sums"),
        upper_sums=floats("upper_sums"),
        sum_of_squares=number("sum_of_squares"),
        proof=value("proof"),
        fourth_moment=number("fourth_moment"),
        moved=number("moved"),
        growth=_growth(value("growth")),
        classes=classes_in(value("classes"), value("dim")),
        leading=leading_in(leading, value("dim"), value("samples")),
        summed_dim=value("summed_dim"),
        view=value("view") or WHOLE,
        images=value("images"),
        share_of_whole=number("share_of_whole"),
        seconds=number("seconds"),
        peak_bytes=value("peak_bytes"),
        source_dim=value("source_dim") or _source_dim(value("dim"), value("samples"), value("ceiling")),
    )
    if not spectrum.complete and not len(spectrum.upper_sums):
        raise ValueError("upper sums are missing, and not all eigenvalues are there")
    _check_row({name: value(name) for name in table.column_names if name != "leading"})
    _check_agreement(spectrum, value("components"))
    return spectrum


def _check_row(row: Mapping[str, Any]) -> None:
    """Refuse a row whose other columns are not what :func:`write` writes: numbers, and none below zero."""
    if math.prod(row["shape"]) != row["dim"] or min(row["shape"], default=1) < 1:
        raise ValueError(f"shape {tuple(row['shape'])} has not {row['dim']:,} features")
    if row["passes"] < 1 or row["peak_bytes"] < 0:
        raise ValueError(f"{row['passes']} passes and a peak of {row['peak_bytes']} bytes")
    check_views(row.get("view") or WHOLE)
    if (images := row.get("images")) is not None and not 0 < images <= row["samples"]:
        raise ValueError(f"{row['samples']:,} samples of {images:,} images")
    for name in ("summed_dim", "source_dim"):
        if (dim := row.get(name)) is not None and not 0 < dim <= row["dim"]:
            raise ValueError(f"{row['dim']:,} features, and {name.replace('_', ' ')} {dim:,}")
    if not 0.0 <= (row.get("share_of_whole") or 0.0) <= 1.0:
        raise ValueError(f"a share of {row['share_of_whole']:g} of the whole's variance")
    for name in ("seconds", "participation_ratio", "effective_rank"):
        if row[name] is not None and not 0.0 <= row[name] < math.inf:
            raise ValueError(f"{name.replace('_', ' ')} {row[name]:g}: it must be finite, and 0 or more")
    for one in row["components"]:
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


def _growth(points: list[dict[str, Any]] | None) -> Growth | None:
    return None if points is None else Growth(tuple(Point(**point) for point in points))


def _source_dim(dim: int, samples: int, ceiling: int | None) -> int | None:
    """What lowers the ceiling of a layer, if anything does: older files say no more."""
    return ceiling if ceiling is not None and ceiling < min(dim, samples - 1) else None


def read_any(path: str | Path) -> Spectra | Embedding:
    """The spectra or the embedding that the file holds.

    Raises:
        StoreError: no such file, or not a whole streamspread result of a format this version reads.
    """
    table, header = files.load(path)
    reader = embeddings if header.get("kind") == embeddings.KIND else spectra
    return reader.from_table(table, header, path)
