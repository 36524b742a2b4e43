"""What was measured of a training, as JSON in a file of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamspread.errors import StoreError
from streamspread.system.files import replace_file, why


def read_json(path: Path) -> dict[str, Any] | None:
    """What an earlier run left; None for nothing, or what is no such file."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path: Path, found: Mapping[str, Any]) -> None:
    """Write it whole or not at all, with the folder that it lies in. StoreError: it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(found, indent=1).encode())
    except OSError as error:
        raise StoreError(f"cannot write {str(path)!r}: {why(error)}") from error
