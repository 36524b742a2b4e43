"""Files that are written whole or not at all: beside their place, then renamed; and what a place may be."""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from streamspread.errors import OptionError, first_line

_ABANDONED = 60.0  # seconds for which nobody has written a file that nobody holds


class PlaceError(OSError):
    """A place where no file of this package may go; says why, and what to do."""


@contextmanager
def beside(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside ``path``, open for writing, and the path to rename it to; gone unless renamed.

    Raises:
        PlaceError: a place where nothing is to be written. OSError: as the system says.
    """
    target = _target(path)
    _sweep(target)
    # Exclusive, and of a name that cannot be guessed: neither another process nor a planted link shares it.
    part = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    try:
        with part.open("xb") as file:
            with suppress(OSError):  # some file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                os.chmod(part, stat.S_IMODE(target.stat().st_mode))
            yield file, target
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def claimed(path: str | os.PathLike[str]) -> Iterator[Path | None]:
    """A context in which others can tell that ``path`` is in use, until this process has ended, however it
    does; the file that another one holds, if it was in use before. Where there are no locks nobody can tell.

    Raises:
        As :func:`beside`.
    """
    with beside(path) as (file, target):
        held = (Path(other) for other in _parts(target) if other != file.name and _is_held(other))
        yield next(held, None)


def settle(file: BinaryIO, target: Path) -> None:
    """Rename what :func:`beside` opened to its place: its content is on the disk before, its name after."""
    if not file.closed:
        file.flush()
    _sync(file.name)
    os.replace(file.name, target)
    _sync(target.parent)


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Put ``content`` at ``path``; on an OSError, as of :func:`beside`, what was there before still is."""
    with beside(path) as (file, target):
        file.write(content)
        settle(file, target)


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """A file open for reading.

    Raises:
        PlaceError: a pipe, which may never end or never begin, or a device. OSError: as the system says.
    """
    file = open(path, "rb", opener=_not_waiting)  # noqa: SIM115 - the caller's, like open()'s
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise PlaceError("it is not a regular file: give another path")
    return file


def check_place(path: str | os.PathLike[str]) -> None:
    """Raise what :func:`replace_file` would raise; to be called before hours of work, not after."""
    with beside(path):
        pass


def check_name(path: str | os.PathLike[str]) -> None:
    """Raise PlaceError for a name that is not UTF-8: Arrow opens no such file, and neither a page nor a note
    can name it."""
    try:
        os.fsdecode(path).encode()
    except UnicodeEncodeError as error:
        raise PlaceError("the name is not UTF-8: give it another name") from error


def check_apart(checkpoint: str | os.PathLike[str], out: str | os.PathLike[str] | None) -> None:
    """Raise OptionError where a result would be written over its checkpoint, and removed with it."""
    if out is not None and os.path.realpath(checkpoint) == os.path.realpath(out):
        raise OptionError(f"--checkpoint and --out name one file, {os.fspath(out)!r}: give two")


def why(error: OSError) -> str:
    """What went wrong and what to do, as the end of a line."""
    if isinstance(error, PlaceError):
        return str(error)
    return f"{error.strerror or first_line(error)}: give another path"


@contextmanager
def place(path: Path, replace: bool) -> Iterator[Path]:
    """Where to write: ``path`` if what is there may be replaced, else NAME, NAME-2, NAME-3, … that is free.

    Such a name is an empty file at once, so that another process that asks at the same time gets another one;
    if nothing is written there the file is gone afterwards.

    Raises:
        OSError: as the system says.
    """
    if replace:
        yield path
        return
    free = _claimed(path)
    try:
        yield free
    finally:
        with suppress(OSError):
            if free.stat().st_size == 0:
                free.unlink()


def _target(path: str | os.PathLike[str]) -> Path:
    """Where the file goes. A link is followed, so that it stays a link; /dev/null, a pipe and their like must
    never be renamed over. os.path, since Path's own questions raise for a name that is too long."""
    check_name(path)
    target = Path(os.path.realpath(path))
    if os.path.isdir(target):
        raise PlaceError("it is a folder: give a file")
    if not os.path.isdir(target.parent):
        raise PlaceError(f"the folder {str(target.parent)!r} does not exist: make it first")
    there = os.path.exists(target)
    if there and not os.path.isfile(target):
        raise PlaceError("it is not a regular file: give another path")
    if there and not os.access(target, os.W_OK):
        raise PlaceError("the file is there and read-only: give another path")
    return target


def _not_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)  # opening a pipe would wait for a writer


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(target: Path) -> None:
    """Remove what writers that were killed left beside ``target``. A living one holds a lock on its file, or
    has written it just now."""
    for path in _parts(target):
        with suppress(OSError), open(path, "rb") as left:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(left.fileno()).st_mtime > _ABANDONED:
                os.unlink(path)


def _parts(target: Path) -> list[str]:
    """The files that writers have, or had, beside ``target``."""
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]+\.part")
    with suppress(OSError), os.scandir(target.parent) as entries:
        return [
            one.path for one in entries if ours.fullmatch(one.name) and one.is_file(follow_symlinks=False)
        ]
    return []


def _is_held(path: str) -> bool:
    """Whether a living process has it open as :func:`beside` does."""
    with suppress(OSError), open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _claimed(path: Path) -> Path:
    for number in itertools.count(1):
        name = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        with suppress(FileExistsError), name.open("xb"):
            return name
    raise AssertionError("numbers do not end")
