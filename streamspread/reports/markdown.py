"""The report as Markdown: tables to paste, and links to figures that lie beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from streamspread.reports import summary
from streamspread.reports.claims import TAU, of_paper
from streamspread.reports.finding import finding
from streamspread.reports.runs import Collection, short_names
from streamspread.reports.summary import Table


def to_markdown(collection: Collection, texts: Mapping[str, str], figures: Sequence[str] = ()) -> str:
    """What was found in a sentence, networks, K and K/D by layer, K over N, all numbers of each network,
    figures, and the commands; of the paper's networks also its claims, and what they depend on.

    ``figures``: paths of pictures, relative to where the text will lie.
    """
    sections = [(texts["section_summary"], summary.networks(collection, texts))]
    for tau, written in summary.thresholds(collection):
        sections.append((texts["shares_title"].format(tau=written), summary.shares(collection, texts, tau)))
    if paper := of_paper(collection.networks):
        sections.append((texts["claims"], summary.claims(collection, texts)))
        sections.append((texts["depends"], summary.depends(collection, texts)))
    for name, runs in collection.over_samples.items():
        title = f"{texts['over_samples_title']}, {escaped(name)}"
        sections.append((title, summary.over_samples(runs, texts)))
    for run in collection.networks or collection.runs:
        name = escaped(run.name)
        sections.append((f"{texts['section_tables']}, {name}", summary.numbers(run, texts)))
        sections.append((f"{texts['metrics']}, {name}", summary.metrics(run, texts)))
        sections.append((f"{texts['classes_title']}, {name}", summary.by_class(run, texts)))
    blocks = [f"### {title}\n\n{render(table)}" for title, table in sections if table.rows]
    if lines := summary.conflicts(collection, texts):
        listed = "".join(f"- {escaped(line)}\n" for line in lines)
        blocks.insert(1, f"{texts['compare_note_differ']}\n\n{listed}")
    said = [
        f"- {escaped(finding(name, run.layers(), TAU, texts))}\n"
        for name, run in short_names(collection.networks).items()
    ]
    if said:
        blocks.insert(0, "".join(said))
    if paper:
        blocks.append(f"{escaped(texts['citation'])}\n")
    if figures:
        shown = "\n\n".join(f"![{PurePosixPath(path).stem}]({path})" for path in figures)
        blocks.append(f"### {texts['figures']}\n\n{shown}\n")
    typed = _fenced("\n".join(summary.commands(collection, texts)))
    blocks.append(f"### {texts['commands']}\n\n{typed}\n")
    return "\n".join(blocks)


def render(table: Table) -> str:
    """A table in GitHub's Markdown, with its notes; lines within a cell are kept."""
    rule = ["--:" if column in table.numbers else "---" for column in range(len(table.header))]
    lines = [_line(table.header), _line(rule), *(_line(row) for row in table.rows)]
    notes = [line for note in table.notes for line in ("", escaped(note))]
    return "\n".join([*lines, *notes]) + "\n"


def _fenced(text: str) -> str:
    """The text as code, within a fence that is longer than any in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def _line(cells: Sequence[str | Sequence[str]]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(cell: str | Sequence[str]) -> str:
    return escaped(cell) if isinstance(cell, str) else "<br>".join(map(escaped, cell))


def escaped(line: str) -> str:
    """The text with markup of Markdown and HTML escaped, since names may hold anything."""
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return re.sub(r"([\\`*_\[\]~|])", r"\\\1", line)
