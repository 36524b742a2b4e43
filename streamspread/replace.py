"""Files that are written whole or not at all: beside their place, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


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
