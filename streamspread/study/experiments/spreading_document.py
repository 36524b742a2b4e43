"""What the experiment on training that spreads came to: a table, a figure, and what can be said of it.

All of it is made from what each training measured; which way it came out decides the sentences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from streamspread.reports.chart import PERCENT, Spec, log_axis, quantity, series
from streamspread.reports.table import Table, markdown
from streamspread.study.experiments.records import (
    MeanOverSeeds,
    Record,
    bullets,
    components,
    convolutions,
    how_trained,
    share,
)

WITHOUT = "without"


def document(records: Sequence[Record]) -> list[str]:
    """The Markdown on trainings without and with the term, as blocks."""
    title = f"# Training that spreads: {records[0]['made']['model']}"
    return [title, how_trained(records), table(records), shares(records), bullets(sentences(records))]


def grouped(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Trainings by how they were made, in the order in which they are there; by kind and weight where kinds
    are compared, of which all else is the same."""
    by_kind, groups = _are_kinds(records), dict[str, list[Record]]()
    for record in records:
        name = record["setting"]
        if by_kind and name != WITHOUT:
            name = f"{record['kind']}, {record['weight']:g}"
        groups.setdefault(name, []).append(record)
    return groups


def _are_kinds(records: Sequence[Record]) -> bool:
    return len({record.get("kind") for record in records if record["setting"] != WITHOUT}) > 1


def _differ_by(records: Sequence[Record], weight: str = ", weight") -> str:
    """What tells groups apart. ``weight``: "" where kinds go without theirs, as in a legend."""
    return f"kind{weight}" if _are_kinds(records) else "layers, weight, target"


def table(records: Sequence[Record]) -> str:
    """All that was measured but K by layer, as Markdown: means and deviations over seeds."""
    last = convolutions(records[0])[-1]

    def of_training(key: str) -> Callable[[Record], float]:
        return lambda record: float(record[key])

    def of_last(key: str) -> Callable[[Record], float]:
        return lambda record: float(record["layers"][last][key])

    columns: list[tuple[str, Callable[[Record], float], int, float]] = [
        (f"K(0.7) at {last}", lambda record: components(record, last), 0, 1),
        ("test accuracy, %", of_training("accuracy"), 1, 100),
        ("with noise, %", of_training("noisy_accuracy"), 1, 100),
        ("training loss", of_training("train_loss"), 3, 1),
        ("test loss", of_training("test_loss"), 3, 1),
        (f"variance by noise at {last}, %", of_last("noise"), 1, 100),
        (f"R² of the image from {last}", of_last("image"), 3, 1),
        (f"linear probe on {last}, %", of_last("probe"), 1, 100),
        (f"spatial means' share of {last}, %", of_last("mean"), 1, 100),
        (f"variance between classes at {last}, %", of_last("between"), 1, 100),
        ("ms a step", lambda record: 1000 * record["seconds"] / record["steps"], 0, 1),
    ]
    rows = [
        [variant, str(len(group)), *(MeanOverSeeds.of(group, get).text(n, by) for _, get, n, by in columns)]
        for variant, group in grouped(records).items()
    ]
    return markdown(Table.of_rows([_differ_by(records), "seeds", *(name for name, *_ in columns)], rows))


def shares(records: Sequence[Record]) -> str:
    """K(0.7) and K(0.7)/D by layer, as Markdown; the least low and the largest high where one is open."""
    names = list(records[0]["layers"])
    rows = []
    for variant, group in grouped(records).items():
        cells = []
        for name in names:
            lows, highs = zip(*(record["layers"][name]["components"] for record in group), strict=True)
            k = MeanOverSeeds.of(group, lambda record, name=name: components(record, name))  # type: ignore[misc]
            ends = f", {min(lows)} … {max(highs)}" if lows != highs else ""
            cells.append(f"{k.text(0)} ({k.mean / group[0]['layers'][name]['dim']:.2%}{ends})")
        rows.append([variant, *cells])
    return markdown(Table.of_rows([_differ_by(records), *names], rows))


def sentences(records: Sequence[Record]) -> list[str]:
    """What was found, a sentence for each way to train with the term: spread, accuracy, signal or noise."""
    groups = grouped(records)
    plain = groups.pop(WITHOUT)
    *_, before, last = convolutions(plain[0])

    def k(group: Sequence[Record]) -> float:
        return MeanOverSeeds.of(group, lambda record: components(record, last)).mean

    def step(group: Sequence[Record]) -> float:
        return MeanOverSeeds.of(group, lambda record: share(record, last) / share(record, before)).mean

    def accuracy(record: Record) -> float:
        return float(record["accuracy"])

    lines = [
        f"Without the term, K(0.7)/D changes from {before} to {last} by a factor of {step(plain):.2f}, "
        f"at a test accuracy of {MeanOverSeeds.of(plain, accuracy).text(1, 100)} %."
    ]
    for variant, group in groups.items():
        changes = [
            _changed("test accuracy", plain, group, accuracy, points=True),
            _changed("noise's share", plain, group, lambda one: one["layers"][last]["noise"], points=True),
            _changed("R² of the image", plain, group, lambda one: one["layers"][last]["image"]),
        ]
        lines.append(
            f"{variant}: K(0.7) at {last} is {k(group) / k(plain):.2f} times that without "
            f"({step(group):.2f} times the share at {before}); {'; '.join(changes)}."
        )
    return lines


def _changed(
    what: str,
    plain: Sequence[Record],
    group: Sequence[Record],
    number: Callable[[Record], float],
    points: bool = False,
) -> str:
    """Whether a number differs by more than chance: Student's t at 95 %. ``points``: it is said in points of
    per cent."""
    from scipy.stats import t

    factor, decimals, unit = (100, 1, " points") if points else (1, 2, "")
    a, b = MeanOverSeeds.of(plain, number), MeanOverSeeds.of(group, number)
    by = factor * (b.mean - a.mean)
    error = factor * math.sqrt(a.deviation**2 / a.count + b.deviation**2 / b.count)
    change = f"{by:+.{decimals}f}{unit}"
    if math.isnan(error):
        return f"{what} {change}, of one seed"
    change += f" (standard error {error:.{decimals}f})"
    if abs(by) <= t.ppf(0.975, a.count + b.count - 2) * error:
        return f"{what} unchanged within its error, {change}"
    return f"{what} {'higher' if by > 0 else 'lower'}, {change}"


def draw(records: Sequence[Record]) -> Spec:
    """K(0.7)/D by layer, and test accuracy over K(0.7) at the last convolution, as Vega-Lite describes them:
    means, and bars from the least to the most of all seeds."""
    names = convolutions(records[0])
    by_layer, by_training = [], []
    for variant, group in grouped(records).items():
        # A legend has room for no more.
        facts = {"setting": variant.partition(", ")[0] if _are_kinds(records) else variant}
        for record in group:
            by_layer += [facts | {"key": name, "share": share(record, name)} for name in names]
            by_training.append(facts | {"k": components(record, names[-1]), "accuracy": record["accuracy"]})
    layer = {"field": "key", "type": "nominal", "sort": None, "title": "layer", "axis": {"labelAngle": 0}}
    accuracy = quantity("test accuracy", scale={"zero": False}, axis={"labelExpr": PERCENT})
    shares = {"field": "share", **log_axis("K(0.7)/D", PERCENT, tight=True)}
    k = {"field": "k", **log_axis(f"K(0.7) at {names[-1]}", tight=True)}
    y = {"field": "accuracy", **accuracy}
    line, point = {"type": "line", "point": True}, {"type": "point", "filled": True}
    x_mean, y_mean = k | {"aggregate": "mean"}, y | {"aggregate": "mean"}
    left = [
        _panel(line, x=layer, y=shares | {"aggregate": "mean"}),
        _panel("rule", x=layer, **_ends("y", shares)),
    ]
    right = [
        _panel(point, x=x_mean, y=y_mean),
        _panel("rule", x=x_mean, **_ends("y", y)),
        _panel("rule", y=y_mean, **_ends("x", k)),
    ]
    return {
        "title": f"The same network without and with the term, by {_differ_by(records, '')}",
        "params": [{"name": "now_columns", "value": 3}],
        "hconcat": [
            {"width": 360, "height": 260, "data": {"values": by_layer}, "layer": left},
            {"width": 300, "height": 260, "data": {"values": by_training}, "layer": right},
        ],
    }


def _panel(mark: Any, **encoding: Any) -> Spec:
    return {"mark": mark, "encoding": {**encoding, "color": series("setting")}}


def _ends(axis: str, of: Spec) -> Spec:
    """From the least to the most."""
    return {axis: of | {"aggregate": "min"}, f"{axis}2": {"field": of["field"], "aggregate": "max"}}
