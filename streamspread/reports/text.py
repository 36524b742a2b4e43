"""Numbers as people read them: counts, shares, bytes, seconds and operations, with their units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context
from typing import Any

from streamspread.results.interval import Interval
from streamspread.results.spectra import LayerSpectrum
from streamspread.results.spectrum import Spectrum
from streamspread.system.progress import duration as duration

_SHARES = {"saturation", "share_of_nine"}  # metrics
_THREE = Context(prec=3, rounding=ROUND_HALF_UP)


def count(value: float) -> str:
    """A whole number with separators between thousands, as 65,536."""
    return f"{int(value):,}"


def interval(value: Interval) -> str:
    """K as 241, or as 239…243 where it is known to lie between."""
    return count(value.low) if value.closed else f"{count(value.low)}…{count(value.high)}"


def percent(value: Interval) -> str:
    """A share as 0.368 %, or as 0.365…0.371 %; three significant digits, never an exponent."""
    low, high = _significant(100 * value.low), _significant(100 * value.high)
    return f"{low} %" if low == high else f"{low}…{high} %"


def share(value: float) -> str:
    """A share that is one number, in per cent; – for NaN."""
    return "–" if math.isnan(value) else percent(Interval(value, value))


def filled(layer: LayerSpectrum, tau: float) -> str:
    """K as a share of the most that it can be; – of a constant layer."""
    if layer.total_variance <= 0 or layer.ceiling < 1:
        return "–"
    return percent(Interval(*(end / layer.ceiling for end in layer.components(tau))))


def estimate(layer: Spectrum, tau: float) -> str:
    """K of infinitely many samples as 228 ± 4, or ≥ 205; – where there is no estimate."""
    return str(layer.estimate(tau) or "–")


def growth(share: float) -> str:
    """A growth, as a share of what was before, as +4.5 % or −0.3 %."""
    sign = "−" if round(1000 * share) < 0 else "+"
    return f"{sign}{abs(100 * share):.1f} %"


def number(value: float) -> str:
    """A number without a unit as 1,234, 31.4 or 0.742: three significant digits at least; – for NaN."""
    if math.isnan(value):
        return "–"
    return count(round(value)) if abs(value) >= 1000 else _significant(value)


def metric(name: str, value: float) -> str:
    """A metric of :mod:`streamspread.results.metrics`; one that is a share, in per cent."""
    return share(value) if name in _SHARES else number(value)


def cosine(value: float) -> str:
    """A number from −1 to 1 as 0.874 or −0.012: three decimals; – for NaN."""
    if math.isnan(value):
        return "–"
    written = f"{abs(value):.3f}"
    return f"−{written}" if value < 0 and float(written) else written


def fractions(values: Sequence[float]) -> list[str]:
    """Numbers as 0.7, with as many digits as it takes to tell them apart."""
    for digits in range(6, 17):
        written = [f"{value:.{digits}g}" for value in values]
        if len(set(written)) == len(set(values)):
            return written
    return [repr(value) for value in values]


def method(layer: Any) -> str:
    """How a layer was summed, or will be: gram fp32, or covariance fp32 of 3,072 numbers instead of its D."""
    of = "" if layer.summed_dim is None else f" of {count(layer.summed_dim)}"
    return f"{layer.method} {layer.rounding}{of}"


def size(value: int) -> str:
    """Bytes as 512 B, 1.50 MiB or 9.00 GiB; an empty text for 0, which means not measured."""
    return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB")) if value > 0 else ""


def seconds(value: float) -> str:
    """Seconds as 0.320, 12.3 or 1,234; an empty text for NaN, which means not measured."""
    if math.isnan(value):
        return ""
    return f"{value:,.{3 if value < 10 else 1 if value < 1000 else 0}f}"


def operations(value: float) -> str:
    """Floating-point operations as 215 TFLOP."""
    return _scaled(value, 1000, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"))


def shape(dims: tuple[int, ...]) -> str:
    """(64, 32, 32) as 64×32×32."""
    return "×".join(str(dim) for dim in dims)


def shortened(name: str, most: int = 40) -> str:
    """A name of at most ``most`` characters; a longer one loses its middle."""
    if len(name) <= most:
        return name
    end = (most - 1) // 2
    return f"{name[: most - 1 - end]}…{name[-end:]}"


def _significant(value: float) -> str:
    """Three significant digits without an exponent, halves rounded up, as the page's JavaScript rounds."""
    if not value:
        return "0"
    rounded = _THREE.create_decimal(value)
    return f"{rounded:.{max(0, 2 - rounded.adjusted())}f}"


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    step = 0
    # 999.5 would print as 1000: three digits reach only so far.
    while value >= 999.5 and step < len(units) - 1:
        value /= base
        step += 1
    return f"{int(value)} {units[0]}" if step == 0 else f"{_significant(value)} {units[step]}"
