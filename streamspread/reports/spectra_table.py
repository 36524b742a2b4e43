"""Spectra as a table: its columns by the names that ``--columns`` takes, and what is said under it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from streamspread.errors import OptionError
from streamspread.reports import text
from streamspread.reports.comparison_tables import classes_table
from streamspread.reports.table import Column, Output, print_line, print_table, print_widest_that_fits
from streamspread.reports.texts import IMAGES, Texts, texts_in
from streamspread.results.metrics import metric_names, metrics_of
from streamspread.results.spectra import LayerSpectrum, Spectra


class TableInput(NamedTuple):
    """What a table is made of. ``twin``: the same network with random weights, where it was analysed too."""

    layers: Sequence[LayerSpectrum]
    thresholds: Sequence[float]
    twin: Spectra | None = None

    @property
    def has_estimates(self) -> bool:
        return any(layer.growth for layer in self.layers)


class LayerColumn(NamedTuple):
    """A column with one cell for each layer; ``priority``, ``left``: see :class:`Column`."""

    header: str
    cell: Callable[[LayerSpectrum], str]
    priority: int = 0
    left: bool = False


class ThresholdColumn(NamedTuple):
    """A column with one cell for each layer at a threshold, which stands in the header's ``{tau}``."""

    header: str
    cell: Callable[[LayerSpectrum, float, Spectra | None], str]
    priority: int = 0


def _random(layer: LayerSpectrum, tau: float, twin: Spectra | None) -> str:
    fresh = None if twin is None else twin.get(layer.layer)
    return "–" if fresh is None else text.interval(fresh.components(tau))


_OF_LAYER: Mapping[str, LayerColumn] = {
    "layer": LayerColumn("layer", lambda s: s.layer, left=True),
    "shape": LayerColumn("shape", lambda s: text.shape(s.shape), 2),
    "dim": LayerColumn("D", lambda s: text.count(s.dim)),
    "samples": LayerColumn("N", lambda s: text.count(s.samples), 4),
    "images": LayerColumn("images", lambda s: text.count(s.seen)),
    "ceiling": LayerColumn("K at most", lambda s: text.count(s.ceiling), 10),
    "total_variance": LayerColumn("T", lambda s: text.number(s.total_variance)),
    "share_of_whole": LayerColumn("of the whole", lambda s: text.share(s.share_of_whole), 4),
    "method": LayerColumn("method", text.method, 1, left=True),
    "proof": LayerColumn("proof", lambda s: s.proof, left=True),
    "passes": LayerColumn("passes", lambda s: text.count(s.passes), 7),
    "seconds": LayerColumn("seconds", lambda s: text.seconds(s.seconds), 8),
    "peak_bytes": LayerColumn("peak", lambda s: text.size(s.peak_bytes), 9),
}

_OF_THRESHOLD: Mapping[str, ThresholdColumn] = {
    "components": ThresholdColumn("K{tau}", lambda s, tau, _: text.interval(s.components(tau))),
    "random": ThresholdColumn("K{tau} random", _random),
    "estimate": ThresholdColumn("K{tau} at ∞", lambda s, tau, _: text.estimate(s, tau), 3),
    "spread": ThresholdColumn(
        "spread{tau}",
        lambda s, tau, _: "constant" if s.total_variance <= 0 else text.percent(s.spread(tau)),
    ),
    "share": ThresholdColumn("K{tau} of K at most", lambda s, tau, _: text.filled(s, tau), 6),
}


def column_names() -> list[str]:
    """What ``--columns`` takes."""
    return [*_OF_LAYER, *_OF_THRESHOLD, *metric_names()]


def check_columns(names: Sequence[str], known: Iterable[str] | None = None) -> None:
    """Raise OptionError for a name that is not among the ``known`` ones (None: :func:`column_names`)."""
    known = column_names() if known is None else list(known)
    for name in names:
        if name not in known:
            raise OptionError(f"no column {name!r}: --columns takes {', '.join(known)}")
    if not names:
        raise OptionError(f"no column given: --columns takes {', '.join(known)}")


def print_spectra(
    spectra: Spectra, output: Output, columns: Sequence[str] | None = None, said: Collection[str] = ()
) -> None:
    """Title and notes, one row per layer, then the intervals that are not closed and how to close them, and
    how long it took.

    Args:
        columns: names of columns, in place of the usual ones. ``said``: notes that the reader has seen.

    On a terminal that is too narrow the least needed columns are left out, and if that is not enough each
    threshold gets a row of its own; a number is never cut. In a pipe every column is there, however wide.
    """
    provenance, twin = spectra.provenance, spectra.twin
    print_line(output, provenance.get("title") or f"{len(spectra)} layers", style="bold")
    for note in provenance.get("notes", ()):
        if note not in said:
            print_line(output, f"note: {note}")
    if not spectra:
        print_line(output, "no layers")
        return
    content = TableInput(list(spectra.values()), spectra.thresholds, twin)
    called = provenance.get("samples_are", IMAGES)
    if content.has_estimates:
        print_line(output, f"K at ∞: of infinitely many {called} (estimated, not proved)")
    if twin is not None:
        print_line(output, f"K random: of the same network with fresh weights, over the same {called}")
        for note in twin.provenance.get("notes", ()):
            if note not in provenance.get("notes", ()):
                print_line(output, f"note: {note}")
    layouts = [_wide(content) if columns is None else _selected(content, columns)]
    if len(content.thresholds) > 1 and columns is None:
        layouts.append(_long(content))
    print_widest_that_fits(output, layouts)
    for line in _lines_below(content, provenance, called):
        print_line(output, line)
    classes = classes_table(content.layers, content.thresholds, texts_in("en"))
    if classes.columns:
        print_line(output, "")
        print_table(output, classes)
    if (took := _took(spectra)) is not None:
        print_line(output, took)


def _took(spectra: Spectra) -> str | None:
    """How long all of it took, and the layers' part of that; None of a result that does not say it."""
    parts = [spectra] if spectra.twin is None else [spectra, spectra.twin]
    taken = [one for part in parts if isinstance(one := part.provenance.get("seconds"), (int, float))]
    if len(taken) < len(parts):
        return None
    total = sum(taken)
    layers = sum(s.seconds for part in parts for s in part.values() if not math.isnan(s.seconds))
    # What a run did before it was resumed is not in the total.
    of_layers = f", {_about(layers)} of it for sums and spectra" if layers <= total else ""
    return f"took {_about(total)}{of_layers}"


def _about(seconds: float) -> str:
    return text.duration(seconds) if seconds >= 10 else f"{seconds:.1f} s"


def of_layer(name: str, layers: Sequence[LayerSpectrum]) -> Column:
    """The column of that name, or of the metric of that name."""
    kind = _OF_LAYER.get(name) or LayerColumn(
        name.replace("_", " "), lambda layer: text.metric(name, metrics_of(layer)[name]), 5
    )
    return Column(kind.header, [kind.cell(layer) for layer in layers], kind.priority, kind.left)


def _of_threshold(name: str, content: TableInput, tau: float, written: str) -> Column:
    """The column of that name; ``written``: what its header says of the threshold."""
    kind = _OF_THRESHOLD[name]
    cells = [kind.cell(layer, tau, content.twin) for layer in content.layers]
    return Column(kind.header.format(tau=written), cells, kind.priority)


def _selected(content: TableInput, names: Sequence[str]) -> list[Column]:
    """The columns of these names; of those that depend on it, one for each threshold."""
    check_columns(names)
    pairs = list(zip(content.thresholds, text.fractions(content.thresholds), strict=True))
    columns = []
    for name in names:
        if name in _OF_THRESHOLD:
            columns += [_of_threshold(name, content, tau, f"({written})") for tau, written in pairs]
        else:
            columns.append(of_layer(name, content.layers))
    return [replace(column, priority=0) for column in columns]


def _at_threshold(content: TableInput, tau: float, of_k: str, of_share: str) -> list[Column]:
    """What is shown at a threshold. ``of_k``, ``of_share``: what headers of K and of shares say of it."""
    names = ["components"]
    names += ["random"] if content.twin is not None else []
    names += ["estimate"] if content.has_estimates else []
    columns = [_of_threshold(name, content, tau, of_k) for name in names]
    return columns + [_of_threshold(name, content, tau, of_share) for name in ("spread", "share")]


def _wide(content: TableInput) -> list[Column]:
    """A row per layer, K and spread of every threshold beside each other."""
    columns = []
    for tau, written in zip(content.thresholds, text.fractions(content.thresholds), strict=True):
        of_share = f"({written})" if len(content.thresholds) > 1 else ""
        columns += _at_threshold(content, tau, f"({written})", of_share)
    return _around(content.layers, columns)


def _long(content: TableInput) -> list[Column]:
    """A row per layer and threshold; the first row of a layer has what holds for all of them."""
    repeats = len(content.thresholds)
    columns = [Column("τ", text.fractions(content.thresholds) * len(content.layers))]
    for by_tau in zip(*(_at_threshold(content, tau, "(τ)", "") for tau in content.thresholds), strict=True):
        cells = [cell for row in zip(*(one.cells for one in by_tau), strict=True) for cell in row]
        columns.append(Column(by_tau[0].header, cells, by_tau[0].priority))
    spaced = []
    for column in _around(content.layers, columns):
        if column not in columns:
            cells = [cell if index == 0 else "" for cell in column.cells for index in range(repeats)]
            column = replace(column, cells=cells)
        spaced.append(column)
    return spaced


def _around(layers: Sequence[LayerSpectrum], columns: list[Column]) -> list[Column]:
    """These columns between what identifies a layer and how it was summed."""
    first = ("layer", "shape", "dim", "samples", "ceiling")
    last: tuple[str, ...] = ("participation_ratio", "method", "passes", "seconds", "peak_bytes")
    if not all(math.isnan(layer.share_of_whole) for layer in layers):
        last = ("share_of_whole", *last)
    return [
        *(of_layer(name, layers) for name in first),
        *columns,
        *(of_layer(name, layers) for name in last),
    ]


def _lines_below(content: TableInput, provenance: Mapping[str, Any], called: str) -> Iterator[str]:
    """Which layers are constant, limited by the number of samples, without an estimate or a participation
    ratio, and how certain K is, a line each."""
    layers, thresholds = content.layers, content.thresholds
    everyone = [layer.layer for layer in layers]
    if constant := [layer.layer for layer in layers if layer.total_variance <= 0]:
        each, names = called.removesuffix("s"), text.listed(constant, everyone)
        yield f"constant (the same for every {each}, so no component is needed): {names}"
    texts = texts_in("en", called)
    yield from limited_line({"": layers}, thresholds, texts)
    if content.has_estimates:
        yield from _missing_estimates(layers, thresholds)
    sketched = [s for s in layers if s.method == "sketch" and s.total_variance > 0]
    if without := [s.layer for s in sketched if math.isnan(s.participation_ratio)]:
        names = text.listed(without, everyone)
        yield f"no participation ratio: {names} (sketch): --method gram or covariance gives it"
    yield closed_line({"": layers}, thresholds, texts)
    still_open = [s for s in layers if not all(s.components(tau).closed for tau in thresholds)]
    if still_open:
        # A result can be shown at other thresholds than those that it was run for.
        options = provenance.get("options") or {}
        run_for = options.get("thresholds", ())
        others = any(
            not s.components(tau).closed and tau not in run_for for s in still_open for tau in thresholds
        )
        ways = _how_to_close(still_open, options.get("proof", True), others)
        yield f"to close it: run {ways}"


def limited_line(
    runs: Mapping[str, Sequence[LayerSpectrum]], thresholds: Sequence[float], texts: Texts
) -> Iterator[str]:
    """Where more samples would give more components, as a line, if there are such layers; ``runs``: the
    layers by the names of their runs."""
    where = _where(runs, thresholds, lambda layer, tau: layer.limited_by_samples(tau))
    if where:
        yield f"{texts['limited']}: {where}: {texts['limited_means']}"


def closed_line(
    runs: Mapping[str, Sequence[LayerSpectrum]], thresholds: Sequence[float], texts: Texts
) -> str:
    """That every K is one value, or where it is not."""
    where = _where(runs, thresholds, lambda layer, tau: not layer.components(tau).closed)
    if where:
        return texts["open"].format(where=where)
    counts = dict.fromkeys(text.count(layer.seen) for layers in runs.values() for layer in layers)
    return texts["closed"].format(images=" / ".join(counts))


def _where(
    runs: Mapping[str, Sequence[LayerSpectrum]],
    thresholds: Sequence[float],
    holds: Callable[[LayerSpectrum, float], bool],
) -> str:
    """The layers and thresholds for which something holds: no1: c1, c2 (τ = 0.7); c3 (τ = 0.7, 0.9)."""
    written = dict(zip(thresholds, text.fractions(thresholds), strict=True))
    found = []
    for run, layers in runs.items():
        groups: dict[str, list[str]] = {}
        for layer in layers:
            if taus := [written[tau] for tau in thresholds if holds(layer, tau)]:
                groups.setdefault(", ".join(taus), []).append(layer.layer)
        everyone = [layer.layer for layer in layers]
        where = "; ".join(f"{text.listed(names, everyone)} (τ = {taus})" for taus, names in groups.items())
        if where:
            found.append(f"{run}: {where}" if len(runs) > 1 else where)
    return "; ".join(found)


def _missing_estimates(layers: Sequence[LayerSpectrum], thresholds: Sequence[float]) -> Iterator[str]:
    """The layers without an estimate, and the thresholds at which no layer has one."""
    without = [s for s in layers if s.growth is None and s.total_variance > 0]
    if without:
        by = {s.method: [one.layer for one in without if one.method == s.method] for s in without}
        everyone = [s.layer for s in layers]
        names = "; ".join(f"{text.listed(names, everyone)} ({method})" for method, names in by.items())
        yield (
            f"no estimate at ∞: {names}: one is made of grams, and of covariances of few features, where it "
            "costs little"
        )
    known = {tau for s in layers if s.growth for tau in s.growth.thresholds}
    written = dict(zip(thresholds, text.fractions(thresholds), strict=True))
    if others := [written[tau] for tau in thresholds if tau not in known]:
        yield f"no estimate at ∞ at τ = {', '.join(others)}: run with these --thresholds"


def _how_to_close(layers: Sequence[LayerSpectrum], proof: bool, others: bool) -> str:
    """``proof``: whether one was allowed. ``others``: whether the run was for other thresholds."""
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
