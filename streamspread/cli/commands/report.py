"""``streamspread report``: stored results as one page with figures, or as Markdown."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from streamspread.cli.app import Command
from streamspread.cli.arguments import Language, Quiet
from streamspread.cli.terminal import note, progress_bars, show_text


class Form(StrEnum):
    """What a report is."""

    html = "html"
    markdown = "markdown"


def report(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE.arrow…", help="Results: of run, study, embed, or a Monitor."),
    ],
    language: Language,
    said: Quiet,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder for page and figures. [dim]Default: report; Markdown goes to stdout.[/dim]",
        ),
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", help="A page with figures, or tables to paste.")
    ] = Form.html,
) -> None:
    """Write a page that shows stored results, opens from disk and needs no network; figures beside it."""
    lang = language.lang.value
    with progress_bars(said.quiet, "reading the results"):
        from streamspread.reports import build

        if form is Form.markdown and out is None:
            notes, written = [], build.markdown_of(files, lang)
        else:
            folder, name = out or Path("report"), build.PAGE if form is Form.html else build.MARKDOWN
            notes, written = build.write(files, folder, lang, name), f"{folder / name}\n"
    for line in notes:
        note(line, said.quiet)
    show_text(written)


COMMAND = Command(
    report,
    (
        "streamspread report no1.arrow no3.arrow --out report",
        "streamspread report study/results/*.arrow --format markdown",
    ),
    place=5,
    panel="Look at results",
)
