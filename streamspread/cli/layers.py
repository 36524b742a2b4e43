"""``streamspread layers``: the names that --layers takes."""

from __future__ import annotations

from typing import Annotated

import typer

from streamspread.cli.options import INPUT_PANEL, ImageSizeOption, ModelOption

EPILOG = """Examples:

streamspread layers --model no1

streamspread layers --model torchvision:resnet50 --image-size 224
"""


def layers(
    model: ModelOption = "no1",
    image_size: ImageSizeOption = None,
    weights: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=INPUT_PANEL,
            metavar="PATH|none",
            help="As of run; it changes nothing here and is not read.",
        ),
    ] = None,
) -> None:
    """List a network's layers with the shape and the number D of their features."""
    import torch
    from rich.console import Console

    from streamspread import models, taps
    from streamspread.report.tables import print_layers

    loaded = models.load(model, "none")
    size = image_size or loaded.image_size
    found = taps.list_taps(loaded.module, torch.zeros(1, 3, size, size, dtype=torch.uint8))
    print_layers([tap for tap in found if tap.observable], Console())
