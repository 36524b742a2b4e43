"""What a chart is: one Vega-Lite description, from which page and printed figure both come, and its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from streamspread.reports.runs import Collection

Texts = Mapping[str, str]

#: A chart as Vega-Lite's JSON holds it.
Spec = dict[str, Any]


class Form(NamedTuple):
    """Under which circumstances a chart is drawn.

    Attributes:
        many: it has so many layers (``rows.MANY``) that a curve for each could not be told from the others.
        page: it is on the page, where a layer is chosen; else printed.
        paper: it is of the paper's networks and data.
    """

    many: bool = False
    page: bool = False
    paper: bool = False


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A kind of chart, such as scree curves.

    Attributes:
        order: its place among the kinds, in files, in Markdown and in its section.
        section: the id of the page's section that it stands in.
        title: the key of its title in the texts.
        spec: the description, without data; rows come under the name ``rows``.
        stem: of the files' names. ``each``: a file for every group, with its name behind the stem; else one
            file, with a panel for every group.
        rows: what a row is: a layer at the chosen τ (``layers``), at every τ (``taus``), a point of a scree
            curve (``scree``) or of an embedding (``points``).
        of: of which runs, by the names of ``rows.groups``. ``parts``: of all parts of a layer, not of the
            chosen one.
        follows: what the caption says: ``tau``, ``part``, ``run``, ``which`` (of several groups).
        paper: the stem and the title, where it is of the paper's networks and data, of a figure of the paper.
        shown: whether there is anything to see in these results.
        own: rows that the chart has of itself; it then follows no control.
    """

    name: str
    order: int
    title: str
    spec: Callable[[Texts, Form], Spec]
    section: str = "beyond"
    stem: str = ""
    each: bool = False
    rows: str = "layers"
    of: str = "networks"
    parts: bool = False
    follows: tuple[str, ...] = ()
    paper: tuple[str, str] | None = None
    shown: Callable[[Collection], bool] = lambda collection: True
    own: Callable[[Collection, Texts], list[dict[str, Any]]] | None = None
