"""The options that commands share beside those of an analysis: network, data, what is printed or written."""

# No `from __future__ import annotations`: the fields' annotations are read while the program runs. Classes
# without comparison and text, which nobody asks for, since those take most of the time that a class takes.
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from streamspread.datasets import data_forms
from streamspread.models import model_forms
from streamspread.options import Flag, Option
from streamspread.system.text import listed

INPUT = "Network and data"
OUTPUT = "Output"


class Split(StrEnum):
    """Which part of the data."""

    train = "train"
    test = "test"
    val = "val"


class Lang(StrEnum):
    """The language of a figure or page."""

    en = "en"
    ja = "ja"


class Format(StrEnum):
    """How a result is printed."""

    table = "table"
    json = "json"
    csv = "csv"


def _models() -> list[str]:
    from streamspread.models.plans import PLANS

    return [*PLANS, *(form.partition("NAME")[0] for form in model_forms() if form.endswith(":NAME"))]


def _data() -> list[str]:
    return [form.partition("[")[0].partition("PATH")[0].partition("NAME")[0] for form in data_forms()]


@dataclass(eq=False, repr=False)
class Network:
    """Which network."""

    model: Annotated[
        str,
        Option(lambda: f"{listed(model_forms())}.", Flag(("--model", "-m"), "NAME", INPUT, choices=_models)),
    ] = "no1"
    weights: Annotated[
        str | None,
        Option(
            "A .safetensors, .pt or .pth file; default: those published; none: random ones; what a callable "
            "returns keeps its own.",
            Flag(metavar="PATH|default|none", panel=INPUT, unset="those shipped"),
        ),
    ] = None


@dataclass(eq=False, repr=False)
class Data:
    """Which images."""

    data: Annotated[
        str | None,
        Option(
            lambda: f"{listed(data_forms())}.",
            Flag(
                ("--data", "-d"),
                "SPEC",
                INPUT,
                unset="cifar10 if it is available, else patches",
                choices=_data,
            ),
        ),
    ] = None
    split: Annotated[Split, Option("Which part of the data.", Flag(panel=INPUT))] = Split.train
    samples: Annotated[
        int | None,
        Option(
            "How many images, drawn with --seed.",
            Flag(("--samples", "-n"), "N", INPUT, unset="all on a GPU, 5,000 on a CPU"),
        ),
    ] = None


@dataclass(eq=False, repr=False)
class ImageSize:
    """At which size."""

    image_size: Annotated[
        int | None,
        Option(
            "Width of the images, which are square unless the model's are not.",
            Flag(metavar="PIXELS", panel=INPUT, least=1, most=65_535, unset="what the model is made for"),
        ),
    ] = None


@dataclass(eq=False, repr=False)
class Source(ImageSize, Data, Network):
    """A network and the images that go through it."""


def images_at_most(most: int) -> Option:
    """The option of commands that take so many images unless more are asked for."""
    flag = Flag(("--samples", "-n"), "N", INPUT, unset=f"all, but at most {most:,}")
    return Option("How many images, drawn with --seed.", flag)


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
