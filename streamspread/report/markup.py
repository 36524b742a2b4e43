"""HTML of what the page is made of: tables, charts' places, pictures, folded blocks."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence

from streamspread.report.figure import Chart, Texts
from streamspread.report.runs import Collection
from streamspread.report.summary import MARKS, Table

#: What the reader chose, by :attr:`Chart.follows`; the script fills it in.
_CHOSEN = {
    "tau": 'τ&nbsp;=&nbsp;<span class="tau"></span>',
    "part": '<span class="part-name"></span>',
    "run": '<span class="run-name"></span>',
    "which": '<span class="which"></span>',
}


def escape(line: str) -> str:
    """Text as HTML shows it."""
    return html.escape(line)


def chosen(*names: str) -> str:
    """What the reader chose, one behind the other."""
    return ", ".join(_CHOSEN[name] for name in names)


def charts(shown: Sequence[Chart], collection: Collection, texts: Texts) -> str:
    """Places for charts, each under its title."""
    return places([(chart.name, _caption(chart, collection, texts)) for chart in shown])


def _caption(chart: Chart, collection: Collection, texts: Texts) -> str:
    detail = escape(chart.detail(collection, texts))
    behind = ", ".join(filter(None, [detail, chosen(*chart.follows)]))
    return " · ".join(filter(None, [escape(texts[chart.title]), behind]))


def places(captions: Sequence[tuple[str, str]]) -> str:
    """Places for the script's charts: the name of each, and its caption as HTML."""
    figures = "".join(
        f"<figure><figcaption>{caption}</figcaption>"
        f'<div class="chart" data-chart="{name}" id="chart-{name}"></div></figure>'
        for name, caption in captions
    )
    return f'<div class="charts">{figures}</div>'


def pictures(svgs: Mapping[str, bytes]) -> str:
    """SVG pictures by name, inside the page."""
    return "".join(
        f"<figure><figcaption>{escape(name)}</figcaption>"
        f'<img alt="{escape(name)}" src="data:image/svg+xml;base64,{base64.b64encode(svg).decode()}">'
        "</figure>"
        for name, svg in svgs.items()
    )


def details(title: str, content: str) -> str:
    """A block that is folded up to its title."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def table(content: Table, kind: str = "") -> str:
    """A table that scrolls by itself where it is wide, with its notes; ``kind``: its class."""

    def cells(row: Sequence[str | Sequence[str]], first: str, others: str) -> str:
        return "".join(
            _cell(cell, others if i else first, i in content.numbers) for i, cell in enumerate(row)
        )

    head = cells(content.header, "col", "col")
    rows = "".join(f"<tr>{cells(row, 'row', '')}</tr>" for row in content.rows)
    inner = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
    notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in content.notes)
    return f'<div class="scroll"><table class="{kind}">{inner}</table></div>{notes}'


def _cell(cell: str | Sequence[str], scope: str, number: bool) -> str:
    lines = [cell] if isinstance(cell, str) else cell
    # A number and its unit stay on one line.
    content = "".join(f"<div{_mark(line)}>{escape(line).replace(' %', '&nbsp;%')}</div>" for line in lines)
    tag = "th" if scope else "td"
    kinds = f"{' class=number' if number else ''}{f' scope={scope}' if scope else ''}"
    return f"<{tag}{kinds}>{content}</{tag}>"


def _mark(line: str) -> str:
    kinds = {MARKS[verdict]: verdict for verdict in MARKS}
    kind = kinds.get(line.split(" ")[0])
    return f' class="{kind}"' if kind in ("holds", "fails") else ""
