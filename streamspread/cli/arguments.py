"""The options that commands share beside what is run: what is printed, and what is written."""

# No `from __future__ import annotations`: the fields' annotations are read while the program runs. Classes
# without comparison and text, which nobody asks for, since those take most of the time that a class takes.
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from streamspread.options import Flag, Option
from streamspread.system.text import file_stem

OUTPUT = "Output"


class Lang(StrEnum):
    """The language of a figure or page."""

    en = "en"
    ja = "ja"


class Format(StrEnum):
    """How a result is printed."""

    table = "table"
    json = "json"
    csv = "csv"


@dataclass(eq=False, repr=False)
class Quiet:
    """What is said on the way."""

    quiet: Annotated[
        bool, Option("No progress and no notes on stderr.", Flag(("--quiet", "-q"), panel=OUTPUT))
    ] = False


@dataclass(eq=False, repr=False)
class Language:
    """In which language."""

    lang: Annotated[Lang, Option("Language of figures and page.", Flag(panel=OUTPUT))] = Lang.en


@dataclass(eq=False, repr=False)
class Printed:
    """What a result is printed as."""

    columns: Annotated[
        str | None,
        Option(
            "What the table shows, as layer,dim,components,share; an unknown name lists all. Of csv and "
            "json: their fields.",
            Flag(metavar="NAME,…", panel=OUTPUT, unset="those that fit"),
        ),
    ] = None

    form: Annotated[Format, Option("What is printed on stdout.", Flag(("--format",), panel=OUTPUT))] = (
        Format.table
    )


@dataclass(eq=False, repr=False)
class Output(Quiet, Printed):
    """Where a result goes."""

    out: Annotated[
        Path | None,
        Option(
            "Where the result goes.",
            Flag(("--out", "-o"), "FILE.arrow", OUTPUT, unset="MODEL-TIME.arrow in the current folder"),
        ),
    ] = None


def dated_name(model: str, suffix: str) -> Path:
    """A file in the current folder named after the model and the time, as no1-20260131-235959.arrow.

    Another command of the same second has the same: store.place gives one of them another.
    """
    plain = file_stem(re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-."))
    return Path(f"{plain}-{datetime.now(UTC):%Y%m%d-%H%M%S}{suffix}")
