"""The figures of a report: one file per kind, which defines ``FIGURE``, a :class:`FigureKind`.

Files, Markdown and the page take them from here; there is no other list of them. Stored runs in, matplotlib
figures out; nothing is read or written here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from streamspread.report.figure import Chart, FigureKind, Texts
from streamspread.report.runs import Collection
from streamspread.system.files import file_stem
from streamspread.system.registry import Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Kinds of figures by the names of their files.
FIGURES: Registry[FigureKind] = Registry("streamspread.report.figures", "FIGURE")


class Picture(NamedTuple):
    """One figure that can be drawn, and its kind."""

    kind: FigureKind
    draw: Callable[[], Figure]


def all_figures(collection: Collection, texts: Texts) -> dict[str, Picture]:
    """Everything that can be drawn of these results, by the name of its file without suffix, in order."""
    pictures: dict[str, Picture] = {}
    for kind in _kinds():
        for name, draw in kind.pictures(collection, texts).items():
            pictures[_free(name, pictures)] = Picture(kind, draw)
    return pictures


def charts(section: str, collection: Collection, texts: Texts) -> list[Chart]:
    """The charts of a section of the page that have something to show, in order."""
    kinds = [kind for kind in _kinds() if kind.chart is not None and kind.chart.section == section]
    shown = [
        kind.chart for kind in kinds if kind.chart and (kind.chart.always or kind.pictures(collection, texts))
    ]
    return sorted(shown, key=lambda chart: chart.order)


def _kinds() -> list[FigureKind]:
    return sorted((kind for _, kind in FIGURES.items()), key=lambda kind: kind.order)


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """The name as a file's, with a number where another figure has it already."""
    stem = file_stem(name)
    numbered = (f"{stem}-{number}" for number in count(2))
    return stem if stem not in taken else next(name for name in numbered if name not in taken)
