"""The program: every command of the registry, and what ``streamspread`` says of itself."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from streamspread.cli.command import COMMANDS
from streamspread.system.version import __version__


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"streamspread {__version__}")
        raise typer.Exit()


class _Helping:
    """Its ``--help`` is a flag, and shown as one."""

    def get_help_option(self, ctx: Any) -> Any:
        found = super().get_help_option(ctx)  # type: ignore[misc]
        if found is not None:
            found.metavar = ""
        return found


class _OneCommand(_Helping, TyperCommand):
    """A command. Its files are shown as FILE.arrow…, without a Python type beside them."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        files = [one for one in self.get_params(ctx) if one.param_type_name == "argument"]
        shown = [one.metavar if one.required else f"[{one.metavar}]" for one in files]
        return [str(self.options_metavar), *shown]

    def get_params(self, ctx: Any) -> list[Any]:
        found: list[Any] = super().get_params(ctx)
        for one in found:
            if one.param_type_name == "argument":
                one.display_type_rich = lambda *_, **__: None
        return found


class _AllCommands(_Helping, TyperGroup):
    """The program."""


def build(first: str | None = None) -> typer.Typer:
    """The program with the commands that there are now.

    With a ``first`` argument only what that one needs, since the rest takes time: the command of that name,
    or where it is none, all of them without their flags.
    """
    app = typer.Typer(
        add_completion=first is None or first.startswith("-"),  # what installs it; which takes time
        cls=_AllCommands,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def _streamspread(
        context: typer.Context,
        version: Annotated[
            bool,
            typer.Option(
                "--version",
                "-V",
                metavar="",
                callback=_print_version,
                is_eager=True,
                help="Print the version.",
            ),
        ] = False,
    ) -> None:
        """Over how many principal components do a network's feature maps spread, layer by layer?"""
        if context.invoked_subcommand is None:
            print(context.get_help())

    names = [first] if first in COMMANDS.names() else COMMANDS.names()
    commands = {name: COMMANDS.get(name) for name in names if name is not None}
    for name, command in sorted(commands.items(), key=lambda item: item[1].place):
        listed = first is not None and first != name
        spread = command.listed() if listed else command.function()
        app.command(name, cls=_OneCommand, epilog=command.epilog, rich_help_panel=command.panel)(spread)
    return app


def program(first: str | None = None) -> Any:
    """What :func:`build` makes, ready to be run; every flag without a word for a value that it does not
    take."""
    command: Any = typer.main.get_command(build(first))
    for one in command.params:
        if getattr(one, "is_flag", False):
            one.metavar = ""
    return command
