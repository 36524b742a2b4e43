"""Spread over a training on disk: JSON lines that grow with it, and an Arrow file of the same rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from streamspread.errors import StoreError
from streamspread.results.history import History, Reading
from streamspread.results.metrics import metric_names
from streamspread.store import facts, files
from streamspread.system.files import open_regular, why

KIND = "history"
LINES = ".jsonl"
_COMMAND = "streamspread.Monitor"

_K = {"threshold": pa.float64(), "low": pa.int64(), "high": pa.int64(), "limited": pa.bool_()}

_COLUMNS = {
    "step": pa.int64(),
    "until": pa.int64(),
    "layer": pa.string(),
    "shape": pa.list_(pa.int64()),
    **dict.fromkeys(("dim", "samples", "images"), pa.int64()),
    **dict.fromkeys(("view", "method", "rounding"), pa.string()),
    "ceiling": pa.int64(),
    "components": pa.list_(pa.struct(_K)),
    "total_variance": pa.float64(),
    "seconds": pa.float64(),
    "note": pa.string(),
}
SCHEMA = pa.schema([pa.field(name, kind, kind == pa.float64()) for name, kind in _COLUMNS.items()])


def write_history(history: History, path: str | Path) -> None:
    """Write an Arrow file, whole or not at all; errors as :func:`streamspread.store.write`."""
    schema = pa.schema([*SCHEMA, *(pa.field(name, pa.float64()) for name in metric_names())])
    rows = [one.row() for one in history.readings]
    header = {"kind": KIND, "provenance": history.provenance}
    files.save(pa.Table.from_pylist(rows, schema), header, path)


def read_history(path: str | Path) -> History:
    """Read what :class:`streamspread.Monitor` wrote, either of its files.

    Of JSON lines the last one may be cut off, where the training was killed while it wrote: it is left out.

    Raises:
        StoreError: no such file, or not one of spread over a training.
    """
    if Path(path).suffix == LINES:
        return _from_lines(path)
    return from_table(*files.load(path), path)


def is_history(path: str | Path) -> bool:
    """Whether a file says that it holds one: JSON lines do by their name.

    Raises:
        StoreError: it cannot be read.
    """
    return Path(path).suffix == LINES or files.load(path)[1].get("kind") == KIND


def from_table(table: pa.Table, header: Mapping[str, Any], path: str | Path) -> History:
    """The history in a table that was loaded from ``path``; errors as :func:`read_history`."""
    if header.get("kind") != KIND:
        raise StoreError(f"{str(path)!r} holds no spread over a training: give a file that {_COMMAND} wrote")
    known = [pa.field(name, pa.float64()) for name in metric_names() if name in table.column_names]
    table = files.conform(table, pa.schema([*SCHEMA, *known]), path, _COMMAND)
    return _history(table.to_pylist(), header.get("provenance", {}), path)


def line_of(reading: Reading) -> bytes:
    """A reading as a line of JSON."""
    return json.dumps(reading.row(), ensure_ascii=False, allow_nan=False).encode() + b"\n"


class Lines:
    """A file of JSON lines that grows: each look is one write at its end, so what was written is there
    whatever happens next.

    Raises:
        StoreError: it cannot be written.
    """

    def __init__(self, path: Path, readings: Iterable[Reading] = ()) -> None:
        """In place of what is there comes what is known so far."""
        self.path = path
        files.write_text(b"".join(line_of(one) for one in readings).decode(), path)

    def add(self, readings: Iterable[Reading]) -> None:
        content = b"".join(line_of(one) for one in readings)
        try:
            with self.path.open("ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(f"cannot write {str(self.path)!r}: {why(error)}") from error


def _from_lines(path: str | Path) -> History:
    try:
        with open_regular(path) as file:
            content = file.read()
    except FileNotFoundError as error:
        raise StoreError(f"no such file: {str(path)!r}: check the path") from error
    except OSError as error:
        raise StoreError(f"cannot read {str(path)!r}: {why(error)}") from error
    lines = content.split(b"\n")[:-1]  # behind the last line end is nothing, or a line that was cut off
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise StoreError(
                f"{str(path)!r} is damaged in line {number:,}: give a file that {_COMMAND} wrote"
            ) from error
    return _history(rows, {}, path)


def _history(rows: Iterable[Any], provenance: Any, path: str | Path) -> History:
    names = metric_names()
    try:
        return History((Reading.from_row(row, names) for row in rows), facts.checked(provenance))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise files.other_kind(path, error, _COMMAND) from error
