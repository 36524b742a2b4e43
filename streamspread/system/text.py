"""Texts for people and for file names."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

# C0 and C1 controls and DEL, which move the cursor, set titles or colours; and what turns the direction of
# writing, so that a line reads as another one than it is.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_LONGEST = 180  # bytes of a name: file systems allow 255, and suffixes and prefixes are added


def printable(text: str, keep: str = "") -> str:
    """The text with every control character as Python writes it, ``\\x1b``; those in ``keep`` stay."""
    return _CONTROLS.sub(lambda found: found[0] if found[0] in keep else _written_out(found[0]), text)


def _written_out(character: str) -> str:
    return repr(character)[1:-1] if not character.isprintable() else f"\\u{ord(character):04x}"


def listed(names: Sequence[str]) -> str:
    """``covariance, gram or sketch``."""
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)


def file_stem(name: str) -> str:
    """A name as that of a file, without suffix: letters, digits, ``-_.``; what is too long for a file is cut,
    with a checksum for its end."""
    stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
    return stem if len(stem.encode()) <= _LONGEST else f"{stem[:40]}-{zlib.crc32(stem.encode()):08x}"


def storable(text: str) -> str:
    """The text with a question mark for what is no Unicode, such as bytes of a file's name."""
    return text.encode("utf-8", "replace").decode()
