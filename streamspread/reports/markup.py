"""HTML of what the page is made of: tables, charts' places, folded blocks."""

from __future__ import annotations

import html
from collections.abc import Sequence

from streamspread.reports.figure import Chart, Texts
from streamspread.reports.live import Live
from streamspread.reports.page_data import packed
from streamspread.reports.summary import MARKS, Table

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
    # The part writes its own comma: where there is but one, it is not named.
    return ", ".join(_CHOSEN[name] for name in names if name != "part") + _CHOSEN["part"] * ("part" in names)


def chart(shown: Chart, texts: Texts, paper: bool) -> str:
    """A place for the script's chart, under its title."""
    title = texts[shown.paper[1] if shown.paper and paper else shown.title]
    caption = " · ".join(filter(None, [escape(title), chosen(*shown.follows)]))
    return (
        f'<figure><figcaption id="caption-{shown.name}">{caption}</figcaption>'
        f'<div class="chart" data-chart="{shown.name}" id="chart-{shown.name}" role="group" '
        f'aria-labelledby="caption-{shown.name}"></div></figure>'
    )


def charts(shown: Sequence[Chart], texts: Texts, paper: bool) -> str:
    """Places for charts beside each other."""
    return f'<div class="charts">{"".join(chart(one, texts, paper) for one in shown)}</div>'


def details(title: str, content: str, *follows: str) -> str:
    """A block that is folded up to its title, behind which stands what the reader chose."""
    heading = " · ".join(filter(None, [escape(title), chosen(*follows)]))
    return f"<details><summary>{heading}</summary>{content}</details>"


def table(content: Table, name: str, kind: str = "", arrow: str = "") -> str:
    """A table that scrolls by itself where it is wide, with its notes.

    Args:
        name: of the files that it can be kept as. ``kind``: its class. ``arrow``: an Arrow file in base64, or
            the name of one in the page's data; else its cells are one.
    """

    def cells(row: Sequence[str | Sequence[str]], first: str, others: str) -> str:
        return "".join(
            _cell(cell, others if i else first, i in content.numbers) for i, cell in enumerate(row)
        )

    head = cells(content.header, "col", "col")
    rows = "".join(f"<tr>{cells(row, 'row', '')}</tr>" for row in content.rows)
    inner = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
    notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in content.notes)
    heads = _told_apart(content.header)
    kept = arrow or packed([dict(zip(heads, map(_text, row), strict=True)) for row in content.rows])
    named = f'data-name="{escape(name)}" data-arrow="{kept}"'
    return f'<div class="scroll" tabindex="0" {named}><table class="{kind}">{inner}</table></div>{notes}'


def _cell(cell: str | Sequence[str], scope: str, number: bool) -> str:
    if isinstance(cell, Live):
        return f'<td class=number data-live="{escape(cell.of)}">{escape(cell)}</td>'
    lines = [cell] if isinstance(cell, str) else cell
    # A number and its unit stay on one line.
    content = "".join(f"<div{_mark(line)}>{escape(line).replace(' %', '&nbsp;%')}</div>" for line in lines)
    tag = "th" if scope else "td"
    kinds = f"{' class=number' if number else ''}{f' scope={scope}' if scope else ''}"
    return f"<{tag}{kinds}>{content}</{tag}>"


def _told_apart(header: Sequence[str]) -> list[str]:
    """The heads as names of columns, which those that come again have a number for."""
    seen = [header[:place].count(head) for place, head in enumerate(header)]
    return [f"{head} ({before + 1})" if before else head for head, before in zip(header, seen, strict=True)]


def _text(cell: str | Sequence[str]) -> str:
    return str(cell) if isinstance(cell, str) else "; ".join(cell)


def _mark(line: str) -> str:
    kinds = {MARKS[verdict]: verdict for verdict in MARKS}
    kind = kinds.get(line.split(" ")[0])
    return f' class="{kind}"' if kind in ("holds", "fails") else ""
