"""The experiment on depth: networks of more and fewer convolutions, trained until they are about as accurate.

Deeper networks without shortcuts learn more slowly, so after equal epochs a comparison of their layers would
be one of more and less trained ones. The share of each layer becomes a table, a figure and sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import mean
from typing import Any

from streamspread.reports.chart import PERCENT, Spec, log_axis, ordered
from streamspread.reports.table import Table, markdown
from streamspread.study.experiments.records import Record, Several, components, convolutions, share
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
    wanted = mean(one["accuracy"] for one in reference) - NEAR
    first, *others = seeds
    for depth in NARROW:
        if depth == REFERENCE:
            continue
        length = epochs
        for length in dict.fromkeys(round(times * epochs) for times in LONGER):
            yield (found := train(depth, length, first))
            if found["accuracy"] >= wanted:
                break
        for seed in others:
            yield train(depth, length, seed)


def by_depth(records: Sequence[Record]) -> dict[int, list[Record]]:
    """The longest trainings by the number of their convolutions, from few to many."""
    return {depth: list(lengths.values())[-1] for depth, lengths in _tried(records).items()}


def _tried(records: Sequence[Record]) -> dict[int, dict[int, list[Record]]]:
    """Trainings by the number of their convolutions and by their epochs, both from few to many."""
    depths: dict[int, dict[int, list[Record]]] = {}
    for record in sorted(records, key=lambda one: (len(convolutions(one)), one["made"]["epochs"])):
        lengths = depths.setdefault(len(convolutions(record)), {})
        lengths.setdefault(record["made"]["epochs"], []).append(record)
    return depths


def table(records: Sequence[Record]) -> str:
    """Epochs, accuracy, and K(0.7) with K(0.7)/D of every layer, as Markdown; a row for each layer's
    number."""
    depths = by_depth(records)
    rows: list[list[str]] = [["epochs"], ["seeds"], ["test accuracy"]]
    for group in depths.values():
        rows[0].append(str(group[0]["made"]["epochs"]))
        rows[1].append(str(len(group)))
        rows[2].append(_accuracy(group))
    for number in range(max(depths)):
        cells = []
        for depth, group in depths.items():
            if number >= depth:
                cells.append("")
                continue
            name = convolutions(group[0])[number]
            k = Several.of([components(one, name) for one in group])
            cells.append(f"{k.text(0)} ({k.mean / group[0]['layers'][name]['dim']:.2%})")
        rows.append([f"c{number + 1}", *cells])
    header = ["", *(f"{depth} convolutions" for depth in depths)]
    return markdown(Table.of_rows(header, rows))


def _accuracy(group: Sequence[Record]) -> str:
    return Several.of([one["accuracy"] for one in group]).text(1, 100) + " %"


def shorter(records: Sequence[Record]) -> list[str]:
    """What came of trainings that were too short: accuracy, and K/D of the last convolution, a sentence for
    each depth that has some."""
    lines = []
    for depth, lengths in _tried(records).items():
        *before, last = lengths
        for epochs in before:
            here, there = lengths[epochs], lengths[last]
            lines.append(
                f"{depth} convolutions after {epochs} epochs: {_accuracy(here)}, and {shares(here)[-1]:.2%} "
                f"at the last ({_accuracy(there)} and {shares(there)[-1]:.2%} after {last})."
            )
    return lines


def shares(group: Sequence[Record]) -> list[float]:
    """The mean share K/D of each convolution."""
    return [Several.of([share(one, name) for one in group]).mean for name in convolutions(group[0])]


def found(records: Sequence[Record]) -> list[str]:
    """For each depth, in how many steps the share grows, where it is highest, and where it falls."""
    return [_told(depth, shares(group)) for depth, group in by_depth(records).items()]


def _told(depth: int, shares: Sequence[float]) -> str:
    steps = range(1, depth)
    falls = [f"c{i} → c{i + 1}" for i in steps if shares[i] < shares[i - 1]]
    top = shares.index(max(shares))
    grows = f"the share grows in {len(steps) - len(falls)} of {len(steps)} steps from layer to layer"
    rest = f"falls at {', '.join(falls)}" if falls else "falls nowhere"
    return (
        f"{depth} convolutions: {grows} and {rest}; it is highest at c{top + 1} ({shares[top]:.2%}) and "
        f"{shares[-1]:.2%} at the last."
    )


def draw(records: Sequence[Record]) -> Spec:
    """K(0.7)/D over the layer's number, and over its place between the first and the last."""
    rows = []
    for depth, group in by_depth(records).items():
        for number, of_layer in enumerate(shares(group)):
            place = number / max(1, depth - 1)
            rows.append({"key": depth, "convolution": number + 1, "place": place, "share": of_layer})
    axes: dict[str, Spec] = {
        "convolution": {"title": "convolution", "axis": {"tickMinStep": 1}},
        "place": {"title": "place, from the first (0) to the last (1)"},
    }
    panels = [
        {
            "width": 320,
            "height": 240,
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": {"field": field, "type": "quantitative", **axis},
                "y": {"field": "share", **log_axis("K(0.7)/D", PERCENT, tight=True)},
                "color": ordered("key"),
            },
        }
        for field, axis in axes.items()
    ]
    return {
        "title": "Networks of other depths, about as accurate, by their number of convolutions",
        "params": [{"name": "now_columns", "value": 8}],
        "data": {"values": rows},
        "hconcat": panels,
    }
