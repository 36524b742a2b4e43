"""One table and its outputs: a terminal, a pipe, a notebook and Markdown; ``page`` has a macro for the page.

A terminal shows as many columns as fit, and never cuts a number. A pipe, a notebook, Markdown and the page
have all columns.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from streamspread.system.text import printable

_UNLIMITED = 100_000  # characters: wider than any table


class ThresholdCell(NamedTuple):
    """A cell that the page's script writes anew at every threshold.

    Attributes:
        text: at the first threshold.
        kind: what is written: k, spread, share (both), filled, estimate or growth.
        runs: the name of the run, or of those that are compared. ``layer``: the layer's name.
    """

    text: str
    kind: str
    runs: str | Sequence[str]
    layer: str


Cell = str | Sequence[str] | ThresholdCell  # of one line, or of several


@dataclass(frozen=True)
class Column:
    """A column and its cells.

    Attributes:
        priority: on a narrow terminal the columns with the highest number are left out first; those with 0
            never are.
        left: its cells are words, which are set flush left; else numbers, which are set flush right.
    """

    header: str
    cells: Sequence[Cell]
    priority: int = 0
    left: bool = False


@dataclass(frozen=True)
class Table:
    """Columns of equal length. ``notes``: what is said under them, a line each."""

    columns: Sequence[Column]
    notes: Sequence[str] = ()

    @classmethod
    def of_rows(
        cls,
        header: Sequence[str],
        rows: Sequence[Sequence[Cell]],
        words: Collection[int] = (0,),
        notes: Sequence[str] = (),
    ) -> Table:
        """A table from its rows. ``words``: the numbers of the columns that hold words."""
        columns = [
            Column(head, [row[place] for row in rows], left=place in words)
            for place, head in enumerate(header)
        ]
        return cls(columns, notes)

    @property
    def header(self) -> list[str]:
        return [column.header for column in self.columns]

    @property
    def rows(self) -> list[tuple[Cell, ...]]:
        return list(zip(*(column.cells for column in self.columns), strict=True))


def lines_of(cell: Cell) -> list[str]:
    """The lines of a cell."""
    if isinstance(cell, ThresholdCell):
        return [cell.text]
    return [cell] if isinstance(cell, str) else list(cell)


class HtmlOutput:
    """Stands in for a console: collects what is printed as HTML without colours or fonts, for a notebook."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def line(self, line: str, bold: bool = False) -> None:
        text = html.escape(line)
        self._parts.append(f'<div style="margin:2px 0">{f"<b>{text}</b>" if bold else text}</div>')

    def table(self, columns: Sequence[Column]) -> None:
        head = _html_row("th", columns, [column.header for column in columns])
        body = "".join(_html_row("td", columns, row) for row in Table(columns).rows)
        self._parts.append(f"<table><thead>{head}</thead><tbody>{body}</tbody></table>")

    def html(self) -> str:
        """All that was printed; it scrolls where it is wider than the page."""
        return f'<div style="overflow-x:auto">{"".join(self._parts)}</div>'


def _html_row(tag: str, columns: Sequence[Column], cells: Sequence[Cell]) -> str:
    style = "white-space:nowrap;padding:2px 8px"
    return "<tr>{}</tr>".format(
        "".join(
            f'<{tag} style="text-align:{"left" if column.left else "right"};{style}">'
            f"{'<br>'.join(map(html.escape, lines_of(cell)))}</{tag}>"
            for column, cell in zip(columns, cells, strict=True)
        )
    )


Output = Console | HtmlOutput


def print_table(output: Output, table: Table) -> None:
    """Print a table and its notes."""
    print_widest_that_fits(output, [table.columns])
    for note in table.notes:
        print_line(output, note)


def print_widest_that_fits(output: Output, layouts: Sequence[Sequence[Column]]) -> None:
    """Print the first layout that fits, with as few columns left out as possible; if none, the narrowest."""
    if isinstance(output, HtmlOutput):
        return output.table(layouts[0])
    width = output.width if output.is_terminal else _UNLIMITED
    for columns in layouts:
        for most in sorted({column.priority for column in columns}, reverse=True):
            table = _rich_table([column for column in columns if column.priority <= most])
            needed = _natural_width(output, table)
            if needed <= width:
                return _print_rich(output, table, needed)
    _print_rich(output, table, needed)


def fits(output: Output, columns: Sequence[Column]) -> bool:
    """Whether all columns fit."""
    if isinstance(output, HtmlOutput) or not output.is_terminal:
        return True
    return _natural_width(output, _rich_table(columns)) <= output.width


def print_line(output: Output, line: str, style: str | None = None) -> None:
    """Print a line of text, which a terminal folds."""
    if isinstance(output, HtmlOutput):
        return output.line(line, bold=style == "bold")
    output.print(_rich_text(line), style=style, soft_wrap=not output.is_terminal)


def markdown(table: Table) -> str:
    """A table in GitHub's Markdown, with its notes; the lines of a cell are kept."""
    rule = ["---" if column.left else "--:" for column in table.columns]
    rows = (table.header, rule, *table.rows)
    lines = [f"| {' | '.join('<br>'.join(map(escaped, lines_of(cell))) for cell in row)} |" for row in rows]
    notes = [line for note in table.notes for line in ("", escaped(note))]
    return "\n".join([*lines, *notes]) + "\n"


def escaped(line: str) -> str:
    """The text with the markup of Markdown and HTML escaped, since names may hold anything."""
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return re.sub(r"([\\`*_\[\]~|])", r"\\\1", line)


def _rich_text(cell: Cell) -> Text:
    """As rich's text, since a layer's name may look like markup, or hold what a terminal would obey."""
    return Text("\n".join(map(printable, lines_of(cell))))


def _rich_table(columns: Sequence[Column]) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(_rich_text(column.header), justify="left" if column.left else "right", no_wrap=True)
    for row in Table(columns).rows:
        table.add_row(*map(_rich_text, row))
    return table


def _natural_width(console: Console, table: RichTable) -> int:
    return Measurement.get(console, console.options.update(max_width=_UNLIMITED), table).maximum


def _print_rich(console: Console, table: RichTable, needed: int) -> None:
    """On a console that is made as wide as the table: Rich would cut numbers to fit it into a narrower one,
    whereas a terminal folds long lines by itself."""
    before, console.width = console.width, max(needed, console.width)
    try:
        console.print(table, crop=False)
    finally:
        console.width = before
