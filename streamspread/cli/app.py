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


def build(first: str | None = None) -> typer.Typer:
    """The program with the commands that there are now.

    With a ``first`` argument only what that one needs, since the rest takes time: the command of that name,
    or where it is none, all of them without their flags.
    """
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

    names = [first] if first in COMMANDS.names() else COMMANDS.names()
    commands = {name: COMMANDS.get(name) for name in names if name is not None}
    for name, command in sorted(commands.items(), key=lambda item: item[1].place):
        listed = first is not None and first != name
        app.command(name, epilog=command.epilog)(command.listed() if listed else command.function())
    return app
