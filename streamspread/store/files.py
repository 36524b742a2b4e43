"""Arrow IPC files: written whole or not at all, read whole or refused in one line; and the header that every
file of the package has."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from streamspread.errors import StoreError, first_line
from streamspread.system.files import PlaceError, beside, check_name, open_regular, settle, why
from streamspread.system.files import place as find_place
from streamspread.system.text import storable
from streamspread.system.version import __version__

FORMAT = 1
_KEY = b"streamspread"
_MAGIC = b"ARROW1"  # an Arrow IPC file begins and ends with it

# The SHA-256 of a whole file stands in its metadata, and is that of the file with this text in its place.
_HASH_KEY = b"streamspread.sha256"
_NO_HASH = b"the SHA-256 of this file".ljust(2 * hashlib.sha256().digest_size, b".")


def check_writable(path: str | Path) -> None:
    """Refuse a path that cannot be written; to be called before hours of work, not after.

    Raises:
        StoreError: the folder is missing or cannot be written, or the path is no regular file.
    """
    with part(path):
        pass


@contextmanager
def place(path: Path, replace: bool) -> Iterator[Path]:
    """As :func:`streamspread.system.files.place`.

    Raises:
        StoreError: the file cannot be written.
    """
    with as_store_error(path), find_place(path, replace) as free:
        yield free


def save(table: pa.Table, header: Mapping[str, Any], path: str | Path) -> None:
    """Write a table with ``header``, which JSON holds, and the file's SHA-256 in its metadata.

    Raises:
        StoreError: the file cannot be written. What was at ``path`` before is then still there, untouched.
    """
    table = table.replace_schema_metadata({_KEY: header_text(header), _HASH_KEY: _NO_HASH})
    with part(path) as (file, target):
        content = pa.BufferOutputStream()
        with pa.ipc.new_file(content, table.schema) as writer:
            writer.write_table(table)
        unsigned = content.getvalue().to_pybytes()
        file.write(unsigned.replace(_NO_HASH, hashlib.sha256(unsigned).hexdigest().encode()))
        settle(file, target)


def write_text(text: str, path: str | Path) -> None:
    """Write a text as UTF-8; errors as :func:`save`."""
    with part(path) as (file, target):
        file.write(text.encode())
        settle(file, target)


def load(path: str | Path) -> tuple[pa.Table, dict[str, Any]]:
    """The table and the header that :func:`save` wrote.

    Raises:
        StoreError: no such file, not a whole streamspread file of a format this version reads, or one that
            is not as it was written. Older files, which have no hash, are taken as they are.
    """
    table, content = _open(Path(path))
    header = _header(table, path)
    if (signed := _hash_in(table.schema.metadata)) is not None:
        unsigned = content.replace(signed, _NO_HASH)
        if hashlib.sha256(unsigned).hexdigest().encode() != signed:
            raise StoreError(
                f"{str(path)!r} is not as it was written (its SHA-256 differs): copy it again, or make it "
                "again with run"
            )
    return table, header


def conform(table: pa.Table, schema: pa.Schema, path: str | Path, command: str) -> pa.Table:
    """The table with the columns of ``schema`` alone, in its order and types.

    Args:
        command: the one that makes such a file, for the message.

    Raises:
        StoreError: a column is missing, or its values do not have the type or are null where none may be.
    """
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise StoreError(
            f"{str(path)!r} lacks the columns {', '.join(missing)}: make it again with {command}"
        )
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError, KeyError) as error:  # KeyError: a column that is there twice
        raise other_kind(path, error, command) from error


def other_kind(path: str | Path, error: Exception, command: str) -> StoreError:
    """The error for columns or a header with other contents than ``command`` writes."""
    return StoreError(
        f"{str(path)!r} holds columns of another kind ({first_line(error)}): make it again with {command}"
    )


def header_text(header: Mapping[str, Any]) -> str:
    """What :func:`parse_header` reads, of a header that JSON holds."""
    return storable(json.dumps({"format": FORMAT, **header}, default=str, ensure_ascii=False))


def parse_header(text: str | bytes, path: str | Path, command: str) -> dict[str, Any]:
    """The header in a file's metadata.

    Args:
        command: the one that makes such a file, for the message.

    Raises:
        StoreError: it is broken, or of a format that this version does not read.
    """
    try:
        header = json.loads(text)
        written = header["format"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreError(f"{str(path)!r} has broken metadata: make it again with {command}") from error
    if written != FORMAT:
        raise StoreError(
            f"{str(path)!r} has format {written}, this streamspread ({__version__}) reads format {FORMAT}: "
            "read it with the version that wrote it"
        )
    return header


@contextmanager
def part(path: str | Path) -> Iterator[tuple[BinaryIO, Path]]:
    """As :func:`streamspread.system.files.beside`, with every OSError as a StoreError."""
    with as_store_error(path), beside(path) as opened:
        yield opened


@contextmanager
def as_store_error(path: str | Path) -> Iterator[None]:
    """Raises StoreError for an OSError: what cannot be written, and why."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {str(path)!r}: {why(error)}") from error


def _hash_in(metadata: Mapping[bytes, bytes]) -> bytes | None:
    """The hash by its name, or by its form, since it may be the name that is damaged; None in older files."""
    by_form = (value for value in metadata.values() if re.fullmatch(rb"[0-9a-f]{64}", value))
    return metadata.get(_HASH_KEY) or next(by_form, None)


def _open(path: Path) -> tuple[pa.Table, bytes]:
    """The table in a file, and the file's bytes."""
    try:
        check_name(path)
        with open_regular(path) as file:
            content = file.read() if _is_framed(file) else b""
        with pa.ipc.open_file(pa.BufferReader(content)) as reader:
            table = reader.read_all()
            table.validate(full=True)
            _ = table.column_names  # decoded here, where it is said whose they are
            return table, content
    except FileNotFoundError as error:
        raise StoreError(f"no such file: {str(path)!r}: check the path, or make it with run --out") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise StoreError(_why_unreadable(path, error)) from error


def _is_framed(file: BinaryIO) -> bool:
    """Whether it begins and ends as Arrow files do; what does not may be of any size, and is not read."""
    begin = file.read(len(_MAGIC))
    file.seek(-len(begin), os.SEEK_END)
    end = file.read()
    file.seek(0)
    return begin == end == _MAGIC


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, PlaceError):
        return f"cannot read {str(path)!r}: {error}"
    if os.path.isdir(path):  # unlike Path.is_dir it takes a name that is too long for an absent one
        return f"{str(path)!r} is a folder: give an .arrow file"
    try:
        with path.open("rb") as file:
            begins_as_arrow = file.read(len(_MAGIC)) == _MAGIC
    except OSError as refusal:
        return f"cannot read {str(path)!r}: {refusal.strerror or first_line(refusal)}"
    if begins_as_arrow:
        said = first_line(error)
        return f"{str(path)!r} is cut off or damaged ({said}): copy it again, or make it again with run"
    return f"{str(path)!r} is not an Arrow file: give a file that streamspread wrote"


def _header(table: pa.Table, path: str | Path) -> dict[str, Any]:
    raw = (table.schema.metadata or {}).get(_KEY)
    if raw is None:
        raise StoreError(
            f"{str(path)!r} is an Arrow file of another program: give one that streamspread wrote"
        )
    return parse_header(raw, path, "run")


@contextmanager
def opening_tensors(path: str | Path, whole: str, give: str) -> Iterator[None]:
    """A context in which a safetensors file is opened and read; it passes FileNotFoundError on.

    Args:
        whole: what it should be, as "a whole checkpoint" without its article. ``give``: what to do.

    Raises:
        StoreError: a name that is not UTF-8, a folder, a pipe, no permission, or no whole file.
    """
    from safetensors import SafetensorError

    try:
        check_name(path)
        yield
    except FileNotFoundError:
        raise
    except IsADirectoryError as error:
        raise StoreError(f"{str(path)!r} is a folder: give a file") from error
    except OSError as error:
        raise StoreError(f"cannot read {str(path)!r}: {why(error)}") from error
    except SafetensorError as error:
        raise StoreError(f"{str(path)!r} is no {whole} ({first_line(error)}): {give}") from error
