"""The commands by name, and what ``streamspread`` says of itself."""

from __future__ import annotations

from typing import Annotated

import typer

from streamspread import __version__
from streamspread.cli import embed, layers, plan, report, run, show, study, train

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"streamspread {__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def _streamspread(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Over how many principal components do a network's feature maps spread, layer by layer?"""
    if context.invoked_subcommand is None:
        print(context.get_help())


app.command(epilog=run.EPILOG)(run.run)
app.command(epilog=plan.EPILOG)(plan.plan)
app.command(epilog=layers.EPILOG)(layers.layers)
app.command(epilog=show.EPILOG)(show.show)
app.command(epilog=report.EPILOG)(report.report)
app.command(epilog=study.EPILOG)(study.study)
app.command(epilog=embed.EPILOG)(embed.embed)
app.command(epilog=train.EPILOG)(train.train)
