"""What is said of an option: in words, and how the command line writes and reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, dataclass, fields
from typing import Any, get_args

from streamspread.errors import OptionError


@dataclass(frozen=True, eq=False, repr=False)
class Flag:
    """How the command line writes an option; one without a flag is for callers from Python alone.

    Attributes:
        names: ``--rank`` and the like; none: made from the field's name.
        metavar: what stands for the value in the help.
        panel: the part of the help that it belongs to.
        least, most: the smallest and the largest whole number that is taken.
        read: from the text to the value; None: as the field's type says.
        unset: what happens where it is not given, if the default does not say.
        off: the flag turns off what is on by default, and ``help`` says what that does.
        choices: what a shell may complete a value to.
        help: in place of the option's own text, where that would not fit.
    """

    names: tuple[str, ...] = ()
    metavar: str | None = None
    panel: str | None = "Method"
    least: int | None = None
    most: int | None = None
    read: Callable[[str], Any] | None = None
    unset: str = ""
    off: bool = False
    help: str = ""
    choices: Callable[[], Sequence[str]] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Option:
    """What an option does, and its flag; stands in a field's annotation.

    ``about`` is a function where it names what a registry holds.
    """

    about: str | Callable[[], str]
    flag: Flag | None = None

    @property
    def text(self) -> str:
        return self.about if isinstance(self.about, str) else self.about()


def option_of(one: Field[Any]) -> Option:
    """The documentation of a field."""
    return next(part for part in get_args(one.type) if isinstance(part, Option))


def documented(options: type) -> Iterator[Field[Any]]:
    """The fields that are options, in the order of the help: a class's own before what it takes over."""
    those = [one for one in fields(options) if any(isinstance(part, Option) for part in get_args(one.type))]
    inherited = {name for base in options.__mro__[1:] for name in getattr(base, "__dataclass_fields__", ())}
    yield from sorted(those, key=lambda one: one.name in inherited)


def split_names(text: str) -> list[str]:
    """Comma-separated texts without surrounding spaces or empty ones."""
    return [name for part in text.split(",") if (name := part.strip())]


def read_layers(text: str) -> str | list[str]:
    """``all`` as it is, else the comma-separated globs; OptionError for none."""
    names = split_names(text)
    if not names:
        raise OptionError("no layer given: --layers takes all, or names and globs such as c1,c2.*")
    return "all" if names == ["all"] else names


def read_thresholds(text: str) -> tuple[float, ...]:
    """``0.7,0.9`` as numbers; OptionError outside (0, 1]."""
    from streamspread.results.spectrum import check_thresholds

    return check_thresholds(split_names(text))


def read_number(text: str) -> str | int:
    """A whole number as such, any other text as it is: the option's own check says which are wrong."""
    try:
        return int(text)
    except ValueError:
        return text
