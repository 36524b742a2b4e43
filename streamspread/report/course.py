"""Spread over a training as a table, a figure, and sentences that its numbers decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from streamspread.report import style
from streamspread.report.axes import legend, log_axis, panels
from streamspread.report.markdown import render
from streamspread.report.summary import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    return render(Table(header, rows, frozenset(range(len(header)))))


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


def draw(course: Course) -> Figure:
    """K(0.7) over steps, and the share of the variance between classes, a curve for each layer."""
    figure, (left, right) = panels(2, shared=False)
    names = list(course["looks"][0]["layers"])
    x = [look["step"] + 1 for look in course["looks"]]
    for name, look in zip(names, style.ordered_looks(len(names)), strict=True):
        drawn = {"color": look.color, "marker": look.marker, "linestyle": look.dash, "label": name}
        left.plot(x, [components(one, name) for one in course["looks"]], **drawn)
        between = [one["layers"][name]["between"] for one in course["looks"]]
        right.plot(x, [100 * one for one in between], **drawn)
    log_axis(left, "y")
    for axes in (left, right):
        log_axis(axes, "x")
        axes.set_xlabel("steps taken, and one")
    left.set_ylabel("K(0.7)")
    right.set_ylabel("variance between classes, %")
    legend(figure, [left])
    figure.suptitle(f"{course['model']} while it trains", fontsize=11)
    return figure


def _written(ends: Sequence[int]) -> str:
    low, high = ends
    return f"{low:,}" if low == high else f"{low:,} … {high:,}"
