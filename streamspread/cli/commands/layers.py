"""``streamspread layers``: the names that --layers takes."""

# No `from __future__ import annotations`: the fields' annotations are read while the program runs.
from dataclasses import dataclass
from typing import Annotated

from streamspread.cli.arguments import INPUT, ImageSize, Network
from streamspread.cli.command import Command
from streamspread.errors import ModelError
from streamspread.options import Flag, Option


@dataclass(eq=False, repr=False)
class Subject(ImageSize, Network):
    """Which network, at which size."""

    weights: Annotated[
        str | None,
        Option(
            "Accepted so that a run line can be pasted; ignored.",
            Flag(metavar="PATH|default|none", panel=INPUT),
        ),
    ] = None


def layers(subject: Subject) -> None:
    """List a network's layers with the shape and the number D of their features."""
    import torch
    from rich.console import Console

    from streamspread import models
    from streamspread.observe.taps import list_taps
    from streamspread.report.tables import print_layers

    loaded = models.load(subject.model, "none")
    size = subject.image_size or loaded.image_size
    if loaded.takes == "images":
        example = torch.zeros(1, 3, size, size, dtype=torch.uint8)
    elif loaded.example is not None:
        example = loaded.example
    else:
        raise ModelError(
            f"{loaded.name} takes {loaded.takes}, of which no example is known: from Python, "
            "streamspread.plan(model, data) tells its layers"
        )
    taps = list_taps(loaded.module, example)
    print_layers([tap for tap in taps if tap.observable], Console())


COMMAND = Command(
    layers,
    (
        "streamspread layers --model no1",
        "streamspread layers --model torchvision:resnet50 --image-size 224",
        "streamspread layers --model timm:vit_tiny_patch16_224",
    ),
    place=3,
)
