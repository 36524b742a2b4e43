"""The experiment on depth: networks of more and fewer convolutions, trained until they are about as accurate.

Deeper networks without shortcuts learn more slowly, so after equal epochs a comparison of their layers would
be one of more and less trained ones. The share of each layer becomes a table, a figure and sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import mean
from typing import Any

from streamspread.reports.chart import PERCENT, Spec, log_axis
from streamspread.reports.table import Table, markdown
from streamspread.study.experiments.records import (
    MeanOverSeeds,
    Record,
    bullets,
    components,
    convolutions,
    how_trained,
    share,
    two_panels,
)
from streamspread.study.steps import NARROW

REFERENCE = 6  # convolutions: no2's number, whose accuracy is that to be reached
LONGER = (1, 1.5, 2, 3)  # times the reference's epochs: the lengths that are tried, until one is enough
NEAR = 0.01  # of accuracy, below the reference's mean, is about as accurate


def comparable(
    train: Callable[[int, int, int], dict[str, Any]], epochs: int, seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Train the networks of :data:`NARROW`: the reference with all seeds first; then of each depth the first
    seed for longer and longer, until it is about as accurate, and the other seeds for as long as that.

    Args:
        train: gives what was measured of a training, by number of convolutions, epochs and seed.
        epochs: of the reference. ``seeds``: one or more.

    Yields:
        What was measured of each training, also of those that were too short.
    """
    reference = []
    for seed in seeds:
        reference.append(train(REFERENCE, epochs, seed))
        yield reference[-1]
    wanted = mean(record["accuracy"] for record in reference) - NEAR
    first, *others = seeds
    for depth in NARROW:
        if depth == REFERENCE:
            continue
        for length in dict.fromkeys(round(times * epochs) for times in LONGER):
            yield (record := train(depth, length, first))
            if record["accuracy"] >= wanted:
                break
        for seed in others:
            yield train(depth, length, seed)


def document(records: Sequence[Record]) -> list[str]:
    """The Markdown on networks of several depths, as blocks."""
    title = "# Networks of other depths, trained to comparable accuracy"
    length = how_trained(records, "as many epochs as the table says")
    return [title, length, table(records), bullets([*sentences(records), *shorter(records)])]


def _by_depth(records: Sequence[Record]) -> dict[int, dict[int, list[Record]]]:
    """Trainings by the number of their convolutions and by their epochs, both from few to many."""
    depths: dict[int, dict[int, list[Record]]] = {}
    for record in sorted(records, key=lambda one: (len(convolutions(one)), one["made"]["epochs"])):
        lengths = depths.setdefault(len(convolutions(record)), {})
        lengths.setdefault(record["made"]["epochs"], []).append(record)
    return depths


def _longest(records: Sequence[Record]) -> dict[int, list[Record]]:
    return {depth: list(lengths.values())[-1] for depth, lengths in _by_depth(records).items()}


def table(records: Sequence[Record]) -> str:
    """Epochs, accuracy, and K(0.7) with K(0.7)/D of every layer, as Markdown; a row for each layer's
    number."""
    depths = _longest(records)
    columns: list[list[str]] = []
    for depth, group in depths.items():
        cells = [f"{depth} convolutions", str(group[0]["made"]["epochs"]), str(len(group)), _accuracy(group)]
        for name in convolutions(group[0]):
            k = MeanOverSeeds.of(group, lambda record, name=name: components(record, name))  # type: ignore[misc]
            cells.append(f"{k.text(0)} ({k.mean / group[0]['layers'][name]['dim']:.2%})")
        columns.append(cells + [""] * (max(depths) - depth))
    names = ["", "epochs", "seeds", "test accuracy", *(f"c{number + 1}" for number in range(max(depths)))]
    header, *rows = zip(names, *columns, strict=True)
    return markdown(Table.of_rows(header, rows))


def _accuracy(group: Sequence[Record]) -> str:
    return MeanOverSeeds.of(group, lambda record: record["accuracy"]).text(1, 100) + " %"


def shorter(records: Sequence[Record]) -> list[str]:
    """What came of trainings that were too short: accuracy, and K/D of the last convolution, a sentence for
    each depth that has some."""
    lines = []
    for depth, lengths in _by_depth(records).items():
        *before, last = lengths
        end = f"({_accuracy(lengths[last])} and {_shares(lengths[last])[-1]:.2%} after {last})"
        lines += [
            f"{depth} convolutions after {epochs} epochs: {_accuracy(lengths[epochs])}, and "
            f"{_shares(lengths[epochs])[-1]:.2%} at the last {end}."
            for epochs in before
        ]
    return lines


def _shares(group: Sequence[Record]) -> list[float]:
    """The mean share K/D of each convolution."""
    return [mean(share(record, name) for record in group) for name in convolutions(group[0])]


def sentences(records: Sequence[Record]) -> list[str]:
    """For each depth, in how many steps the share grows, where it is highest, and where it falls."""
    lines = []
    for depth, group in _longest(records).items():
        shares, steps = _shares(group), range(1, depth)
        falls = [f"c{i} → c{i + 1}" for i in steps if shares[i] < shares[i - 1]]
        top, where = shares.index(max(shares)), f"at {', '.join(falls)}" if falls else "nowhere"
        lines.append(
            f"{depth} convolutions: the share grows in {len(steps) - len(falls)} of {len(steps)} steps from "
            f"layer to layer and falls {where}; it is highest at "
            f"c{top + 1} ({shares[top]:.2%}) and {shares[-1]:.2%} at the last."
        )
    return lines


def draw(records: Sequence[Record]) -> Spec:
    """K(0.7)/D over the layer's number, and over its place between the first and the last."""
    rows = [
        {"key": depth, "convolution": number + 1, "place": number / max(1, depth - 1), "share": of_layer}
        for depth, group in _longest(records).items()
        for number, of_layer in enumerate(_shares(group))
    ]
    y = {"field": "share", **log_axis("K(0.7)/D", PERCENT, tight=True)}
    number: Spec = {"field": "convolution", "title": "convolution", "axis": {"tickMinStep": 1}}
    place: Spec = {"field": "place", "title": "place, from the first (0) to the last (1)"}
    panels = [{"x": {"type": "quantitative", **x}, "y": y} for x in (number, place)]
    title = "Networks of other depths, about as accurate, by their number of convolutions"
    return two_panels(title, rows, panels)
