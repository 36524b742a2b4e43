"""Arrow IPC files: written beside and renamed, read whole or refused in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from streamspread import __version__
from streamspread.errors import StoreError
from streamspread.replace import beside

FORMAT = 1
_KEY = b"streamspread"
_MAGIC = b"ARROW1"  # an Arrow IPC file begins and ends with it


def check_writable(path: str | Path) -> None:
    """Refuse a path that this package could not write; to be called before hours of work, not after.

    Raises:
        StoreError: the folder is missing or cannot be written, or the path is no regular file.
    """
    with _part(path):
        pass


def save(table: pa.Table, header: Mapping[str, Any], path: str | Path) -> None:
    """Write a table with ``header``, which JSON holds, in its metadata.

    Raises:
        StoreError: the file cannot be written. What was at ``path`` before is then still there, untouched.
    """
    text = json.dumps({"format": FORMAT, **header}, default=str)
    table = table.replace_schema_metadata({_KEY: text})
    with _part(path) as (part, target):
        with pa.ipc.new_file(part, table.schema) as writer:
            writer.write_table(table)
        part.close()
        os.replace(part.name, target)


def load(path: str | Path) -> tuple[pa.Table, dict[str, Any]]:
    """The table and the header that :func:`save` wrote.

    Raises:
        StoreError: no such file, or not a whole streamspread file of a format this version reads.
    """
    table = _open(Path(path))
    return table, _header(table, path)


def conform(table: pa.Table, schema: pa.Schema, path: str | Path, command: str) -> pa.Table:
    """The table with the columns of ``schema``; ``command``: what makes such a file.

    Raises:
        StoreError: a column is missing or cannot be read as what it should be.
    """
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise StoreError(
            f"{str(path)!r} lacks the columns {', '.join(missing)}: make it again with {command}"
        )
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise other_kind(path, error, command) from error


def other_kind(path: str | Path, error: Exception, command: str) -> StoreError:
    """The error for columns or a header that do not hold what they should."""
    return StoreError(
        f"{str(path)!r} holds columns of another kind ({_line(error)}): make it again with {command}"
    )


def _check_name(path: str | Path) -> None:
    # Arrow opens no other file, and a page could not name it.
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"the path {str(path)!r} is not UTF-8: give it another name") from error


def _target(path: str | Path) -> Path:
    _check_name(path)
    # A link is followed, so that it stays a link; /dev/null and its like must never be renamed over.
    target = Path(os.path.realpath(path))
    if os.path.isdir(target):
        raise StoreError(f"cannot write {str(path)!r}: it is a folder: give a file, such as result.arrow")
    if not os.path.isdir(target.parent):
        folder = str(target.parent)
        raise StoreError(f"cannot write {str(path)!r}: the folder {folder!r} does not exist: make it first")
    there = os.path.exists(target)  # unlike Path.exists it takes a name that is too long for an absent one
    if there and not os.path.isfile(target):
        raise StoreError(f"cannot write {str(path)!r}: it is not a regular file: give another path")
    if there and not os.access(target, os.W_OK):
        raise StoreError(f"cannot write {str(path)!r}: the file is there and read-only: give another path")
    return target


@contextmanager
def _part(path: str | Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside ``path``, open for writing, and the path to rename it to; gone unless renamed."""
    target = _target(path)
    try:
        with beside(target) as file:
            yield file, target
    except OSError as error:
        raise StoreError(f"cannot write {str(path)!r}: {_reason(error)}: give another path") from error


def _reason(error: OSError) -> str:
    return error.strerror or _line(error)


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _open(path: Path) -> pa.Table:
    _check_name(path)
    try:
        with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
            table = reader.read_all()
            table.validate(full=True)
            return table
    except FileNotFoundError as error:
        raise StoreError(f"no such file: {str(path)!r}: check the path, or make it with run --out") from error
    except (pa.ArrowException, OSError) as error:
        raise StoreError(_why_unreadable(path, error)) from error


def _why_unreadable(path: Path, error: Exception) -> str:
    if path.is_dir():
        return f"{str(path)!r} is a folder: give an .arrow file"
    try:
        with path.open("rb") as file:
            begins_as_arrow = file.read(len(_MAGIC)) == _MAGIC
    except OSError as refusal:
        return f"cannot read {str(path)!r}: {_reason(refusal)}"
    if begins_as_arrow:
        return (
            f"{str(path)!r} is cut off or damaged ({_line(error)}): copy it again, or make it again with run"
        )
    return f"{str(path)!r} is not an Arrow file: give a file that streamspread wrote"


def _header(table: pa.Table, path: str | Path) -> dict[str, Any]:
    raw = (table.schema.metadata or {}).get(_KEY)
    if raw is None:
        raise StoreError(
            f"{str(path)!r} is an Arrow file of another program: give one that streamspread wrote"
        )
    try:
        header = json.loads(raw)
        written = header["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{str(path)!r} has broken metadata: make it again with run") from error
    if written != FORMAT:
        raise StoreError(
            f"{str(path)!r} has format {written}, this streamspread ({__version__}) reads format {FORMAT}: "
            "read it with the version that wrote it"
        )
    return header
