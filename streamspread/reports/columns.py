"""Tables made of columns, on a given console: as many columns as fit a terminal, all of them in a pipe or in
a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from streamspread.system.text import printable

_UNLIMITED = 100_000  # characters: wider than any table


@dataclass(frozen=True)
class Column:
    """A column and its cells. ``drop``: on a narrow terminal the columns with the highest are left out first;
    those with 0 never are."""

    header: str
    cells: Sequence[str]
    drop: int = 0
    left: bool = False


class Sheet:
    """In place of a console: what is printed as HTML, for a notebook, which brings its own looks."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def line(self, line: str, bold: bool = False) -> None:
        text = html.escape(line)
        self._parts.append(f'<div style="margin:2px 0">{f"<b>{text}</b>" if bold else text}</div>')

    def table(self, columns: Sequence[Column]) -> None:
        sides = [
            f' style="text-align:{"left" if column.left else "right"};white-space:nowrap;padding:2px 8px"'
            for column in columns
        ]
        rows = [
            [column.header for column in columns],
            *zip(*(column.cells for column in columns), strict=True),
        ]
        lines = [
            "".join(
                f"<{tag}{side}>{html.escape(cell)}</{tag}>" for cell, side in zip(row, sides, strict=True)
            )
            for row, tag in zip(rows, ("th", *["td"] * (len(rows) - 1)), strict=True)
        ]
        head, *body = (f"<tr>{line}</tr>" for line in lines)
        self._parts.append(f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>")

    def html(self) -> str:
        """All of it; where it is wider than the page, it can be moved."""
        return f'<div style="overflow-x:auto">{"".join(self._parts)}</div>'


Surface = Console | Sheet


def print_first_that_fits(console: Surface, layouts: Sequence[Sequence[Column]]) -> None:
    """Print the first layout that fits, with as few columns left out as possible; if none, the narrowest."""
    if isinstance(console, Sheet):
        return console.table(layouts[0])
    width = _width(console)
    for columns in layouts:
        for most in sorted({column.drop for column in columns}, reverse=True):
            table = _table([column for column in columns if column.drop <= most])
            needed = _natural_width(console, table)
            if needed <= width:
                return _print_table(console, table, needed)
    _print_table(console, table, needed)


def fits(console: Surface, columns: Sequence[Column]) -> bool:
    """Whether all of the columns do."""
    return isinstance(console, Sheet) or _natural_width(console, _table(columns)) <= _width(console)


def print_line(console: Surface, line: str, style: str | None = None) -> None:
    """Print a line of text, which a terminal folds."""
    if isinstance(console, Sheet):
        return console.line(line, bold=style == "bold")
    console.print(_text(line), style=style, soft_wrap=not console.is_terminal)


def _text(line: str) -> Text:
    """As Text, since a layer's name may look like markup, or hold what a terminal would obey."""
    return Text(printable(line))


def _width(console: Console) -> int:
    return console.width if console.is_terminal else _UNLIMITED


def _table(columns: Sequence[Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(_text(column.header), justify="left" if column.left else "right", no_wrap=True)
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(_text(cell) for cell in row))
    return table


def _natural_width(console: Console, table: Table) -> int:
    return Measurement.get(console, console.options.update(max_width=_UNLIMITED), table).maximum


def _print_table(console: Console, table: Table, needed: int) -> None:
    with _at_least(console, needed):
        console.print(table, crop=False)


@contextmanager
def _at_least(console: Console, width: int) -> Iterator[None]:
    """Makes the console at least so wide: Rich would cut numbers to fit a table into a narrower one, whereas
    a terminal folds long lines by itself."""
    before = console.width
    console.width = max(width, before)
    try:
        yield
    finally:
        console.width = before
