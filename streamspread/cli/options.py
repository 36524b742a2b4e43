"""The options that commands share: name, help and group, written once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

_INPUT = "Network and data"
_METHOD = "Method"
_OUTPUT = "Output"


class Split(StrEnum):
    """Which part of the data."""

    train = "train"
    test = "test"


class Lang(StrEnum):
    """The language of a figure or page."""

    en = "en"
    ja = "ja"


class Format(StrEnum):
    """How a result is printed."""

    table = "table"
    json = "json"
    csv = "csv"


ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        rich_help_panel=_INPUT,
        help="no1 … no4, plan:64,64,M,128,128, torchvision:resnet50, or package.module:callable.",
    ),
]


def _weights(words: str) -> Any:
    return typer.Option(rich_help_panel=_INPUT, metavar="PATH|none", help=words)


WeightsOption = Annotated[
    str | None,
    _weights(
        "A .safetensors, .pt or .pth file, or none: random ones; what a callable returns keeps its own. "
        "[dim]Default: those shipped.[/dim]"
    ),
]
UnusedWeightsOption = Annotated[str | None, _weights("As of run; it changes nothing here and is not read.")]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        "-d",
        rich_help_panel=_INPUT,
        metavar="SPEC",
        help="cifar10[:ROOT], parquet:PATH, folder:PATH, patches or noise. "
        "[dim]Default: cifar10 where it is to be had, else patches.[/dim]",
    ),
]
SplitOption = Annotated[Split, typer.Option(rich_help_panel=_INPUT, help="Which part of the data.")]
SamplesOption = Annotated[
    int | None,
    typer.Option(
        "--samples",
        "-n",
        rich_help_panel=_INPUT,
        metavar="N",
        help="How many images, drawn with --seed. [dim]Default: all on a GPU, 5,000 on a CPU.[/dim]",
    ),
]
ImageSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65_535,
        rich_help_panel=_INPUT,
        metavar="PIXELS",
        help="Side of the square images. [dim]Default: what the model is made for.[/dim]",
    ),
]
LayersOption = Annotated[
    str,
    typer.Option(
        "--layers",
        "-l",
        rich_help_panel=_INPUT,
        metavar="all|GLOB,…",
        help="Layers by name, such as c1,c2.* (see [bold]streamspread layers[/bold]).",
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(rich_help_panel=_INPUT, metavar="N", help="Of the drawn images and of random weights."),
]
ThresholdsOption = Annotated[
    str,
    typer.Option(
        "--thresholds",
        "-t",
        rich_help_panel=_METHOD,
        metavar="τ,…",
        help="Fractions of the variance, in (0, 1].",
    ),
]
MethodOption = Annotated[
    str,
    typer.Option(
        rich_help_panel=_METHOD,
        metavar="NAME",
        help="covariance, gram or sketch; auto takes an exact one, unless none fits or, on a CPU, a sketch "
        "has less than half the work.",
    ),
]
RoundingOption = Annotated[
    str,
    typer.Option(
        rich_help_panel=_METHOD,
        metavar="NAME",
        help="fp16, bf16, fp32 or fp64: to what centred activations are rounded, once, before they are "
        "summed; auto is fp16 on a GPU, fp32 on a CPU.",
    ),
]
RankOption = Annotated[
    str,
    typer.Option(rich_help_panel=_METHOD, metavar="auto|L", help="Directions that a sketch keeps."),
]
WidthOption = Annotated[
    int,
    typer.Option(
        min=0,
        rich_help_panel=_METHOD,
        metavar="N",
        help="A sketch reads the data again until high − low is at most this, or --max-passes is reached.",
    ),
]
MaxPassesOption = Annotated[
    int,
    typer.Option(
        min=1, rich_help_panel=_METHOD, metavar="N", help="How often a sketch may read the data at the most."
    ),
]
NoProofOption = Annotated[
    bool,
    typer.Option("--no-proof", rich_help_panel=_METHOD, help="Skip costly proofs: faster, wider intervals."),
]
AllEigenvaluesOption = Annotated[
    bool,
    typer.Option(
        "--all-eigenvalues",
        rich_help_panel=_METHOD,
        help="Find all, not only what the thresholds need: for the whole spectrum and the effective rank.",
    ),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_METHOD,
        metavar="SIZE",
        help="Most memory to use, such as 8GiB. [dim]Default: most of what is free.[/dim]",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        rich_help_panel=_METHOD,
        metavar="auto|cpu|cuda:0",
        help="Where to compute; auto takes a GPU where PyTorch and CuPy can use one.",
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        rich_help_panel=_METHOD,
        metavar="N",
        help="Images per forward pass. [dim]Default: chosen.[/dim]",
    ),
]


def _out(words: str) -> Any:
    return typer.Option("--out", "-o", rich_help_panel=_OUTPUT, metavar="FILE.arrow", help=words)


def _format(words: str) -> Any:
    return typer.Option("--format", rich_help_panel=_OUTPUT, help=words)


OutOption = Annotated[
    Path | None, _out("Where the result goes. [dim]Default: MODEL-TIME.arrow in the current folder.[/dim]")
]
FormatOption = Annotated[Format, _format("What is printed on stdout.")]
# So that a command line of run is one of plan, or of layers, too.
UnusedOutOption = Annotated[
    Path | None, _out("As of run; it changes nothing here: a plan is written nowhere.")
]
UnusedFormatOption = Annotated[Format, _format("As of run; it changes nothing here: a plan is a table.")]
LangOption = Annotated[Lang, typer.Option(rich_help_panel=_OUTPUT, help="Language of figures and page.")]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", rich_help_panel=_OUTPUT, help="No progress and no notes on stderr."),
]
