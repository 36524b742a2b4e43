"""Spectra, similarities, plans and layers as tables, printed onto a given console: a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from streamspread.report import classes, text
from streamspread.report.labels import EN
from streamspread.results.provenance import asked_option
from streamspread.results.similarity import LEAST_DEBIASED, TOLERANCE, Similarity
from streamspread.results.spectrum import LayerSpectrum, Spectra

if TYPE_CHECKING:
    from streamspread.observe.taps import TapInfo
    from streamspread.planner import Plan

_UNLIMITED = 100_000  # characters: wider than any table


@dataclass(frozen=True)
class _Column:
    """A column and its cells. ``drop``: on a narrow terminal the columns with the highest are left out first;
    those with 0 never are."""

    header: str
    cells: Sequence[str]
    drop: int = 0
    left: bool = False


def print_spectra(spectra: Spectra, console: Console) -> None:
    """Title and notes, one row per layer, then the intervals that are not closed and how to close them.

    On a terminal that is too narrow the least needed columns are left out, and if that is not enough each
    threshold gets a row of its own; a number is never cut. In a pipe every column is there, however wide.
    """
    provenance = spectra.provenance
    _print_line(console, provenance.get("title") or f"{len(spectra)} layers", style="bold")
    for note in provenance.get("notes", ()):
        _print_line(console, f"note: {note}")
    if not spectra:
        _print_line(console, "no layers")
        return
    layers, thresholds = list(spectra.values()), spectra.thresholds
    if any(s.growth for s in layers):
        _print_line(console, "K at ∞: of infinitely many images (estimated, not proved)")
    layouts = [_wide(layers, thresholds)]
    if len(thresholds) > 1:
        layouts.append(_long(layers, thresholds))
    _print_first_that_fits(console, layouts)
    for line in _closing_lines(layers, thresholds, proof=asked_option(provenance, "proof", True)):
        _print_line(console, line)
    if classes.known(layers):
        _print_classes(layers, thresholds, console)


def _print_classes(layers: Sequence[LayerSpectrum], thresholds: Sequence[float], console: Console) -> None:
    rows = [classes.row(layer, thresholds) for layer in layers]
    heads = classes.header(thresholds, EN)
    columns = [
        _Column(head, [row[index] for row in rows], drop=int(index > 3), left=index == 0)
        for index, head in enumerate(heads)
    ]
    console.print()
    _print_first_that_fits(console, [columns])
    _print_line(console, EN["classes_means"])
    if missing := classes.without(layers):
        _print_line(console, EN["classes_missing"].format(layers=", ".join(missing)))


def print_similarity(similarity: Similarity, titles: Sequence[str], console: Console) -> None:
    """The titles, a line each, then CKA of every row with every column: debiased, and as it is defined.

    On a terminal that is too narrow for a matrix each pair gets a row of its own.
    """
    for title in titles:
        _print_line(console, title, style="bold")
    samples = text.count(similarity.samples)
    alike = "1 where layers arrange them alike, but for rotation and scale"
    _print_line(console, f"linear CKA over {samples} images: {alike}")
    debiased = "debiased: about 0 where layers have nothing in common"
    defined = "as defined: biased, mostly upwards, unless there are far more images than features"
    if (
        console.is_terminal
        and _natural_width(console, _table(_matrix(similarity, similarity.cka))) > console.width
    ):
        _print_line(console, debiased)
        _print_line(console, defined)
        _print_first_that_fits(console, [_pairs(similarity)])
    else:
        for heading, value_RC in ((debiased, similarity.debiased), (defined, similarity.cka)):
            _print_line(console, heading)
            _print_first_that_fits(console, [_matrix(similarity, value_RC)])
    if similarity.samples < LEAST_DEBIASED:
        _print_line(console, f"–: debiased, it takes {LEAST_DEBIASED} images or more")
    elif np.isnan(similarity.cka).any() or np.isnan(similarity.debiased).any():
        doubtful = f"one where rounding could make a difference of more than {TOLERANCE:g}"
        _print_line(console, f"–: of a constant layer, or of {doubtful}")


def print_plan(plan: Plan, console: Console) -> None:
    """A plan: a row per layer, why each method was chosen, which layers have more directions than the images
    span, then the passes and the memory."""
    rows = plan.layers
    columns = [
        _Column("layer", [row.layer for row in rows], left=True),
        _Column("shape", [text.shape(row.shape) for row in rows], drop=3),
        _Column("D", [text.count(row.dim) for row in rows]),
        _Column("N", ["?" if row.samples is None else text.count(row.samples) for row in rows], drop=4),
        _Column("K at most", [text.count(row.ceiling) for row in rows], drop=2),
        _Column("method", [f"{row.method} {row.rounding}" for row in rows], left=True),
        _Column("in pass", [_pass_numbers(row.pass_indices) for row in rows], drop=1),
        _Column("memory", [text.size(row.bytes) for row in rows]),
        _Column("operations", [text.operations(row.operations) for row in rows]),
    ]
    _print_first_that_fits(console, [columns])
    for row in rows:
        rejected = f"; rejected {'; '.join(row.rejected)}" if row.rejected else ""
        _print_line(console, f"{row.layer}: {row.why}{rejected}")
    if plan.samples is not None and (limited := [row.layer for row in rows if row.ceiling < row.directions]):
        _print_line(
            console,
            f"limited by the number of images: {', '.join(limited)}: {plan.samples:,} of them span at most "
            f"{plan.samples - 1:,} directions, and these layers have more",
        )
    for step in plan.passes:
        names = ", ".join(step.layers)
        line = f"pass {step.index + 1} of {len(plan.passes)}, cut off after {step.deepest}: {names}"
        _print_line(console, f"{line} ({text.size(step.bytes)})")
    _print_line(
        console,
        f"{_samples(plan.samples)} images in batches of {plan.batch_size:,} on {plan.device}: "
        f"peak {text.size(plan.peak_bytes)} of a budget of {text.size(plan.budget)}",
        style="bold",
    )


def print_layers(taps: Sequence[TapInfo], console: Console) -> None:
    """The taps of a model: name, shape of one image's activation, D, and the kind of module."""
    columns = [
        _Column("layer", [tap.name for tap in taps], left=True),
        _Column("shape", [text.shape(tap.shape) for tap in taps]),
        _Column("D", [text.count(tap.dim) for tap in taps]),
        _Column("module", [tap.kind for tap in taps], drop=1, left=True),
    ]
    _print_first_that_fits(console, [columns])


def _matrix(similarity: Similarity, value_RC: np.ndarray) -> list[_Column]:
    """A row per row, a column per column."""
    values = zip(similarity.columns, value_RC.T, strict=True)
    return [
        _Column("layer", similarity.rows, left=True),
        _Column("D", [text.count(dim) for dim in similarity.row_dims]),
        *(_Column(name, [text.cosine(value) for value in value_R]) for name, value_R in values),
    ]


def _pairs(similarity: Similarity) -> list[_Column]:
    """A row per pair."""
    count = len(similarity.columns)
    return [
        _Column("layer", [row for row in similarity.rows for _ in range(count)], left=True),
        _Column("with", list(similarity.columns) * len(similarity.rows), left=True),
        _Column("debiased", [text.cosine(value) for value in similarity.debiased.flat]),
        _Column("as defined", [text.cosine(value) for value in similarity.cka.flat]),
    ]


def _samples(samples: int | None) -> str:
    return "an unknown number of" if samples is None else text.count(samples)


def _pass_numbers(indices: tuple[int, ...]) -> str:
    """The numbers of passes, counted from 1: 1, or 2–5."""
    first, last = indices[0] + 1, indices[-1] + 1
    return str(first) if first == last else f"{first}–{last}"


def _wide(layers: Sequence[LayerSpectrum], thresholds: Sequence[float]) -> list[_Column]:
    """A row per layer, K and spread of every threshold beside each other."""
    answers = []
    for tau, written in zip(thresholds, text.fractions(thresholds), strict=True):
        answers.append(_Column(f"K({written})", [text.interval(s.components(tau)) for s in layers]))
        if any(s.growth for s in layers):
            answers.append(_Column(f"K({written}) at ∞", [_estimate(s, tau) for s in layers], drop=3))
        header = "spread" if len(thresholds) == 1 else f"spread({written})"
        answers.append(_Column(header, [_spread(s, tau) for s in layers]))
    return _columns(layers, answers)


def _long(layers: Sequence[LayerSpectrum], thresholds: Sequence[float]) -> list[_Column]:
    """A row per layer and threshold; the first of a layer's rows says what holds for all of them."""
    pairs = [(s, tau) for s in layers for tau in thresholds]
    answers = [
        _Column("τ", list(text.fractions(thresholds)) * len(layers)),
        _Column("K(τ)", [text.interval(s.components(tau)) for s, tau in pairs]),
        _Column("spread", [_spread(s, tau) for s, tau in pairs]),
    ]
    if any(s.growth for s in layers):
        answers.insert(2, _Column("K(τ) at ∞", [_estimate(s, tau) for s, tau in pairs], drop=3))
    repeats = len(thresholds)
    return [
        column if len(column.cells) == len(pairs) else _spaced(column, repeats)
        for column in _columns(layers, answers)
    ]


def _spaced(column: _Column, repeats: int) -> _Column:
    cells = [cell if index == 0 else "" for cell in column.cells for index in range(repeats)]
    return _Column(column.header, cells, column.drop, column.left)


def _columns(layers: Sequence[LayerSpectrum], answers: list[_Column]) -> list[_Column]:
    return [
        _Column("layer", [s.layer for s in layers], left=True),
        _Column("shape", [text.shape(s.shape) for s in layers], drop=2),
        _Column("D", [text.count(s.dim) for s in layers]),
        _Column("N", [text.count(s.samples) for s in layers], drop=4),
        _Column("K at most", [text.count(s.ceiling) for s in layers], drop=8),
        *answers,
        _Column("method", [f"{s.method} {s.rounding}" for s in layers], drop=1, left=True),
        _Column("passes", [text.count(s.passes) for s in layers], drop=5),
        _Column("seconds", [text.seconds(s.seconds) for s in layers], drop=6),
        _Column("peak", [text.size(s.peak_bytes) for s in layers], drop=7),
    ]


def _estimate(spectrum: LayerSpectrum, tau: float) -> str:
    """K of infinitely many images as 228 ± 4, or ≥ 205; a dash where there is none."""
    estimate = spectrum.estimate(tau)
    return "–" if estimate is None else str(estimate)


def _spread(spectrum: LayerSpectrum, tau: float) -> str:
    return "constant" if spectrum.total_variance <= 0 else text.percent(spectrum.spread(tau))


def _closing_lines(
    layers: Sequence[LayerSpectrum], thresholds: Sequence[float], proof: bool
) -> Iterator[str]:
    """Which layers are constant, which are limited by the number of images, and which intervals are open and
    how to close these, a line each."""
    constant = [s.layer for s in layers if s.total_variance <= 0]
    if constant:
        yield f"constant (the same for every image, so no component is needed): {', '.join(constant)}"
    limited = {s.layer: [tau for tau in thresholds if s.limited_by_samples(tau)] for s in layers}
    if any(limited.values()):
        listed = _at_thresholds({name: taus for name, taus in limited.items() if taus}, thresholds)
        yield (
            f"limited by the number of images: {listed}: too few to tell how many components more of them "
            "would give"
        )
    yield from _missing_estimates(layers, thresholds)
    still_open = {
        s.layer: [tau for tau in thresholds if not s.components(tau).closed]
        for s in layers
        if not all(s.components(tau).closed for tau in thresholds)
    }
    if not still_open:
        counts = {s.samples for s in layers}
        images = f" {counts.pop():,}" if len(counts) == 1 else ""
        yield f"closed: every K is one value, not a range, proved for these{images} images, not for more"
        return
    listed = _at_thresholds(still_open, thresholds)
    yield f"low…high is a range that is proved to hold K; not closed: {listed}"
    yield f"to close it: run {_how_to_close([s for s in layers if s.layer in still_open], proof)}"


def _missing_estimates(layers: Sequence[LayerSpectrum], thresholds: Sequence[float]) -> Iterator[str]:
    """Where others have estimates: the layers without, and the thresholds that the run was not asked for."""
    if not any(s.growth for s in layers):
        return
    without = [s for s in layers if s.growth is None and s.total_variance > 0]
    if without:
        listed = ", ".join(f"{s.layer} ({s.method})" for s in without)
        yield f"no estimate at ∞: {listed}: one is made of grams, and of covariances of few features"
    known = {tau for s in layers if s.growth for tau in s.growth.thresholds}
    written = dict(zip(thresholds, text.fractions(thresholds), strict=True))
    if others := [written[tau] for tau in thresholds if tau not in known]:
        yield f"no estimate at ∞ at τ = {', '.join(others)}: run with these --thresholds"


def _at_thresholds(those: Mapping[str, Sequence[float]], thresholds: Sequence[float]) -> str:
    """Layers with some of the thresholds: c1 at τ = 0.7; c3 at τ = 0.7, 0.9."""
    written = dict(zip(thresholds, text.fractions(thresholds), strict=True))
    return "; ".join(
        f"{name} at τ = {', '.join(written[tau] for tau in taus)}" for name, taus in those.items()
    )


def _how_to_close(layers: Sequence[LayerSpectrum], proof: bool) -> str:
    ways = []
    if any(s.complete for s in layers):  # then only rounding errors keep it open
        ways.append("with --rounding fp64")
    methods = {s.method for s in layers if not s.complete}
    if methods:
        ways += [] if proof else ["without --no-proof"]
        ways.append("with these --thresholds")  # a result can be shown for others than it was run for
    if methods - {"sketch"}:
        ways.append("with --all-eigenvalues")
    if "sketch" in methods:
        ways.append("with a larger --rank")
    return ", or ".join(ways)


def _print_first_that_fits(console: Console, layouts: Sequence[Sequence[_Column]]) -> None:
    """Print the first layout that fits, with as few columns left out as possible; if none, the narrowest."""
    width = console.width if console.is_terminal else _UNLIMITED
    for columns in layouts:
        for most in sorted({column.drop for column in columns}, reverse=True):
            table = _table([column for column in columns if column.drop <= most])
            needed = _natural_width(console, table)
            if needed <= width:
                return _print_table(console, table, needed)
    _print_table(console, table, needed)


def _table(columns: Sequence[_Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    # All as Text, since a layer's name may look like markup.
    for column in columns:
        table.add_column(Text(column.header), justify="left" if column.left else "right", no_wrap=True)
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(cell) for cell in row))
    return table


def _natural_width(console: Console, table: Table) -> int:
    return Measurement.get(console, console.options.update(max_width=_UNLIMITED), table).maximum


def _print_table(console: Console, table: Table, needed: int) -> None:
    with _at_least(console, needed):
        console.print(table, crop=False)


@contextmanager
def _at_least(console: Console, width: int) -> Iterator[None]:
    """Makes the console at least so wide: Rich would cut numbers to fit a table into a narrower one, whereas
    a terminal folds long lines by itself."""
    before = console.width
    console.width = max(width, before)
    try:
        yield
    finally:
        console.width = before


def _print_line(console: Console, line: str, style: str | None = None) -> None:
    console.print(Text(line), style=style, soft_wrap=not console.is_terminal)
