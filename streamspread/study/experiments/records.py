"""What was measured of a training: JSON in a file of its own, and numbers over several seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from streamspread.errors import StoreError
from streamspread.system.files import replace_file, why

Record = Mapping[str, Any]


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


@dataclass(frozen=True)
class Several:
    """A number over seeds: mean, deviation (NaN for one), and how many."""

    mean: float
    deviation: float
    count: int

    @staticmethod
    def of(values: Sequence[float]) -> Several:
        return Several(mean(values), stdev(values) if len(values) > 1 else math.nan, len(values))

    def text(self, decimals: int, factor: float = 1.0) -> str:
        shown = f"{factor * self.mean:,.{decimals}f}"
        return shown if self.count < 2 else f"{shown} ± {factor * self.deviation:,.{decimals}f}"


def convolutions(record: Record) -> list[str]:
    """The layers but for the pooled one."""
    return [name for name in record["layers"] if name != "gap"]


def share(record: Record, layer: str) -> float:
    """K/D, the middle of its interval."""
    found = record["layers"][layer]
    return sum(found["components"]) / 2 / found["dim"]


def components(record: Record, layer: str) -> float:
    """K, the middle of its interval."""
    return float(sum(record["layers"][layer]["components"])) / 2


def difference(a: Several, b: Several) -> tuple[float, float]:
    """b − a, and its standard error (NaN where a seed is alone)."""
    return b.mean - a.mean, math.sqrt(a.deviation**2 / a.count + b.deviation**2 / b.count)
