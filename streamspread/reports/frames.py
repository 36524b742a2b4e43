"""Results as tables of other libraries, Arrow, Polars and pandas, every number in full; None is a null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import pyarrow as pa

from streamspread.errors import MissingError
from streamspread.reports import records
from streamspread.results.comparison import Comparison
from streamspread.results.spectra import Spectra
from streamspread.results.spectrum import Spectrum
from streamspread.store.columns import or_null

Columns = Mapping[str, Sequence[Any] | np.ndarray]


def to_arrow(result: Any) -> pa.Table:
    """The rows of a result as an Arrow table."""
    table = pa.table(dict(columns(result)))
    for place, column in enumerate(table.schema):
        if pa.types.is_null(column.type):  # nothing in it is known: numbers are what is left out
            table = table.set_column(place, column.name, table.column(place).cast(pa.float64()))
    return table


def arrow_file(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as an Arrow file, compressed; texts that come again and again stand in it once."""
    table = pa.table(dict(_transposed(rows))) if rows else pa.table({})
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


@singledispatch
def columns(result: Any) -> Columns:
    """A result's columns by name, all of one length. TypeError for what is no result."""
    raise TypeError(f"a {type(result).__name__} is no result that has rows")


@columns.register
def _(spectra: Spectra) -> Columns:
    rows = records.rows(spectra)
    return _transposed(rows) if rows else {"layer": pa.array([], pa.string())}


@columns.register
def _(spectrum: Spectrum) -> Columns:
    """A row for each eigenvalue: its place from 1, and bounds of the share of T up to it."""
    count, total = len(spectrum.eigenvalues), spectrum.total_variance
    sums = np.cumsum(spectrum.eigenvalues)
    low = spectrum.lower_sums[:count] if len(spectrum.lower_sums) else sums
    high = spectrum.upper_sums[:count] if len(spectrum.upper_sums) else sums
    shares = [np.minimum(part / total, 1.0) if total > 0 else np.zeros(count) for part in (low, high)]
    return {
        "component": np.arange(1, count + 1),
        "eigenvalue": spectrum.eigenvalues,
        "share_low": shares[0],
        "share_high": shares[1],
    }


@columns.register
def _(comparison: Comparison) -> Columns:
    return _transposed(
        [
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
                "cka": or_null(one.cka),
                "directions": len(one.angles),
                "overlap": or_null(one.overlap),
                "largest_angle": float(one.angles[-1]) if len(one.angles) else None,
            }
            for one in comparison.values()
        ]
    )


def _ends(name: str, interval: tuple[float, float]) -> dict[str, float]:
    low, high = interval
    return {f"{name}_low": low, f"{name}_high": high}


def _transposed(rows: Sequence[Mapping[str, Any]]) -> Columns:
    return {name: [row[name] for row in rows] for name in rows[0]}
