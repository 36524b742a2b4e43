"""``streamspread show``: the tables of stored results again, also for other thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamspread.cli.inputs import read_thresholds
from streamspread.cli.options import Format, FormatOption
from streamspread.cli.terminal import print_result

EPILOG = """Examples:

streamspread show no1.arrow no3.arrow

streamspread show no1.arrow --thresholds 0.5,0.9 --format csv
"""


def show(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.arrow…", help="Results that run wrote.")],
    thresholds: Annotated[
        str | None,
        typer.Option(
            "--thresholds",
            "-t",
            metavar="τ,…",
            help="Other fractions of the variance; nothing is recomputed.",
        ),
    ] = None,
    form: FormatOption = Format.table,
) -> None:
    """Print the table of stored results again."""
    taus = None if thresholds is None else read_thresholds(thresholds)

    from streamspread import store
    from streamspread.results.spectrum import Spectra

    if len(files) > 1 and form is not Format.table:
        raise typer.BadParameter(f"{form.value} takes one file at a time", param_hint="--format")
    results = [store.read(path) for path in files]  # all of them first: no half output before an error
    for index, spectra in enumerate(results):
        if index:
            print()
        print_result(spectra if taus is None else Spectra(spectra.values(), taus, spectra.provenance), form)
