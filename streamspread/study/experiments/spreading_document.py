"""What the experiment on training that spreads came to: a table, a figure, and what can be said of it.

All of it is made from what each training measured; which way it came out decides the sentences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from streamspread.reports.chart import PERCENT, Encoding, Spec, log_axis, series, with_encoding
from streamspread.reports.table import Table, markdown
from streamspread.study.experiments.records import (
    Record,
    Several,
    components,
    convolutions,
    difference,
    share,
)

WITHOUT = "without"
#: Standard errors from which on a difference is one: Student's t at 95 %, by degrees of freedom.
_STUDENT = {1: 12.7, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31}


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
    return len({one.get("kind") for one in records if one["setting"] != WITHOUT}) > 1


def _differ_by(records: Sequence[Record], weight: str = ", weight") -> str:
    """What tells groups apart. ``weight``: "" where kinds go without theirs, as in a legend."""
    return f"kind{weight}" if _are_kinds(records) else "layers, weight, target"


def table(records: Sequence[Record]) -> str:
    """All that was measured but K by layer, as Markdown: means and deviations over seeds."""
    last = convolutions(records[0])[-1]

    def of(key: str) -> Callable[[Record], float]:
        return lambda record: float(record["layers"][last][key])

    columns: list[tuple[str, Callable[[Record], float], int, float]] = [
        (f"K(0.7) at {last}", lambda record: components(record, last), 0, 1),
        ("test accuracy, %", lambda record: float(record["accuracy"]), 1, 100),
        ("with noise, %", lambda record: float(record["noisy_accuracy"]), 1, 100),
        ("training loss", lambda record: float(record["train_loss"]), 3, 1),
        ("test loss", lambda record: float(record["test_loss"]), 3, 1),
        (f"variance by noise at {last}, %", of("noise"), 1, 100),
        (f"R² of the image from {last}", of("image"), 3, 1),
        (f"linear probe on {last}, %", of("probe"), 1, 100),
        (f"spatial means' share of {last}, %", of("mean"), 1, 100),
        (f"variance between classes at {last}, %", of("between"), 1, 100),
        ("ms a step", lambda record: 1000 * record["seconds"] / record["steps"], 0, 1),
    ]
    rows = []
    for setting, group in grouped(records).items():
        cells = [Several.of([get(one) for one in group]).text(n, by) for _, get, n, by in columns]
        rows.append([setting, str(len(group)), *cells])
    header = [_differ_by(records), "seeds", *(name for name, *_ in columns)]
    return markdown(Table.of_rows(header, rows))


def shares(records: Sequence[Record]) -> str:
    """K(0.7) and K(0.7)/D by layer, as Markdown; the least low and the largest high where one is open."""
    names = list(records[0]["layers"])
    rows = []
    for setting, group in grouped(records).items():
        cells = []
        for name in names:
            found = [record["layers"][name] for record in group]
            k = Several.of([sum(one["components"]) / 2 for one in found])
            low = min(one["components"][0] for one in found)
            high = max(one["components"][1] for one in found)
            is_open = any(one["components"][0] < one["components"][1] for one in found)
            ends = f", {low} … {high}" if is_open else ""
            cells.append(f"{k.text(0)} ({k.mean / found[0]['dim']:.2%}{ends})")
        rows.append([setting, *cells])
    return markdown(Table.of_rows([_differ_by(records), *names], rows))


def found(records: Sequence[Record]) -> list[str]:
    """What was found, a sentence for each way to train with the term: spread, accuracy, signal or noise."""
    groups = grouped(records)
    plain = groups.pop(WITHOUT)
    *_, before, last = convolutions(plain[0])

    def several(group: Sequence[Record], get: Callable[[Record], float]) -> Several:
        return Several.of([get(one) for one in group])

    ratio = several(plain, lambda one: share(one, last) / share(one, before)).mean
    lines = [
        f"Without the term, K(0.7)/D changes from {before} to {last} by a factor of {ratio:.2f}, "
        f"at a test accuracy of {several(plain, lambda one: one['accuracy']).text(1, 100)} %."
    ]
    for setting, group in groups.items():
        rise = several(group, lambda one: components(one, last)).mean
        rise /= several(plain, lambda one: components(one, last)).mean
        step = several(group, lambda one: share(one, last) / share(one, before)).mean
        accuracy = _changed(plain, group, lambda one: one["accuracy"], "test accuracy", 100, " points")
        noise = _changed(
            plain, group, lambda one: one["layers"][last]["noise"], "noise's share", 100, " points"
        )
        image = _changed(plain, group, lambda one: one["layers"][last]["image"], "R² of the image", 1, "")
        lines.append(
            f"{setting}: K(0.7) at {last} is {rise:.2f} times that without ({step:.2f} times the share at "
            f"{before}); {accuracy}; {noise}; {image}."
        )
    return lines


def _changed(
    plain: Sequence[Record],
    group: Sequence[Record],
    get: Callable[[Record], float],
    what: str,
    factor: float,
    unit: str,
) -> str:
    by, error = difference(Several.of([get(one) for one in plain]), Several.of([get(one) for one in group]))
    decimals = 2 if factor == 1 else 1
    number = f"{factor * by:+.{decimals}f}{unit} (standard error {factor * error:.{decimals}f})"
    if math.isnan(error):
        return f"{what} {factor * by:+.{decimals}f}{unit}, of one seed"
    freedom = len(plain) + len(group) - 2
    if abs(by) <= _STUDENT[min(freedom, max(_STUDENT))] * error:
        return f"{what} unchanged within its error, {number}"
    return f"{what} {'higher' if by > 0 else 'lower'}, {number}"


def draw(records: Sequence[Record]) -> Spec:
    """K(0.7)/D by layer, and test accuracy over K(0.7) at the last convolution, as Vega-Lite describes them:
    means, deviations as bars."""
    names = convolutions(records[0])
    last, rows, ends = names[-1], [], []
    for setting, group in grouped(records).items():
        if _are_kinds(records):  # a legend has room for no more
            setting = setting.partition(", ")[0]
        for place, name in enumerate(names):
            by_layer = Several.of([share(one, name) for one in group])
            rows.append(_bar("y", by_layer) | {"setting": setting, "key": name, "place": place})
        k = Several.of([components(one, last) for one in group])
        accuracy = Several.of([one["accuracy"] for one in group])
        ends.append(_bar("x", k) | _bar("y", accuracy) | {"setting": setting})
    of_layer = {"field": "key", "type": "nominal", "sort": None, "title": "layer", "axis": {"labelAngle": 0}}
    accuracies = {"type": "quantitative", "title": "test accuracy", "scale": {"zero": False}}
    accuracies["axis"] = {"labelExpr": PERCENT}
    y = log_axis("K(0.7)/D", PERCENT, tight=True)
    left = with_encoding([_means("line", y), _errors("y", y)], x=of_layer, color=series("setting"))
    x = log_axis(f"K(0.7) at {last}", tight=True)
    right = [_means("point", accuracies), _errors("y", accuracies), _errors("x", x)]
    for layer in right:
        layer["encoding"] = {"x": {"field": "x", **x}, "y": {"field": "y", **accuracies}} | layer["encoding"]
    return {
        "title": f"The same network without and with the term, by {_differ_by(records, '')}",
        "params": [{"name": "now_columns", "value": 3}],
        "hconcat": [
            {"width": 360, "height": 260, "data": {"values": rows}, "layer": left},
            {
                "width": 300,
                "height": 260,
                "data": {"values": ends},
                "layer": with_encoding(right, color=series("setting")),
            },
        ],
    }


def _bar(axis: str, of: Several) -> dict[str, Any]:
    """A mean, and a deviation below and above; a mean alone of one seed."""
    by = 0 if math.isnan(of.deviation) else of.deviation
    # A logarithmic axis has no place for what is not above nought.
    return {axis: of.mean, f"{axis}_low": max(of.mean - by, of.mean / 100), f"{axis}_high": of.mean + by}


def _means(mark: str, y: Encoding) -> Spec:
    shown = {"type": mark, "filled": mark == "point"} | ({"point": True} if mark == "line" else {})
    return {"mark": shown, "encoding": {"y": {"field": "y", **y}}}


def _errors(axis: str, of: Encoding) -> Spec:
    ends = {axis: {"field": f"{axis}_low", **of}, f"{axis}2": {"field": f"{axis}_high"}}
    return {"mark": {"type": "rule", "strokeWidth": 1.5}, "encoding": ends}
