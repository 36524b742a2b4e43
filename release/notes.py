"""Prints a version's section of the changelog, the release's notes: ``python -m release.notes 0.1.0``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"


def notes(version: str, text: str) -> str:
    """The section under ``## [version]``. ValueError where there is none, or an empty one."""
    found = re.search(rf"^## \[{re.escape(version)}\].*\n((?:(?!## \[).*\n?)*)", text, re.MULTILINE)
    section = found[1].strip() if found else ""
    if not section:
        raise ValueError(f"the changelog has nothing about version {version}")
    return section


if __name__ == "__main__":
    print(notes(sys.argv[1], CHANGELOG.read_text(encoding="utf-8")))
