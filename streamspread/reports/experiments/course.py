"""Spread over a training as a table, a figure, and sentences that its numbers decide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from streamspread.reports.chart import PERCENT, Spec, log_axis, ordered
from streamspread.reports.table import Table, markdown

Course = Mapping[str, Any]


def table(course: Course) -> str:
    """K(0.7) of each layer at each look, and the accuracy on the test images looked at, as Markdown."""
    names = list(course["looks"][0]["layers"])
    rows = []
    for look in course["looks"]:
        ks = [_written(look["layers"][name]["components"]) for name in names]
        epochs = look["step"] / course["steps_per_epoch"]
        rows.append([str(look["step"]), f"{epochs:.2f}", *ks, f"{look['test']['accuracy']:.1%}"])
    header = ["steps", "epochs", *names, "test accuracy"]
    return markdown(Table.of_rows(header, rows, words=()))


def found(course: Course) -> list[str]:
    """Where each layer's K was highest, what became of it, and when the last convolution fell below the one
    before it."""
    looks, steps = course["looks"], [look["step"] for look in course["looks"]]
    names = [name for name in looks[0]["layers"] if name != "gap"]
    lines = []
    for name in names:
        ks = [components(look, name) for look in looks]
        top = ks.index(max(ks))
        lines.append(
            f"{name}: K(0.7) is {ks[0]:,.0f} before the first step, highest after step {steps[top]:,} "
            f"({ks[top]:,.0f}) and {ks[-1]:,.0f} at the end; lowest {min(ks):,.0f} after step "
            f"{steps[ks.index(min(ks))]:,}."
        )
    *_, before, last = names
    below = [share(look, last) < share(look, before) for look in looks]
    start = next((i for i in range(len(looks)) if all(below[i:])), None)
    if start is None:
        lines.append(f"At the end {last} spreads over no smaller share than {before}.")
    else:
        when = f"after step {steps[start]:,}" if start else "before the first step"
        lines.append(f"{last} spreads over a smaller share than {before} {when}, and from there to the end.")
    return lines


def components(look: Mapping[str, Any], name: str) -> float:
    """K, the middle of its interval."""
    return float(sum(look["layers"][name]["components"])) / 2


def share(look: Mapping[str, Any], name: str) -> float:
    """K/D."""
    return components(look, name) / float(look["layers"][name]["dim"])


def draw(course: Course) -> Spec:
    """K(0.7) over steps, and the share of the variance between classes, a curve for each layer."""
    rows = [
        {
            "key": name,
            "step": look["step"] + 1,
            "k": components(look, name),
            "between": None if math.isnan(between := look["layers"][name]["between"]) else between,
        }
        for look in course["looks"]
        for name in look["layers"]
    ]
    x = {"field": "step", **log_axis("steps taken, and one", tight=True)}
    heights = {
        "k": log_axis("K(0.7)", tight=True),
        "between": {
            "type": "quantitative",
            "title": "variance between classes",
            "axis": {"labelExpr": PERCENT},
        },
    }
    panels = [
        {
            "width": 320,
            "height": 240,
            "mark": {"type": "line", "point": True},
            "encoding": {"x": x, "y": {"field": field, **axis}, "color": ordered("key")},
        }
        for field, axis in heights.items()
    ]
    return {
        "title": f"{course['model']} while it trains",
        "params": [{"name": "now_columns", "value": 8}],
        "data": {"values": rows},
        "hconcat": panels,
    }


def _written(ends: Sequence[int]) -> str:
    low, high = ends
    return f"{low:,}" if low == high else f"{low:,} … {high:,}"
