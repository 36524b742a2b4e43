"""Results as rows for other programs, every number in full: CSV, JSON, Arrow, Polars and pandas. None stands
for what is not known; only a result's Arrow file has eigenvalues."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np

from streamspread.errors import MissingError
from streamspread.results.comparison import Comparison
from streamspread.results.history import History
from streamspread.results.metrics import metric_names, metrics_of
from streamspread.results.similarity import Similarity
from streamspread.results.spectra import LayerSpectrum, Spectra
from streamspread.results.spectrum import Spectrum

Row = Mapping[str, Any]

# Attributes of a layer's spectrum and, under the same names, fields of its rows; metrics stand between them.
_ABOUT = (
    *("layer", "shape", "dim", "samples", "method", "rounding", "summed_dim", "passes", "complete"),
    *("proof", "total_variance"),
)
_COSTS = ("seconds", "peak_bytes", "ceiling")
_OF_CLASSES = ("between_share", "span_share", "nc1")
_OF_VIEW = ("view", "images", "share_of_whole")
#: Of a layer at a threshold. An estimate is of infinitely many images and not proved; ``random``: K of the
#: same network with random weights.
_AT_THRESHOLD = (
    *("threshold", "low", "high", "spread_low", "spread_high", "estimate", "estimate_half_width"),
    *("within_low", "within_high", "random_low", "random_high"),
)


def fields() -> tuple[str, ...]:
    """The names of what a row of spectra holds."""
    return (*_ABOUT, *metric_names(), *_COSTS, *_OF_CLASSES, *_OF_VIEW, *_AT_THRESHOLD)


@singledispatch
def rows(result: Any) -> list[Row]:
    """The rows of a result, by the names of its columns. TypeError for what has no rows."""
    raise TypeError(f"a {type(result).__name__} is no result that has rows")


@rows.register
def _(spectra: Spectra) -> list[Row]:
    """A row for each layer and threshold."""
    return [
        _of_layer(layer) | _at_threshold(layer, tau, spectra.twin)
        for layer in spectra.values()
        for tau in spectra.thresholds
    ]


@rows.register
def _(spectrum: Spectrum) -> list[Row]:
    """A row for each eigenvalue: its place from 1, and bounds of the share of T up to it."""
    count, total = len(spectrum.eigenvalues), spectrum.total_variance
    sums = np.cumsum(spectrum.eigenvalues)
    low = spectrum.lower_sums[:count] if len(spectrum.lower_sums) else sums
    high = spectrum.upper_sums[:count] if len(spectrum.upper_sums) else sums
    shares = [np.minimum(part / total, 1.0) if total > 0 else np.zeros(count) for part in (low, high)]
    columns = (np.arange(1, count + 1), spectrum.eigenvalues, *shares)
    names = ("component", "eigenvalue", "share_low", "share_high")
    return [
        dict(zip(names, row, strict=True))
        for row in zip(*(column.tolist() for column in columns), strict=True)
    ]


@rows.register
def _(comparison: Comparison) -> list[Row]:
    """A row for each layer."""
    return [
        {
            "layer": one.layer,
            "threshold": comparison.threshold,
            "dim_a": one.dims[0],
            "dim_b": one.dims[1],
            **_ends("a", one.a),
            **_ends("b", one.b),
            **_ends("difference", one.difference),
            **_ends("spread_a", one.spread_a),
            **_ends("spread_b", one.spread_b),
            "cka": _or_none(one.cka),
            "directions": len(one.angles),
            "overlap": _or_none(one.overlap),
            "largest_angle": float(one.angles[-1]) if len(one.angles) else None,
        }
        for one in comparison.values()
    ]


@rows.register
def _(similarity: Similarity) -> list[Row]:
    """A row for each pair of a row and a column."""
    return [
        {
            "row": row,
            "column": column,
            "row_dim": similarity.row_dims[i],
            "column_dim": similarity.column_dims[j],
            "samples": similarity.samples,
            "cka": _or_none(float(similarity.cka[i, j])),
            "debiased": _or_none(float(similarity.debiased[i, j])),
        }
        for i, row in enumerate(similarity.rows)
        for j, column in enumerate(similarity.columns)
    ]


@rows.register
def _(history: History) -> list[Row]:
    """A row for each look, layer and threshold; where nothing is known of K, one for the look and layer."""
    readings = [one.row() for one in history.readings]
    return [
        {name: value for name, value in row.items() if name != "components"} | k
        for row in readings
        for k in row["components"] or [{}]
    ]


def to_csv(result: Any, columns: Sequence[str] | None = None) -> str:
    """The rows under the names of all columns, or of ``columns``. What is not known is empty."""
    found = rows(result)
    names = list(columns or dict.fromkeys(name for row in found for name in row)) or ["layer"]
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in found:
        writer.writerow(
            {name: "x".join(map(str, cell)) if isinstance(cell, list) else cell for name, cell in row.items()}
        )
    return file.getvalue()


def to_json(result: Spectra | History, columns: Sequence[str] | None = None) -> str:
    """One object: ``provenance``, and ``readings`` in order, or ``thresholds`` and ``layers`` in network
    order, of which ``columns`` names fields. What is not known is null."""

    def selected(row: Row) -> Row:
        return {name: value for name, value in row.items() if columns is None or name in columns}

    content: dict[str, Any] = {"provenance": result.provenance}
    if isinstance(result, History):
        content["readings"] = [one.row() for one in result.readings]
    else:
        taus, twin = result.thresholds, result.twin
        content["thresholds"] = list(taus)
        content["layers"] = [
            {**selected(_of_layer(s)), "components": [selected(_at_threshold(s, tau, twin)) for tau in taus]}
            for s in result.values()
        ]
    return json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"


def to_arrow(result: Any) -> Any:
    """The rows of a result as an Arrow table."""
    import pyarrow as pa

    found = rows(result)
    table = pa.Table.from_pylist(found) if found else pa.table({"layer": pa.array([], pa.string())})
    for place, column in enumerate(table.schema):
        if pa.types.is_null(column.type):  # nothing in it is known: numbers are what is left out
            table = table.set_column(place, column.name, table.column(place).cast(pa.float64()))
    return table


def arrow_file(found: Sequence[Row]) -> bytes:
    """Rows as an Arrow file, compressed; texts that come again and again stand in it once."""
    import pyarrow as pa

    table = pa.Table.from_pylist(found)
    for place, column in enumerate(table.schema):
        if pa.types.is_string(column.type):
            table = table.set_column(place, column.name, table.column(place).dictionary_encode())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table.unify_dictionaries())
    return sink.getvalue().to_pybytes()


def to_polars(result: Any) -> Any:
    """The rows of a result as a Polars DataFrame.

    Raises:
        MissingError: Polars is not installed.
    """
    try:
        import polars
    except ImportError as error:
        raise MissingError(f"to_polars needs Polars ({error}): pip install polars") from error
    return polars.from_arrow(to_arrow(result))


def to_pandas(result: Any) -> Any:
    """The rows of a result as a pandas DataFrame.

    Raises:
        MissingError: pandas is not installed.
    """
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        raise MissingError(f"to_pandas needs pandas ({error}): pip install pandas") from error
    return to_arrow(result).to_pandas()


def _of_layer(layer: LayerSpectrum) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(layer, name) for name in (*_ABOUT, *_COSTS)}
    values |= {"shape": list(layer.shape), "view": layer.view, "images": layer.seen}
    values |= {"share_of_whole": layer.share_of_whole, **metrics_of(layer)}
    values |= {name: getattr(layer.classes, name, None) for name in _OF_CLASSES}
    return {name: _or_none(values[name]) for name in fields() if name in values}


def _at_threshold(layer: LayerSpectrum, tau: float, twin: Spectra | None) -> dict[str, Any]:
    estimate = layer.estimate(tau)
    split = None if layer.classes is None else layer.classes.within
    fresh = None if twin is None else twin.get(layer.layer)
    values = [
        tau,
        *map(int, layer.components(tau)),
        *layer.spread(tau),
        *((None, None) if estimate is None else (estimate.value, estimate.half_width)),
        *((None, None) if split is None else map(int, split.components(tau))),
        *((None, None) if fresh is None else map(int, fresh.components(tau))),
    ]
    return {name: _or_none(value) for name, value in zip(_AT_THRESHOLD, values, strict=True)}


def _ends(name: str, interval: tuple[float, float]) -> dict[str, float]:
    low, high = interval
    return {f"{name}_low": low, f"{name}_high": high}


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
