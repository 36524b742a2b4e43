"""The program: every command of the registry, and what ``streamspread`` says of itself."""

from __future__ import annotations

from typing import Annotated

import typer

from streamspread.cli.command import COMMANDS
from streamspread.system.version import __version__


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"streamspread {__version__}")
        raise typer.Exit()


def build() -> typer.Typer:
    """The program with the commands that there are now."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

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

    for name, command in sorted(COMMANDS.items(), key=lambda item: item[1].place):
        app.command(name, epilog=command.epilog)(command.function())
    return app
