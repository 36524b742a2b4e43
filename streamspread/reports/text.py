"""Numbers as people read them, with their units; many layers in few words, and many sentences that differ in
their numbers as one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Context
from fnmatch import fnmatchcase
from typing import Any

from streamspread.results.interval import Interval
from streamspread.results.spectra import LayerSpectrum
from streamspread.results.spectrum import Spectrum
from streamspread.system.progress import duration as duration

_SHARES = {"saturation", "share_of_nine"}  # metrics
_SHORT = 60  # characters of a list that is written out
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
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


def listed(names: Sequence[str], everyone: Sequence[str]) -> str:
    """Layers as ``c1, c2``; more of them by the globs that ``--layers`` takes for just these, as
    ``blocks.*.mlp.fc1``, or from … to where they follow each other, whichever is shorter.

    Args:
        names: in the order of ``everyone``, all layers that there are.
    """
    plain = ", ".join(names)
    if len(plain) <= _SHORT or len(names) < 3:
        return plain
    if len(names) == len(everyone):
        return f"all {len(names):,} layers"
    return min((_globs(names, everyone), _runs(names, everyone)), key=len)


def alike(sentences: Iterable[tuple[str, str]]) -> list[tuple[list[str], str]]:
    """Sentences about layers, those that differ in their numbers alone as one with the smallest and the
    largest: ``3 to 5 tiles``; each with its layers."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, sentence in sentences:
        groups.setdefault(_NUMBER.sub("#", sentence), []).append((name, sentence))
    return [([name for name, _ in group], _merged([text for _, text in group])) for group in groups.values()]


def _merged(sentences: Sequence[str]) -> str:
    numbers = zip(*(_NUMBER.findall(sentence) for sentence in sentences), strict=True)
    ranges = iter([sorted(set(those), key=lambda one: float(one.replace(",", ""))) for those in numbers])

    def written(_: re.Match[str]) -> str:
        those = next(ranges)
        return those[0] if len(those) == 1 else f"{those[0]} to {those[-1]}"

    return _NUMBER.sub(written, sentences[0])


def _globs(names: Sequence[str], everyone: Sequence[str]) -> str:
    wanted, parts = set(names), dict[str, None]()
    for name in names:
        pattern = re.sub(r"(?<![^.])\d+(?![^.])", "*", name)
        own = not re.search(r"[\[\]?*]", name)
        fits = own and all(other in wanted for other in everyone if fnmatchcase(other, pattern))
        parts[pattern if fits else name] = None
    return ", ".join(parts)


def _runs(names: Sequence[str], everyone: Sequence[str]) -> str:
    places = {name: place for place, name in enumerate(everyone)}
    runs: list[list[str]] = []
    for name in names:
        if runs and places[name] == places[runs[-1][-1]] + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(
        f"{run[0]} … {run[-1]} ({len(run):,} layers)" if len(run) > 2 else ", ".join(run) for run in runs
    )
