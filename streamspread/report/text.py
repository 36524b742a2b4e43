"""Numbers as people read them: counts, shares, bytes, seconds and operations, each with its unit."""

from __future__ import annotations

import math
from decimal import Decimal

from streamspread.spectrum import Interval


def count(value: float) -> str:
    """A whole number with separators between thousands, as 65,536."""
    return f"{int(value):,}"


def interval(value: Interval) -> str:
    """K as 241, or as 239…243 where it is known to lie between."""
    return count(value.low) if value.closed else f"{count(value.low)}…{count(value.high)}"


def percent(value: Interval) -> str:
    """A share as 0.368 %, or as 0.365…0.371 %; three significant digits, never an exponent."""
    low, high = _significant(100 * value.low), _significant(100 * value.high)
    return f"{low} %" if value.closed else f"{low}…{high} %"


def size(value: int) -> str:
    """Bytes as 512 B, 1.50 MiB or 9.00 GiB; nothing where none were counted."""
    return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB")) if value > 0 else ""


def seconds(value: float) -> str:
    """Seconds as 0.320, 12.3 or 1,234; nothing where they were not measured."""
    if math.isnan(value):
        return ""
    return f"{value:,.{3 if value < 10 else 1 if value < 1000 else 0}f}"


def operations(value: float) -> str:
    """Floating-point operations as 215 TFLOP."""
    return _scaled(value, 1000, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"))


def shape(dims: tuple[int, ...]) -> str:
    """(64, 32, 32) as 64×32×32."""
    return "×".join(str(dim) for dim in dims)


def _significant(value: float) -> str:
    """Three significant digits, written out."""
    return f"{Decimal(f'{value:#.3g}'):f}".rstrip(".") if value else "0"


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    step = 0
    # 999.5 would print as 1000: three digits reach only so far.
    while value >= 999.5 and step < len(units) - 1:
        value /= base
        step += 1
    return f"{int(value)} {units[0]}" if step == 0 else f"{_significant(value)} {units[step]}"
