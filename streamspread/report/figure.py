"""What a kind of figure is: the pictures that it makes of some results, and how the page shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamspread.report.runs import Collection

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Texts = Mapping[str, str]

#: Pictures by the names of their files, without suffix; a call draws one.
Pictures = Mapping[str, "Callable[[], Figure]"]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart on the page, which the page's script draws from the data in the page.

    Attributes:
        name: by which the script knows it. ``order``: among the charts of its section.
        section: the id of the section that it stands in.
        title: the key of its title in the texts.
        detail: what follows the title, in words, for these results; empty for nothing.
        follows: what the reader chose, which the script writes behind the title: ``tau``, ``part`` (of the
            layers) or ``run``; ``which``: of several groups the one that is shown.
        always: shown for any results, since it is of whichever run is chosen; else where there are pictures.
    """

    name: str
    order: int
    section: str
    title: str
    detail: Callable[[Collection, Texts], str] = lambda collection, texts: ""
    follows: tuple[str, ...] = ()
    always: bool = False


@dataclass(frozen=True, kw_only=True)
class FigureKind:
    """A kind of figure, such as scree curves, of which a report has none, one, or one per network.

    Attributes:
        order: its place among the kinds, in files and in Markdown.
        pictures: of a collection; empty where there is nothing to draw.
        chart: how the page shows it; None: the pictures themselves are in the page.
    """

    order: int
    pictures: Callable[[Collection, Texts], Pictures]
    chart: Chart | None = None
