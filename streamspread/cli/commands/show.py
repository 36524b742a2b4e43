"""``streamspread show``: the tables of stored results again, also for other thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from streamspread.cli.app import Command
from streamspread.cli.arguments import Format, Printed
from streamspread.cli.terminal import check_printed, print_result
from streamspread.options import read_thresholds


def show(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE.arrow…", help="Results: of run, or a Monitor.")
    ],
    printed: Printed,
    thresholds: Annotated[
        str | None,
        typer.Option(
            "--thresholds",
            "-t",
            metavar="τ,…",
            help="Other fractions of the variance; nothing is recomputed.",
        ),
    ] = None,
) -> None:
    """Print the table of stored results again."""
    taus = None if thresholds is None else read_thresholds(thresholds)

    from streamspread import store

    check_printed(printed)
    form = printed.form
    if len(files) > 1 and form is not Format.table:
        raise typer.BadParameter(f"{form.value} takes one file at a time", param_hint="--format")
    # All of them first: no half output before an error.
    results: list[Any] = []
    for path in files:
        if store.is_history(path):
            results.append(store.read_history(path))
        else:
            spectra = store.read(path)
            results.append(spectra if taus is None else spectra.at(taus))
    for index, result in enumerate(results):
        if index:
            print()
        print_result(result, printed, thresholds=taus or ())


COMMAND = Command(
    show,
    (
        "streamspread show no1.arrow no3.arrow",
        "streamspread show no1.arrow --thresholds 0.5,0.9 --format csv",
        "streamspread show no1.arrow --columns layer,dim,components,share,participation_ratio",
    ),
    place=4,
    panel="Look at results",
)
