"""The program: what a command is, how its options become flags, and what ``streamspread`` says of itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from streamspread.options import Flag, documented, option_of
from streamspread.system.registry import Registry
from streamspread.system.version import __version__

COMMANDS: Registry[Command] = Registry("streamspread.*.commands", "COMMAND")

_READ_BY_TYPER = (bool, int, float, str, Path, list, Enum)


@dataclass(frozen=True)
class Command:
    """A command of the program.

    Attributes:
        body: what it does; its docstring is the help. A parameter whose type is a class of options becomes a
            flag for each of them.
        examples: command lines, for the end of the help.
        place: where it stands in the list of commands. ``panel``: the part of the list that it belongs to.
        hides: options that it takes, so that a line of another command can be pasted, and that its help does
            not name, since they change nothing.
    """

    body: Callable[..., None]
    examples: tuple[str, ...]
    place: int
    panel: str = "More"
    hides: frozenset[str] = frozenset()

    @property
    def epilog(self) -> str:
        return "\n\n".join(("Examples:", *self.examples))

    @property
    def help(self) -> str:
        """One line, which a terminal folds."""
        return " ".join((self.body.__doc__ or "").split())

    def function(self) -> Callable[..., None]:
        """The body as typer reads it."""
        classes: dict[str, type] = {}
        parameters: list[inspect.Parameter] = []
        # Classes of options come without default, and what typer reads itself may have any.
        for parameter in inspect.signature(self.body, eval_str=True).parameters.values():
            kind: type = parameter.annotation
            if is_dataclass(kind):
                classes[parameter.name] = kind
                parameters += flags(kind, self.hides)
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        def callback(**values: Any) -> None:
            options = {name: _options_from(kind, values) for name, kind in classes.items()}
            self.body(**values, **options)

        callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return callback


def flags(options: type, hides: Collection[str] = ()) -> Iterator[inspect.Parameter]:
    """The options of a class as typer's parameters, with their help; those that it ``hides`` without."""
    for one in documented(options):
        flag = option_of(one).flag
        if flag is not None:
            declared = Annotated[_type(one, flag), _typer_option(one, flag, one.name in hides)]  # type: ignore[valid-type]
            yield inspect.Parameter(
                one.name, inspect.Parameter.KEYWORD_ONLY, default=_default(one, flag), annotation=declared
            )


def _typer_option(one: Field[Any], flag: Flag, hidden: bool) -> Any:
    text = flag.help or option_of(one).text
    return typer.Option(
        *flag.names,
        metavar="" if get_args(one.type)[0] is bool else flag.metavar,
        rich_help_panel=flag.panel,
        min=flag.least,
        max=flag.most,
        hidden=hidden,
        autocompletion=None if flag.choices is None else _completing(flag.choices),
        help=f"{text} [dim]Default: {flag.unset}.[/dim]" if flag.unset else text,
    )


def _completing(choices: Callable[[], Sequence[str]]) -> Callable[[str], list[str]]:
    """What a shell may put in place of the beginning of a value."""

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices() if choice.startswith(incomplete)]

    return complete


def _type(one: Field[Any], flag: Flag) -> Any:
    """What typer reads: the field's own type where it can, else text."""
    kind = get_args(one.type)[0]
    parts = get_args(kind) if get_origin(kind) in (Union, type(int | str)) else (kind,)
    kinds = [get_origin(part) or part for part in parts if part is not NoneType]
    readable = len(kinds) == 1 and isinstance(kinds[0], type) and issubclass(kinds[0], _READ_BY_TYPER)
    if readable and flag.read is None:
        return kind
    return str | None if NoneType in parts else str


def _default(one: Field[Any], flag: Flag) -> Any:
    default = inspect.Parameter.empty if one.default is MISSING else one.default
    if flag.off:
        return not default
    return ",".join(f"{item:g}" for item in default) if isinstance(default, tuple) else default


def _options_from(options: type, values: dict[str, Any]) -> Any:
    """The options from the values of the command line, of which they are taken out."""
    arguments = {}
    for one in documented(options):
        flag = option_of(one).flag
        if flag is not None:
            value = values.pop(one.name)
            if flag.read is not None and isinstance(value, str):
                value = flag.read(value)
            arguments[one.name] = not value if flag.off else value
    return options(**arguments)


class _Helping:
    """Its ``--help`` is a flag, and shown as one."""

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.metavar = ""
        return option


class _OneCommand(_Helping, TyperCommand):
    """A command. Its files are shown as FILE.arrow…, without a Python type beside them."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        files = [one for one in self.get_params(ctx) if one.param_type_name == "argument"]
        return [
            str(self.options_metavar),
            *(one.metavar if one.required else f"[{one.metavar}]" for one in files),
        ]

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)
        for one in parameters:
            if one.param_type_name == "argument":
                one.display_type_rich = lambda *_, **__: None
        return parameters


class _AllCommands(_Helping, TyperGroup):
    """The program."""


def program(first: str | None = None) -> Any:
    """The program with the commands that there are now, ready to be run.

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
    app.callback(invoke_without_command=True)(_streamspread)
    names = [first] if first in COMMANDS.names() else COMMANDS.names()
    commands = {name: COMMANDS.get(name) for name in names if name is not None}
    for name, command in sorted(commands.items(), key=lambda item: item[1].place):
        callback = command.function() if first in (None, name) else lambda: None
        app.command(
            name, cls=_OneCommand, help=command.help, epilog=command.epilog, rich_help_panel=command.panel
        )(callback)
    group: Any = typer.main.get_command(app)
    for one in group.params:
        if getattr(one, "is_flag", False):
            one.metavar = ""  # a flag takes no value
    return group


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"streamspread {__version__}")
        raise typer.Exit()


def _streamspread(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", metavar="", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Over how many principal components do a network's feature maps spread, layer by layer?"""
    if context.invoked_subcommand is None:
        print(context.get_help())
