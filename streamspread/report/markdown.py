"""The report as Markdown: tables to paste."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamspread.report import summary
from streamspread.report.claims import TAU
from streamspread.report.runs import Collection
from streamspread.report.summary import Table


def to_markdown(collection: Collection, texts: Mapping[str, str]) -> str:
    """Networks, K and K/D by layer, the claims, what they depend on, K over N."""
    sections = [
        (texts["section_summary"], summary.networks(collection, texts)),
        (texts["spread"].format(tau=f"{TAU:g}"), summary.shares(collection, texts)),
        (texts["claims"], summary.claims(collection, texts)),
        (texts["depends"], summary.depends(collection, texts)),
    ]
    for name, runs in collection.over_samples.items():
        title = f"{texts['over_samples_title'].format(tau=f'{TAU:g}')}, {name}"
        sections.append((title, summary.over_samples(runs, texts)))
    made = [f"### {title}\n\n{render(table)}" for title, table in sections if table.rows]
    if lines := summary.conflicts(collection, texts):
        listed = "".join(f"- {line}\n" for line in lines)
        made.insert(1, f"{texts['compare_note_differ']}\n\n{listed}")
    return "\n".join(made)


def render(table: Table) -> str:
    """A table in GitHub's Markdown; a cell of several lines keeps them."""
    rule = ["--:" if column in table.numbers else "---" for column in range(len(table.header))]
    lines = [_line(table.header), _line(rule), *(_line(row) for row in table.rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str | Sequence[str]]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(cell: str | Sequence[str]) -> str:
    whole = cell if isinstance(cell, str) else "<br>".join(cell)
    return whole.replace("|", "\\|").replace("\n", " ")
