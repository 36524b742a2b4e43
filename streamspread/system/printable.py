"""Texts from outside as a terminal may be given them: control characters written out, none obeyed."""

from __future__ import annotations

import re

# C0 and C1 controls and DEL, which move the cursor, set titles or colours; and what turns the direction of
# writing, so that a line reads as another one than it is.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str, keep: str = "") -> str:
    """The text with every control character as Python writes it, ``\\x1b``; those in ``keep`` stay."""
    return _CONTROLS.sub(lambda found: found[0] if found[0] in keep else _written_out(found[0]), text)


def _written_out(character: str) -> str:
    return repr(character)[1:-1] if not character.isprintable() else f"\\u{ord(character):04x}"
