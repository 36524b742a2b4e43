"""Spectra, plans and layers as tables, printed onto a given console: a terminal or a pipe."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from streamspread.reports import classes, text
from streamspread.reports.choosing import Shown, chosen, of_layer, of_threshold
from streamspread.reports.columns import Column, Surface, print_first_that_fits, print_line
from streamspread.reports.labels import EN, USUAL
from streamspread.reports.naming import alike, listed
from streamspread.results.spectra import LayerSpectrum, Spectra

if TYPE_CHECKING:
    from streamspread.observe.taps import TapInfo
    from streamspread.planner import LayerPlan, Plan
    from streamspread.reports.summary import Table


def print_spectra(
    spectra: Spectra, console: Surface, columns: Sequence[str] | None = None, said: Collection[str] = ()
) -> None:
    """Title and notes, one row per layer, then the intervals that are not closed and how to close them, and
    how long it took.

    Args:
        columns: names of columns, in place of the usual ones. ``said``: notes that whoever reads it has read.

    On a terminal that is too narrow the least needed columns are left out, and if that is not enough each
    threshold gets a row of its own; a number is never cut. In a pipe every column is there, however wide.
    """
    provenance = spectra.provenance
    print_line(console, provenance.get("title") or f"{len(spectra)} layers", style="bold")
    for note in provenance.get("notes", ()):
        if note not in said:
            print_line(console, f"note: {note}")
    if not spectra:
        print_line(console, "no layers")
        return
    layers, thresholds = list(spectra.values()), spectra.thresholds
    called = provenance.get("samples_are", USUAL)
    if any(s.growth for s in layers):
        print_line(console, f"K at ∞: of infinitely many {called} (estimated, not proved)")
    if spectra.twin is not None:
        print_line(console, f"K random: of the same network with fresh weights, over the same {called}")
        for note in spectra.twin.provenance.get("notes", ()):
            if note not in provenance.get("notes", ()):
                print_line(console, f"note: {note}")
    shown = Shown(layers, thresholds, spectra.twin)
    layouts = [_wide(shown) if columns is None else chosen(shown, columns)]
    if len(thresholds) > 1 and columns is None:
        layouts.append(_long(shown))
    print_first_that_fits(console, layouts)
    for line in _closing_lines(layers, thresholds, provenance, called):
        print_line(console, line)
    if classes.known(layers):
        _print_classes(layers, thresholds, console)
    if (took := _took(spectra)) is not None:
        print_line(console, took)


def _took(spectra: Spectra) -> str | None:
    """How long all of it took, and the layers' own part of that; None of a result that does not tell."""
    parts = [spectra] if spectra.twin is None else [spectra, spectra.twin]
    taken = [one for part in parts if isinstance(one := part.provenance.get("seconds"), (int, float))]
    if len(taken) < len(parts):
        return None
    whole = sum(taken)
    own = sum(s.seconds for part in parts for s in part.values() if not math.isnan(s.seconds))
    # What a run did that was taken up again is not in the whole.
    own_part = f", {_about(own)} of it for sums and spectra" if own <= whole else ""
    return f"took {_about(whole)}{own_part}"


def _about(seconds: float) -> str:
    return text.duration(seconds) if seconds >= 10 else f"{seconds:.1f} s"


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


def print_summary(table: Table, console: Surface) -> None:
    """A table of the report, with its notes; a cell of several lines takes several rows."""
    rows: list[list[str]] = []
    for row in table.rows:
        cells = [[cell] if isinstance(cell, str) else list(cell) for cell in row]
        rows += [
            [cell[line] if line < len(cell) else "" for cell in cells] for line in range(max(map(len, cells)))
        ]
    columns = [
        Column(head, [row[index] for row in rows], left=index not in table.numbers)
        for index, head in enumerate(table.header)
    ]
    print_first_that_fits(console, [columns])
    for line in table.notes:
        print_line(console, line)


def print_plan(plan: Plan, console: Surface) -> None:
    """A plan: a row per layer, why each method was chosen, which layers have more directions than the samples
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
    everyone = [row.layer for row in rows]
    for names, reason in alike((row.layer, _reason(row)) for row in rows):
        print_line(console, f"{listed(names, everyone)}: {reason}")
    if plan.samples is not None and (limited := [row.layer for row in rows if row.ceiling < row.directions]):
        print_line(
            console,
            f"limited by the number of {plan.called}: {listed(limited, everyone)}: {plan.samples:,} of them "
            f"span at most {plan.samples - 1:,} directions, and these layers have more",
        )
    for step in plan.passes:
        those = listed(step.layers, everyone)
        line = f"pass {step.index + 1} of {len(plan.passes)}, cut off after {step.deepest}: {those}"
        print_line(console, f"{line} ({text.size(step.bytes)})")
    print_line(
        console,
        f"{_samples(plan.samples)} {plan.called} in batches of {plan.batch_size:,} on {plan.device}: "
        f"peak {text.size(plan.peak_bytes)} of a budget of {text.size(plan.budget)}",
        style="bold",
    )
    if plan.ranks > 1:
        sent = text.size(round(plan.sent_bytes))
        takes = "" if ahead is None else f", for which it waits about {text.duration(ahead.waits)}"
        said = f"{plan.ranks} processes share it: each is sent {sent} by the others{takes}"
        print_line(console, said, style="bold")
    if ahead is not None and ahead.outweighed:
        print_line(console, text.outweighed(listed(ahead.outweighed, everyone)))
    if ahead is not None:
        own, forwards = text.duration(ahead.seconds), text.duration(ahead.forwards)
        print_line(console, f"about {own}, of which the network's forward takes {forwards}", style="bold")


def print_layers(taps: Sequence[TapInfo], console: Surface) -> None:
    """The taps of a model: name, shape of one image's activation, D, the kind of module, and which of them
    ``--layers`` takes."""
    taken = set(getattr(taps, "taken", ()))
    columns = [
        Column("layer", [tap.name for tap in taps], left=True),
        Column("shape", [text.shape(tap.shape) for tap in taps]),
        Column("D", [text.count(tap.dim) for tap in taps]),
        Column("axes", [tap.axes or "?" for tap in taps], drop=2, left=True),
        Column("module", [tap.kind for tap in taps], drop=1, left=True),
    ]
    if taken:
        columns.append(Column("taken", ["•" if tap.name in taken else "" for tap in taps], left=True))
    print_first_that_fits(console, [columns])
    if taken:
        asked = getattr(taps, "asked", "all")
        print_line(console, f"• {len(taken):,} of {len(taps):,}: what --layers {asked} takes")


def _reason(row: LayerPlan) -> str:
    """Why a layer is done so, and not otherwise."""
    return f"{row.why}; rejected {'; '.join(row.rejected)}" if row.rejected else row.why


def _samples(samples: int | None) -> str:
    return "an unknown number of" if samples is None else text.count(samples)


def _pass_numbers(indices: tuple[int, ...]) -> str:
    """The numbers of passes, counted from 1: 1, or 2–5."""
    first, last = indices[0] + 1, indices[-1] + 1
    return str(first) if first == last else f"{first}–{last}"


def _wide(shown: Shown) -> list[Column]:
    """A row per layer, K and spread of every threshold beside each other."""
    answers = []
    several = len(shown.thresholds) > 1
    for tau, written in zip(shown.thresholds, text.fractions(shown.thresholds), strict=True):
        at, of_it = f"({written})", f"({written})" if several else ""
        answers.append(of_threshold("components", shown, tau, at))
        if shown.twin is not None:
            answers.append(of_threshold("random", shown, tau, at))
        if any(s.growth for s in shown.layers):
            answers.append(of_threshold("estimate", shown, tau, at, drop=3))
        answers.append(of_threshold("spread", shown, tau, of_it))
        answers.append(of_threshold("share", shown, tau, of_it, drop=6))
    return _columns(shown.layers, answers)


def _long(shown: Shown) -> list[Column]:
    """A row per layer and threshold; the first of a layer's rows says what holds for all of them."""
    names = ["components"]
    names += ["random"] if shown.twin is not None else []
    names += ["estimate"] if any(s.growth for s in shown.layers) else []
    repeats = len(shown.thresholds)
    answers = [Column("τ", list(text.fractions(shown.thresholds)) * len(shown.layers))]
    for name in (*names, "spread", "share"):
        by_tau = [of_threshold(name, shown, tau, "") for tau in shown.thresholds]
        cells = [cell for row in zip(*(one.cells for one in by_tau), strict=True) for cell in row]
        header = by_tau[0].header if name in ("spread", "share") else by_tau[0].header.replace("K", "K(τ)", 1)
        answers.append(Column(header, cells, {"estimate": 3, "share": 6}.get(name, 0)))
    return [
        column if len(column.cells) == repeats * len(shown.layers) else _spaced(column, repeats)
        for column in _columns(shown.layers, answers)
    ]


def _spaced(column: Column, repeats: int) -> Column:
    cells = [cell if index == 0 else "" for cell in column.cells for index in range(repeats)]
    return Column(column.header, cells, column.drop, column.left)


def _columns(layers: Sequence[LayerSpectrum], answers: list[Column]) -> list[Column]:
    def those(**drops: int) -> list[Column]:
        return [of_layer(name, layers, drop) for name, drop in drops.items()]

    beside = {} if all(math.isnan(s.share_of_whole) for s in layers) else {"share_of_whole": 4}
    return [
        *those(layer=0, shape=2, dim=0, samples=4, ceiling=10),
        *answers,
        *those(**beside, participation_ratio=5, method=1, passes=7, seconds=8, peak_bytes=9),
    ]


def _closing_lines(
    layers: Sequence[LayerSpectrum],
    thresholds: Sequence[float],
    provenance: Mapping[str, Any],
    called: str,
) -> Iterator[str]:
    """Which layers are constant, which are limited by the number of samples, and which intervals are open and
    how to close these, a line each."""
    everyone = [s.layer for s in layers]
    constant = [s.layer for s in layers if s.total_variance <= 0]
    if constant:
        each = called.removesuffix("s")
        yield f"constant (the same for every {each}, so no component is needed): {listed(constant, everyone)}"
    limited = {s.layer: [tau for tau in thresholds if s.limited_by_samples(tau)] for s in layers}
    if any(limited.values()):
        those = _at_thresholds({name: taus for name, taus in limited.items() if taus}, thresholds, everyone)
        yield (
            f"limited by the number of {called}: {those}: too few to tell how many components more of them "
            "would give"
        )
    yield from _missing_estimates(layers, thresholds)
    varying = [s for s in layers if s.method == "sketch" and s.total_variance > 0]
    if without := [s.layer for s in varying if math.isnan(s.participation_ratio)]:
        those = listed(without, everyone)
        yield f"no participation ratio: {those} (sketch): --method gram or covariance gives it"
    still_open = {
        s.layer: [tau for tau in thresholds if not s.components(tau).closed]
        for s in layers
        if not all(s.components(tau).closed for tau in thresholds)
    }
    if not still_open:
        counts = {s.seen for s in layers}
        those = f" {counts.pop():,} {called}" if len(counts) == 1 else f" {called}"
        yield f"closed: every K is one value, not a range, proved for these{those}, not for more"
        return
    those = _at_thresholds(still_open, thresholds, everyone)
    yield f"low…high is a range that is proved to hold K; not closed: {those}"
    # A result can be shown for others than it was run for.
    others = {tau for taus in still_open.values() for tau in taus} - {
        *_asked_option(provenance, "thresholds", ())
    }
    proof = _asked_option(provenance, "proof", True)
    ways = _how_to_close([s for s in layers if s.layer in still_open], proof, bool(others))
    yield f"to close it: run {ways}"


def _missing_estimates(layers: Sequence[LayerSpectrum], thresholds: Sequence[float]) -> Iterator[str]:
    """Where others have estimates: the layers without, and the thresholds that the run was not asked for."""
    if not any(s.growth for s in layers):
        return
    without = [s for s in layers if s.growth is None and s.total_variance > 0]
    if without:
        by = {s.method: [one.layer for one in without if one.method == s.method] for s in without}
        everyone = [s.layer for s in layers]
        those = "; ".join(f"{listed(names, everyone)} ({method})" for method, names in by.items())
        yield (
            f"no estimate at ∞: {those}: one is made of grams, and of covariances of few features, where it "
            "costs little"
        )
    known = {tau for s in layers if s.growth for tau in s.growth.thresholds}
    written = dict(zip(thresholds, text.fractions(thresholds), strict=True))
    if others := [written[tau] for tau in thresholds if tau not in known]:
        yield f"no estimate at ∞ at τ = {', '.join(others)}: run with these --thresholds"


def _at_thresholds(
    those: Mapping[str, Sequence[float]], thresholds: Sequence[float], everyone: Sequence[str]
) -> str:
    """Layers with some of the thresholds, by these: c1, c2 at τ = 0.7; c3 at τ = 0.7, 0.9."""
    written = dict(zip(thresholds, text.fractions(thresholds), strict=True))
    groups: dict[str, list[str]] = {}
    for name, taus in those.items():
        groups.setdefault(", ".join(written[tau] for tau in taus), []).append(name)
    return "; ".join(f"{listed(names, everyone)} at τ = {taus}" for taus, names in groups.items())


def _how_to_close(layers: Sequence[LayerSpectrum], proof: bool, others: bool) -> str:
    """``proof``: whether one was allowed. ``others``: whether the run was not asked for these thresholds."""
    ways = []
    if any(s.complete for s in layers):  # then only rounding errors keep it open
        ways.append("with --rounding fp64")
    methods = {s.method for s in layers if not s.complete}
    if methods:
        ways += [] if proof else ["without --no-proof"]
        ways += ["with these --thresholds"] if others else []
    if methods - {"sketch"}:
        ways.append("with --all-eigenvalues")
    if "sketch" in methods:
        ways.append("with a larger --rank")
    return ", or ".join(ways)


def _asked_option(provenance: Mapping[str, Any], name: str, default: Any) -> Any:
    """An option as the result was asked for: from ``options``, or as older files have it, an entry of its
    own; ``default`` where neither is there."""
    options = provenance.get("options")
    if isinstance(options, Mapping) and name in options:
        return options[name]
    return provenance.get(name, default)
