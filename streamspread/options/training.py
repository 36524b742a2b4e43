"""The options of a training."""

# No `from __future__ import annotations`: the fields' annotations are read while the program runs.
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from streamspread.options.fields import Flag, Option, split_names

RECIPE, SPREADING = "Recipe", "Spreading"


def read_target(text: str) -> str | float | None:
    """``none``, or a number as such, any other text as it is: the recipe says which are wrong."""
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        return text


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What a training can be told; :class:`streamspread.training.Recipe` checks it."""

    epochs: Annotated[int, Option("Times that every image is seen.", Flag(metavar="N", panel=RECIPE))] = 24
    batch_size: Annotated[int, Option("Images per step.", Flag(metavar="N", panel=RECIPE))] = 512
    lr: Annotated[
        float | None,
        Option(
            "Peak learning rate.",
            Flag(metavar="X", panel=RECIPE, unset="0.4; with --average, where it is constant, 0.1"),
        ),
    ] = None
    label_smoothing: Annotated[
        float, Option("Label smoothing, in [0, 1).", Flag(metavar="X", panel=RECIPE))
    ] = 0.0
    average: Annotated[
        bool,
        Option(
            "Take the mean of the weights of all steps; needs --weights.", Flag(("--average",), panel=RECIPE)
        ),
    ] = False
    precision: Annotated[
        str,
        Option(
            "Precision of the products; auto: bf16 where the device multiplies it natively.",
            Flag(metavar="auto|bf16|fp32", panel=RECIPE),
        ),
    ] = "auto"
    seed: Annotated[
        int, Option("Seed for weights, order and augmentation.", Flag(metavar="N", panel=RECIPE))
    ] = 0
    spread_layers: Annotated[
        Sequence[str],
        Option(
            "Layers that a term of the loss spreads over more directions, such as c5,c6.",
            Flag(metavar="GLOB,…", panel=SPREADING, read=split_names, unset="none"),
        ),
    ] = ()
    spread_weight: Annotated[
        float,
        Option("Weight of that term; below 0 it narrows the layers.", Flag(metavar="X", panel=SPREADING)),
    ] = 0.1
    spread_target: Annotated[
        str | float | None,
        Option(
            "Participation ratio at which it stops: that of the layer before, a number, or none.",
            Flag(metavar="previous|none|X", panel=SPREADING, read=read_target),
        ),
    ] = "previous"
    spread_kind: Annotated[
        str,
        Option(
            "participation, participation-with-diagonal, effective-rank, coding-rate, vicreg, decov or "
            "within-classes.",
            Flag(metavar="NAME", panel=SPREADING),
        ),
    ] = "participation"
