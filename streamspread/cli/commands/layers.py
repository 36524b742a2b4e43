"""``streamspread layers``: the names that --layers takes."""

# No `from __future__ import annotations`: the fields' annotations are read while the program runs.
from dataclasses import dataclass
from typing import Annotated

from streamspread.cli.arguments import INPUT, ImageSize, Network
from streamspread.cli.command import Command
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
    from rich.console import Console

    from streamspread import models
    from streamspread.api.layers import example_of
    from streamspread.api.layers import layers as layers_of
    from streamspread.report.tables import print_layers

    loaded = models.load(subject.model, "none")
    example = example_of(loaded, subject.image_size or loaded.image_size)
    print_layers(layers_of(loaded.module, example), Console())


COMMAND = Command(
    layers,
    (
        "streamspread layers --model no1",
        "streamspread layers --model torchvision:resnet50 --image-size 224",
        "streamspread layers --model timm:vit_tiny_patch16_224",
    ),
    place=3,
)
