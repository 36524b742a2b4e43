"""``streamspread report``: stored results as one page with figures, or as Markdown."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from streamspread.cli.arguments import Language, Quiet
from streamspread.cli.command import Command
from streamspread.cli.terminal import note, show_text


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
    from streamspread.report import build, markdown, over_training
    from streamspread.report.labels import called_in, labels
    from streamspread.report.runs import collect

    lang = language.lang.value
    if form is Form.markdown and out is None:
        histories, others = over_training.split(files)
        if histories:
            show_text(over_training.markdown(histories, labels(lang)))
        if others or not histories:
            collection = collect(others)
            show_text(markdown.to_markdown(collection, labels(lang, called_in(collection.runs))))
        return
    folder = out or Path("report")
    write, name = {
        Form.html: (build.write_page, build.PAGE),
        Form.markdown: (build.write_markdown, build.MARKDOWN),
    }[form]
    for line in write(files, folder, lang):
        note(line, said.quiet)
    print(folder / name)


COMMAND = Command(
    report,
    (
        "streamspread report no1.arrow no3.arrow --out report",
        "streamspread report study/results/*.arrow --format markdown",
    ),
    place=5,
    panel="Look at results",
)
