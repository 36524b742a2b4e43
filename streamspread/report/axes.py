"""The parts that figures share: panels, curves, bars, axes, legends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import numpy as np

from streamspread.report import text
from streamspread.report.claims import EARLY_SHARE
from streamspread.report.runs import Run, layer_names
from streamspread.report.style import Look, ordered_looks
from streamspread.results.spectrum import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = Sequence[float] | np.ndarray

_HANDLE_WIDTH, _CHARACTER_WIDTH, _ROW_HEIGHT = 0.65, 0.085, 0.19  # inches, of an entry in a legend
_SEEN = 0.01  # between two bounds, relative: less is not seen in a figure
_BAR, _EDGE = 3.5, 0.7  # points: the width of an interval's bar, and of the edges of a band
_LABEL_GAP = 0.055  # between two labels, as a share of an axes' height
_MOST_LEVEL = 12  # layers; with more, their names have no room beside each other


def single(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one axes, in inches."""
    from matplotlib.figure import Figure  # not pyplot: nothing global, and no display is looked for

    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def panels(count: int, shared: bool = True) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` axes, at most two beside each other; ``shared``: of one height scale."""
    from matplotlib.figure import Figure

    columns = min(count, 2)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.6 * columns if columns > 1 else 6.4, 0.9 + 3.3 * rows))
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=shared).flat)
    for spare in grid[count:]:
        figure.delaxes(spare)
    return figure, grid[:count]


def outer_labels(grid: Sequence[Axes]) -> None:
    """Leave the label of the height to the leftmost panels."""
    for axes in grid:
        spec = axes.get_subplotspec()
        if spec is not None and not spec.is_first_col():
            axes.set_ylabel("")


def legend(figure: Figure, grid: Sequence[Axes]) -> None:
    """One legend for all panels, under them."""
    handles: dict[str, Any] = {}
    for axes in grid:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    legend_below(figure, list(handles.values()), list(handles))


def finish_panels(figure: Figure, grid: Sequence[Axes], title: str) -> Figure:
    """Title, legend and outer labels of a figure of panels."""
    outer_labels(grid)
    legend(figure, grid)
    figure.suptitle(title, fontsize=11)
    return figure


def looks_by_layer(runs: Iterable[Run]) -> dict[str, Look]:
    """One look for every layer, the same in all panels of a figure."""
    names = layer_names(run.layers() for run in runs)
    return dict(zip(names, ordered_looks(len(names)), strict=True))


def legend_below(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """A legend under everything, in as many columns as fit; the figure grows higher with its rows."""
    width = _HANDLE_WIDTH + _CHARACTER_WIDTH * max(map(_characters, names), default=0)
    columns = max(1, min(len(names), int(figure.get_figwidth() / width)))
    rows = -(-len(names) // columns)
    figure.set_figheight(figure.get_figheight() + _ROW_HEIGHT * max(0, rows - 1))
    figure.legend(handles, names, loc="outside lower center", ncols=columns)


def _characters(text: str) -> int:
    """The width of the text in Latin characters; a Japanese one is as wide as two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def line(axes: Axes, x: Numbers, y: Numbers, look: Look, label: str) -> None:
    """A curve with a marker at every point."""
    axes.plot(x, y, color=look.color, marker=look.marker, linestyle=look.dash, label=_shown(label))


def band(axes: Axes, x: Numbers, low: Numbers, high: Numbers, look: Look, label: str) -> None:
    """A curve of many points with few markers; where ``high`` is higher a band between two edges, without."""
    line(axes, x, low, look, label)
    known = np.flatnonzero(np.isclose(low, high, rtol=_SEEN))
    axes.lines[-1].set_markevery(known[:: max(1, len(x) // 8)].tolist())
    _between(axes, x, low, high, look)


def _shown(label: str) -> str:
    """The label as a legend shows it; matplotlib leaves out those that begin with an underscore."""
    label = text.shortened(label)
    return f" {label}" if label.startswith("_") else label


def interval_line(axes: Axes, x: Numbers, intervals: Sequence[Interval], look: Look, label: str) -> bool:
    """A curve through the values that are known, with a bar from low to high where one is not closed, and a
    band between bars and values; whether there was a bar.

    No point stands within a bar: any place of it may be the value.
    """
    line(axes, x, [value.low if value.closed else np.nan for value in intervals], look, label)
    still_open = [(place, *value) for place, value in zip(x, intervals, strict=True) if not value.closed]
    if not still_open:
        return False
    axes.vlines(*zip(*still_open, strict=True), color=look.color, linewidth=_BAR)
    _between(axes, x, [value.low for value in intervals], [value.high for value in intervals], look)
    return True


def _between(axes: Axes, x: Numbers, low: Numbers, high: Numbers, look: Look) -> None:
    """A band between two curves and its edges, where they differ."""
    if np.array_equal(low, high):
        return
    axes.fill_between(x, low, high, color=look.color, alpha=0.18, linewidth=0)
    for edge in (low, high):
        axes.plot(x, edge, color=look.color, linestyle=look.dash, linewidth=_EDGE)


def layer_axis(axes: Axes, layers: Sequence[str], label: str) -> None:
    """The layers' names along the bottom; turned upright where they are long or many."""
    crowded = len(layers) > _MOST_LEVEL or any(len(layer) > 6 for layer in layers)
    names = [text.shortened(layer, 28) for layer in layers]
    axes.set_xticks(range(len(layers)), names, rotation=90 if crowded else 0)
    axes.set_xlabel(label)


def share_axis(axes: Axes, label: str) -> None:
    """A logarithmic height in percent, with a line at the paper's 1 %."""
    log_axis(axes, "y", unit=EARLY_SHARE)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.axhline(EARLY_SHARE, color="#555555", linewidth=0.8)
    axes.set_ylabel(label)


def log_axis(axes: Axes, which: str, unit: float = 1.0) -> None:
    """A logarithmic x or y axis with labels at 1, 2 and 5 times every power of ten.

    If nothing above zero was drawn, it goes from ``unit`` to ten times that.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    reach = axes.dataLim.intervalx if which == "x" else axes.dataLim.intervaly
    if not 0 < reach[1] < np.inf:
        axes.set(**{f"{which}lim": (unit, 10 * unit)})
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 1000 else f"{value:g}")


def end_labels(axes: Axes, ends: Sequence[tuple[float, str]]) -> None:
    """Labels (height, text) at the right of an axes with a logarithmic height, moved apart where they meet.

    To be called when the limits of the height are final.
    """
    bottom, top = np.log(axes.get_ylim())
    ends = sorted(ends)
    places = [(np.log(max(height, 1)) - bottom) / (top - bottom) for height, _ in ends]
    gap = min(_LABEL_GAP, 1 / len(places)) if places else _LABEL_GAP
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    limit = 1.0
    for i in reversed(range(len(places))):  # those moved beyond the top come back down
        places[i] = min(places[i], limit)
        limit = places[i] - gap
    size = 7.5 * gap / _LABEL_GAP
    for place, (_, label) in zip(places, ends, strict=True):
        axes.annotate(label, (1.01, place), xycoords="axes fraction", va="center", fontsize=size)
