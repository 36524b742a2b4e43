"""The charts of a report: one file per kind, which defines ``FIGURE``, a :class:`Chart`.

Files, Markdown and the page take them from here; there is no other list of them.
"""

from __future__ import annotations

from streamspread.reports.figure import Chart
from streamspread.reports.runs import Collection
from streamspread.system.registry import Registry

#: Kinds of charts by the names of their files.
FIGURES: Registry[Chart] = Registry("streamspread.reports.figures", "FIGURE")


def charts(collection: Collection, section: str | None = None) -> list[Chart]:
    """The charts of a section of the page, or of all, that have something to show, in order."""
    kinds = sorted((chart for _, chart in FIGURES.items()), key=lambda chart: chart.order)
    return [chart for chart in kinds if section in (None, chart.section) and chart.shown(collection)]
