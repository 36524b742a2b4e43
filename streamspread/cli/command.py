"""A command from a function: a parameter whose type is a class of options becomes a flag for each of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Union, get_args, get_origin

import typer

from streamspread.options import Flag, documented, option_of
from streamspread.system.registry import Registry

COMMANDS: Registry[Command] = Registry("streamspread.cli.commands", "COMMAND")

_READ_BY_TYPER = (bool, int, float, str, Path, list)


@dataclass(frozen=True)
class Command:
    """A command of the program.

    Attributes:
        body: what it does; its docstring is the help. Classes of options among its parameters are spread into
            flags, and made of what was given.
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
    def _help(self) -> str:
        """One line, which a terminal folds."""
        return " ".join((self.body.__doc__ or "").split())

    def listed(self) -> Callable[[], None]:
        """Name and help alone."""

        def stand_in() -> None: ...

        stand_in.__doc__ = self._help
        return stand_in

    def function(self, instead: Mapping[type, type] | None = None) -> Callable[..., None]:
        """The body as typer reads it; ``instead``: other classes of options in place of the body's."""
        spread: dict[str, type] = {}
        parameters: list[inspect.Parameter] = []
        # Classes of options come without default, and what typer reads itself may have any.
        for parameter in inspect.signature(self.body, eval_str=True).parameters.values():
            kind = (instead or {}).get(parameter.annotation, parameter.annotation)
            if is_dataclass(kind) and isinstance(kind, type):
                spread[parameter.name] = kind
                parameters += flags(kind, self.hides)
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        def through(**given: Any) -> None:
            groups = {name: _made(options, given) for name, options in spread.items()}
            self.body(**given, **groups)

        through.__doc__, through.__name__ = self._help, self.body.__name__
        through.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
        )
        return through


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
    plain = [part for part in parts if part is not NoneType]
    readable = len(plain) == 1 and isinstance(get_origin(plain[0]) or plain[0], type)
    if (
        flag.read is None
        and readable
        and issubclass(get_origin(plain[0]) or plain[0], (*_READ_BY_TYPER, Enum))
    ):
        return kind
    return str | None if NoneType in parts else str


def _default(one: Field[Any], flag: Flag) -> Any:
    default = inspect.Parameter.empty if one.default is MISSING else one.default
    if flag.off:
        return not default
    return ",".join(f"{item:g}" for item in default) if isinstance(default, tuple) else default


def _made(options: type, given: dict[str, Any]) -> Any:
    """The options from what was given on the command line, which is used up."""
    values = {}
    for one in documented(options):
        flag = option_of(one).flag
        if flag is not None:
            value = given.pop(one.name)
            if flag.read is not None and isinstance(value, str):
                value = flag.read(value)
            values[one.name] = not value if flag.off else value
    return options(**values)
