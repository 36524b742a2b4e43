"""Tables of one spectrum, of classes, of two results beside each other, and of how alike layers are; and HTML
of tables for a notebook."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from streamspread.reports import text
from streamspread.reports.table import (
    Column,
    HtmlOutput,
    Output,
    Table,
    fits,
    print_line,
    print_widest_that_fits,
)
from streamspread.reports.texts import Texts
from streamspread.results.classes import Classes
from streamspread.results.comparison import Comparison
from streamspread.results.interval import Interval
from streamspread.results.metrics import metrics_of
from streamspread.results.similarity import LEAST_DEBIASED, TOLERANCE, Similarity
from streamspread.results.spectra import LayerSpectrum
from streamspread.results.spectrum import Spectrum

#: τ at which a single layer is shown, beside those that it was analysed for.
TAUS = (0.5, 0.7, 0.9, 0.95, 0.99)


def to_html(printer: Callable[[Any, Output], None], result: Any) -> str:
    """What a printer prints of a result, as a fragment of HTML without colours or fonts of its own."""
    output = HtmlOutput()
    printer(result, output)
    return output.html()


def print_spectrum(spectrum: Spectrum, output: Output) -> None:
    """K at several thresholds, then every metric that is known."""
    where = how = ""
    if isinstance(spectrum, LayerSpectrum):
        where, how = f"{spectrum.layer} · ", f" · {text.method(spectrum)}"
    dims, samples = text.count(spectrum.dim), text.count(spectrum.samples)
    print_line(output, f"{where}D = {dims} · N = {samples}{how}", style="bold")
    run_for = spectrum.growth.thresholds if spectrum.growth is not None else ()
    taus = sorted({*TAUS, *run_for})
    columns = [
        Column("τ", text.fractions(taus)),
        Column("K(τ)", [text.interval(spectrum.components(tau)) for tau in taus]),
        Column("spread", [text.percent(spectrum.spread(tau)) for tau in taus]),
    ]
    if run_for:
        columns.append(Column("K(τ) at ∞", [text.estimate(spectrum, tau) for tau in taus]))
    print_widest_that_fits(output, [columns])
    known = {name: value for name, value in metrics_of(spectrum).items() if not math.isnan(value)}
    names = [name.replace("_", " ") for name in known]
    values = [text.metric(name, value) for name, value in known.items()]
    print_widest_that_fits(output, [[Column("metric", names, left=True), Column("value", values)]])


def print_comparison(comparison: Comparison, output: Output) -> None:
    """A row per layer: K and spread of both, and how alike they are, as far as that is known."""
    for which, title in zip("ab", comparison.titles, strict=True):
        print_line(output, f"{which}: {title}", style="bold")
    for note in comparison.notes:
        print_line(output, f"note: {note}")
    rows, (tau,) = list(comparison.values()), text.fractions([comparison.threshold])
    columns = [
        Column("layer", [row.layer for row in rows], left=True),
        Column("D of a", [text.count(row.dims[0]) for row in rows], priority=3),
        Column("D of b", [text.count(row.dims[1]) for row in rows], priority=3),
        Column(f"K({tau}) of a", [text.interval(row.a) for row in rows]),
        Column(f"K({tau}) of b", [text.interval(row.b) for row in rows]),
        Column("b − a", [_signed(row.difference) for row in rows]),
        Column("spread of a", [text.percent(row.spread_a) for row in rows], priority=2),
        Column("spread of b", [text.percent(row.spread_b) for row in rows], priority=2),
    ]
    for header, values in (("CKA", [row.cka for row in rows]), ("overlap", [row.overlap for row in rows])):
        if not all(map(math.isnan, values)):
            columns.append(Column(header, [text.cosine(value) for value in values]))
    print_widest_that_fits(output, [columns])
    if kept := {len(row.angles) for row in rows if len(row.angles)}:
        count = text.count(kept.pop()) if len(kept) == 1 else f"{min(kept):,} to {max(kept):,}"
        print_line(
            output, f"overlap: mean cos² of the angles between the {count} leading directions of either"
        )


def _signed(value: Interval) -> str:
    """A difference of K as +12, −3, 0 or −2…+4."""
    ends = [value.low] if value.closed else [value.low, value.high]
    return "…".join(f"{'+' if end > 0 else '−' if end < 0 else ''}{abs(end):,}" for end in ends)


def print_similarity(similarity: Similarity, output: Output, titles: Sequence[str] = ()) -> None:
    """The titles, a line each, then CKA of every row with every column: debiased, and as it is defined.

    On a terminal that is too narrow for a matrix each pair gets a row of its own.
    """
    for title in titles:
        print_line(output, title, style="bold")
    samples = text.count(similarity.samples)
    alike = "1 where layers arrange them alike, but for rotation and scale"
    print_line(output, f"linear CKA over {samples} samples: {alike}")
    debiased = "debiased: about 0 where layers have nothing in common"
    defined = "as defined: biased, mostly upwards, unless there are far more samples than features"
    if fits(output, _matrix(similarity, similarity.cka)):
        for heading, value_RC in ((debiased, similarity.debiased), (defined, similarity.cka)):
            print_line(output, heading)
            print_widest_that_fits(output, [_matrix(similarity, value_RC)])
    else:
        print_line(output, debiased)
        print_line(output, defined)
        print_widest_that_fits(output, [_pairs(similarity)])
    if similarity.samples < LEAST_DEBIASED:
        print_line(output, f"–: debiased, it takes {LEAST_DEBIASED} samples or more")
    elif np.isnan(similarity.cka).any() or np.isnan(similarity.debiased).any():
        doubtful = f"one where rounding could make a difference of more than {TOLERANCE:g}"
        print_line(output, f"–: of a constant layer, or of {doubtful}")


def _matrix(similarity: Similarity, value_RC: np.ndarray) -> list[Column]:
    """A row per row, a column per column."""
    values = zip(similarity.columns, value_RC.T, strict=True)
    return [
        Column("layer", similarity.rows, left=True),
        Column("D", [text.count(dim) for dim in similarity.row_dims]),
        *(Column(name, [text.cosine(value) for value in value_R]) for name, value_R in values),
    ]


def _pairs(similarity: Similarity) -> list[Column]:
    """A row per pair."""
    count = len(similarity.columns)
    return [
        Column("layer", [row for row in similarity.rows for _ in range(count)], left=True),
        Column("with", list(similarity.columns) * len(similarity.rows), left=True),
        Column("debiased", [text.cosine(value) for value in similarity.debiased.flat]),
        Column("as defined", [text.cosine(value) for value in similarity.cka.flat]),
    ]


def classes_table(layers: Sequence[LayerSpectrum], thresholds: Sequence[float], texts: Texts) -> Table:
    """What labels tell of layers, a row each; without columns where they tell nothing."""
    if not any(layer.classes for layer in layers):
        return Table([])
    of_each = ("classes_within", "classes_each", "classes_mixed")
    per_tau = [texts[key].format(tau=tau) for tau in text.fractions(thresholds) for key in of_each]
    shares = [texts[key] for key in ("classes_between", "classes_span", "classes_leading")]
    header = [texts["layer"], texts["classes"], *shares, "NC1", *per_tau]
    rows = [_class_cells(layer, thresholds) for layer in layers]
    columns = [
        Column(head, [row[place] for row in rows], priority=int(place > 3), left=place == 0)
        for place, head in enumerate(header)
    ]
    notes = [texts["classes_means"]]
    # Other layers without classes have a note of their own.
    if sketched := [s.layer for s in layers if s.classes is None and s.method == "sketch"]:
        notes.append(texts["classes_missing"].format(layers=", ".join(sketched)))
    return Table(columns, notes)


def _class_cells(layer: LayerSpectrum, thresholds: Sequence[float]) -> list[str]:
    """A layer's name, the number of its classes C, the shares of the variance between them, along their means
    and along the C − 1 leading components, NC1, and at every threshold K within them, of each, and of as many
    samples of all."""
    classes = layer.classes
    if classes is None:
        return [layer.layer, *["–"] * (5 + 3 * len(thresholds))]
    leading = layer.share(len(classes.names) - 1)
    cells = [layer.layer, text.count(len(classes.names))]
    cells += [text.share(classes.between_share), text.share(classes.span_share)]
    cells += ["–" if math.isnan(leading.high) else text.percent(leading), text.number(classes.nc1)]
    for tau in thresholds:
        within = "–" if classes.within is None else text.interval(classes.within.components(tau))
        cells += [within, *_of_each_class(classes, tau)]
    return cells


def _of_each_class(classes: Classes, tau: float) -> tuple[str, str]:
    """The least and the most K of a class, and the mean K of as many samples of all classes."""
    each = classes.at(tau)
    if not each:
        return "–", "–"
    low, high = min(one.components for one in each), max(one.components for one in each)
    mixed = text.number(sum(one.mixed for one in each) / len(each))
    return text.count(low) if low == high else f"{text.count(low)} to {text.count(high)}", mixed
