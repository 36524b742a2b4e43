"""``streamspread layers``: the names that --layers takes."""

from __future__ import annotations

from streamspread.cli.options import ImageSizeOption, ModelOption, UnusedWeightsOption

EPILOG = """Examples:

streamspread layers --model no1

streamspread layers --model torchvision:resnet50 --image-size 224
"""


def layers(
    model: ModelOption = "no1", image_size: ImageSizeOption = None, weights: UnusedWeightsOption = None
) -> None:
    """List a network's layers with the shape and the number D of their features."""
    import torch
    from rich.console import Console

    from streamspread import models
    from streamspread.observe import taps
    from streamspread.report.tables import print_layers

    loaded = models.load(model, "none")
    size = image_size or loaded.image_size
    found = taps.list_taps(loaded.module, torch.zeros(1, 3, size, size, dtype=torch.uint8))
    print_layers([tap for tap in found if tap.observable], Console())
