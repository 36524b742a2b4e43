"""What a notebook shows of a result: the tables that the terminal has, as HTML, and those of single layers
and of comparisons."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from streamspread.reports import text
from streamspread.reports.columns import Column, Sheet, Surface, print_first_that_fits, print_line
from streamspread.reports.similarity import print_similarity
from streamspread.results.comparison import Comparison
from streamspread.results.interval import Interval
from streamspread.results.metrics import metrics_of
from streamspread.results.similarity import Similarity
from streamspread.results.spectra import LayerSpectrum
from streamspread.results.spectrum import Spectrum

#: τ at which a single layer is shown, beside those that were asked for.
TAUS = (0.5, 0.7, 0.9, 0.95, 0.99)


def to_html(printer: Callable[[Any, Surface], None], result: Any) -> str:
    """What a printer prints of a result, as a fragment of HTML without colours or fonts of its own."""
    sheet = Sheet()
    printer(result, sheet)
    return sheet.html()


def print_spectrum(spectrum: Spectrum, surface: Surface) -> None:
    """K at several thresholds, then every metric that is known."""
    where = f"{spectrum.layer} · " if isinstance(spectrum, LayerSpectrum) else ""
    how = f" · {text.method(spectrum)}" if isinstance(spectrum, LayerSpectrum) else ""
    dims, samples = text.count(spectrum.dim), text.count(spectrum.samples)
    print_line(surface, f"{where}D = {dims} · N = {samples}{how}", style="bold")
    asked = spectrum.growth.thresholds if spectrum.growth is not None else ()
    taus = sorted({*TAUS, *asked})
    columns = [
        Column("τ", text.fractions(taus)),
        Column("K(τ)", [text.interval(spectrum.components(tau)) for tau in taus]),
        Column("spread", [text.percent(spectrum.spread(tau)) for tau in taus]),
    ]
    if asked:
        columns.append(Column("K(τ) at ∞", [str(spectrum.estimate(tau) or "–") for tau in taus]))
    print_first_that_fits(surface, [columns])
    known = {name: value for name, value in metrics_of(spectrum).items() if not math.isnan(value)}
    named = [name.replace("_", " ") for name in known]
    values = [text.metric(name, value) for name, value in known.items()]
    print_first_that_fits(surface, [[Column("metric", named, left=True), Column("value", values)]])


def print_alike(similarity: Similarity, surface: Surface) -> None:
    """CKA of every row with every column."""
    print_similarity(similarity, (), surface)


def print_comparison(comparison: Comparison, surface: Surface) -> None:
    """A row per layer: K and spread of both, and how alike they are, as far as that is known."""
    for which, title in zip("ab", comparison.titles, strict=True):
        print_line(surface, f"{which}: {title}", style="bold")
    for note in comparison.notes:
        print_line(surface, f"note: {note}")
    rows, (tau,) = list(comparison.values()), text.fractions([comparison.threshold])
    columns = [
        Column("layer", [row.layer for row in rows], left=True),
        Column("D of a", [text.count(row.dims[0]) for row in rows], drop=3),
        Column("D of b", [text.count(row.dims[1]) for row in rows], drop=3),
        Column(f"K({tau}) of a", [text.interval(row.a) for row in rows]),
        Column(f"K({tau}) of b", [text.interval(row.b) for row in rows]),
        Column("b − a", [_signed(row.difference) for row in rows]),
        Column("spread of a", [text.percent(row.spread_a) for row in rows], drop=2),
        Column("spread of b", [text.percent(row.spread_b) for row in rows], drop=2),
        *_known("CKA", [row.cka for row in rows]),
        *_known("overlap", [row.overlap for row in rows]),
    ]
    print_first_that_fits(surface, [columns])
    if kept := {len(row.angles) for row in rows if len(row.angles)}:
        count = text.count(kept.pop()) if len(kept) == 1 else f"{min(kept):,} to {max(kept):,}"
        print_line(
            surface, f"overlap: mean cos² of the angles between the {count} leading directions of either"
        )


def _known(header: str, values: Sequence[float]) -> list[Column]:
    """A column of numbers up to 1; none where none is known."""
    return [] if all(map(math.isnan, values)) else [Column(header, [text.cosine(value) for value in values])]


def _signed(value: Interval) -> str:
    """A difference of K as +12, −3, 0 or −2…+4."""
    ends = [value.low] if value.closed else [value.low, value.high]
    return "…".join(f"{'+' if end > 0 else '−' if end < 0 else ''}{abs(end):,}" for end in ends)
