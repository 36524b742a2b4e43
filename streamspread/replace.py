"""Files that are written whole or not at all: beside their place, then renamed."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_LONGEST = 180  # bytes of a name: file systems allow 255, and suffixes and prefixes are added


@contextmanager
def beside(target: Path) -> Iterator[BinaryIO]:
    """A new file in the same folder, open for writing; gone afterwards unless it was renamed.

    Raises:
        OSError: as the system says.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def replace_file(target: Path, content: bytes) -> None:
    """Put ``content`` at ``target``; on an OSError what was there before still is, untouched."""
    with beside(target) as file:
        file.write(content)
        file.close()
        os.replace(file.name, target)


def file_stem(name: str) -> str:
    """A name as that of a file, without suffix: letters, digits, ``-_.``; what is too long for a file is cut,
    with a checksum for its end."""
    stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
    return stem if len(stem.encode()) <= _LONGEST else f"{stem[:40]}-{zlib.crc32(stem.encode()):08x}"
