"""Spectra, plans and layers as tables, printed onto a given console: a terminal or a pipe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from streamspread.report import classes, text
from streamspread.report.columns import Column, Surface, print_first_that_fits, print_line
from streamspread.report.labels import EN
from streamspread.results.provenance import asked_option
from streamspread.results.spectrum import Interval, LayerSpectrum, Spectra

if TYPE_CHECKING:
    from streamspread.observe.taps import TapInfo
    from streamspread.planner import Plan


def print_spectra(spectra: Spectra, console: Surface) -> None:
    """Title and notes, one row per layer, then the intervals that are not closed and how to close them.

    On a terminal that is too narrow the least needed columns are left out, and if that is not enough each
    threshold gets a row of its own; a number is never cut. In a pipe every column is there, however wide.
    """
    provenance = spectra.provenance
    print_line(console, provenance.get("title") or f"{len(spectra)} layers", style="bold")
    for note in provenance.get("notes", ()):
        print_line(console, f"note: {note}")
    if not spectra:
        print_line(console, "no layers")
        return
    layers, thresholds = list(spectra.values()), spectra.thresholds
    if any(s.growth for s in layers):
        print_line(console, "K at ∞: of infinitely many images (estimated, not proved)")
    if spectra.twin is not None:
        print_line(console, "K random: of the same network with fresh weights, over the same images")
        for note in spectra.twin.provenance.get("notes", ()):
            if note not in provenance.get("notes", ()):
                print_line(console, f"note: {note}")
    layouts = [_wide(layers, thresholds, spectra.twin)]
    if len(thresholds) > 1:
        layouts.append(_long(layers, thresholds, spectra.twin))
    print_first_that_fits(console, layouts)
    for line in _closing_lines(layers, thresholds, proof=asked_option(provenance, "proof", True)):
        print_line(console, line)
    if classes.known(layers):
        _print_classes(layers, thresholds, console)


def _print_classes(layers: Sequence[LayerSpectrum], thresholds: Sequence[float], console: Surface) -> None:
    rows = [classes.row(layer, thresholds) for layer in layers]
    heads = classes.header(thresholds, EN)
    columns = [
        Column(head, [row[index] for row in rows], drop=int(index > 3), left=index == 0)
        for index, head in enumerate(heads)
    ]
    print_line(console, "")
    print_first_that_fits(console, [columns])
    print_line(console, EN["classes_means"])
    if missing := classes.without(layers):
        print_line(console, EN["classes_missing"].format(layers=", ".join(missing)))


def print_plan(plan: Plan, console: Surface) -> None:
    """A plan: a row per layer, why each method was chosen, which layers have more directions than the images
    span, then the passes and the memory."""
    rows, ahead = plan.layers, plan.outlook
    columns = [
        Column("layer", [row.layer for row in rows], left=True),
        Column("shape", [text.shape(row.shape) for row in rows], drop=3),
        Column("D", [text.count(row.dim) for row in rows]),
        Column("N", ["?" if row.samples is None else text.count(row.samples) for row in rows], drop=4),
        Column("K at most", [text.count(row.ceiling) for row in rows], drop=2),
        Column("method", [text.method(row) for row in rows], left=True),
        Column("in pass", [_pass_numbers(row.pass_indices) for row in rows], drop=1),
        Column("memory", [text.size(row.bytes) for row in rows]),
        Column(
            "operations",
            [text.operations(row.operations) for row in rows],
            drop=int(plan.outlook is not None),
        ),
    ]
    if ahead is not None:
        columns.append(Column("seconds, about", [text.seconds(ahead.layers[row.layer]) for row in rows]))
    print_first_that_fits(console, [columns])
    for row in rows:
        rejected = f"; rejected {'; '.join(row.rejected)}" if row.rejected else ""
        print_line(console, f"{row.layer}: {row.why}{rejected}")
    if plan.samples is not None and (limited := [row.layer for row in rows if row.ceiling < row.directions]):
        print_line(
            console,
            f"limited by the number of images: {', '.join(limited)}: {plan.samples:,} of them span at most "
            f"{plan.samples - 1:,} directions, and these layers have more",
        )
    for step in plan.passes:
        names = ", ".join(step.layers)
        line = f"pass {step.index + 1} of {len(plan.passes)}, cut off after {step.deepest}: {names}"
        print_line(console, f"{line} ({text.size(step.bytes)})")
    print_line(
        console,
        f"{_samples(plan.samples)} images in batches of {plan.batch_size:,} on {plan.device}: "
        f"peak {text.size(plan.peak_bytes)} of a budget of {text.size(plan.budget)}",
        style="bold",
    )
    if ahead is not None:
        own, forwards = text.duration(ahead.seconds), text.duration(ahead.forwards)
        print_line(console, f"about {own}, of which the network's forward takes {forwards}", style="bold")


def print_layers(taps: Sequence[TapInfo], console: Surface) -> None:
    """The taps of a model: name, shape of one image's activation, D, and the kind of module."""
    columns = [
        Column("layer", [tap.name for tap in taps], left=True),
        Column("shape", [text.shape(tap.shape) for tap in taps]),
        Column("D", [text.count(tap.dim) for tap in taps]),
        Column("axes", [tap.axes or "?" for tap in taps], drop=2, left=True),
        Column("module", [tap.kind for tap in taps], drop=1, left=True),
    ]
    print_first_that_fits(console, [columns])


def _samples(samples: int | None) -> str:
    return "an unknown number of" if samples is None else text.count(samples)


def _pass_numbers(indices: tuple[int, ...]) -> str:
    """The numbers of passes, counted from 1: 1, or 2–5."""
    first, last = indices[0] + 1, indices[-1] + 1
    return str(first) if first == last else f"{first}–{last}"


def _wide(
    layers: Sequence[LayerSpectrum], thresholds: Sequence[float], twin: Spectra | None = None
) -> list[Column]:
    """A row per layer, K and spread of every threshold beside each other."""
    answers = []
    for tau, written in zip(thresholds, text.fractions(thresholds), strict=True):
        answers.append(Column(f"K({written})", [text.interval(s.components(tau)) for s in layers]))
        if twin is not None:
            answers.append(Column(f"K({written}) random", [_of_twin(twin, s, tau) for s in layers]))
        if any(s.growth for s in layers):
            answers.append(Column(f"K({written}) at ∞", [_estimate(s, tau) for s in layers], drop=3))
        header = "spread" if len(thresholds) == 1 else f"spread({written})"
        answers.append(Column(header, [_spread(s, tau) for s in layers]))
    return _columns(layers, answers)


def _long(
    layers: Sequence[LayerSpectrum], thresholds: Sequence[float], twin: Spectra | None = None
) -> list[Column]:
    """A row per layer and threshold; the first of a layer's rows says what holds for all of them."""
    pairs = [(s, tau) for s in layers for tau in thresholds]
    answers = [
        Column("τ", list(text.fractions(thresholds)) * len(layers)),
        Column("K(τ)", [text.interval(s.components(tau)) for s, tau in pairs]),
        Column("spread", [_spread(s, tau) for s, tau in pairs]),
    ]
    if twin is not None:
        answers.insert(2, Column("K(τ) random", [_of_twin(twin, s, tau) for s, tau in pairs]))
    if any(s.growth for s in layers):
        answers.insert(2, Column("K(τ) at ∞", [_estimate(s, tau) for s, tau in pairs], drop=3))
    repeats = len(thresholds)
    return [
        column if len(column.cells) == len(pairs) else _spaced(column, repeats)
        for column in _columns(layers, answers)
    ]


def _of_twin(twin: Spectra, spectrum: LayerSpectrum, tau: float) -> str:
    """K of the same layer with random weights; a dash where that layer is missing."""
    fresh = twin.get(spectrum.layer)
    return "–" if fresh is None else text.interval(fresh.components(tau))


def _spaced(column: Column, repeats: int) -> Column:
    cells = [cell if index == 0 else "" for cell in column.cells for index in range(repeats)]
    return Column(column.header, cells, column.drop, column.left)


def _columns(layers: Sequence[LayerSpectrum], answers: list[Column]) -> list[Column]:
    beside = [] if all(math.isnan(s.share_of_whole) for s in layers) else [_of_whole(layers)]
    return [
        Column("layer", [s.layer for s in layers], left=True),
        Column("shape", [text.shape(s.shape) for s in layers], drop=2),
        Column("D", [text.count(s.dim) for s in layers]),
        Column("N", [text.count(s.samples) for s in layers], drop=4),
        Column("K at most", [text.count(s.ceiling) for s in layers], drop=8),
        *answers,
        *beside,
        Column("method", [text.method(s) for s in layers], drop=1, left=True),
        Column("passes", [text.count(s.passes) for s in layers], drop=5),
        Column("seconds", [text.seconds(s.seconds) for s in layers], drop=6),
        Column("peak", [text.size(s.peak_bytes) for s in layers], drop=7),
    ]


def _of_whole(layers: Sequence[LayerSpectrum]) -> Column:
    """The share of the whole's variance that means over places hold."""
    shares = [s.share_of_whole for s in layers]
    cells = ["–" if math.isnan(share) else text.percent(Interval(share, share)) for share in shares]
    return Column("of the whole", cells, drop=4)


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
        counts = {s.seen for s in layers}
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
        yield (
            f"no estimate at ∞: {listed}: one is made of grams, and of covariances of few features, where it "
            "costs little"
        )
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
