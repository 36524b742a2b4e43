"""``streamspread layers``: the names that --layers takes."""

from __future__ import annotations

from dataclasses import fields

from streamspread.api.sources import Source
from streamspread.cli.app import Command
from streamspread.cli.arguments import Output
from streamspread.cli.terminal import progress_bars
from streamspread.options import Options

_USED = {"model", "image_size", "layers", "axes"}


def layers(source: Source, options: Options, output: Output) -> None:
    """List a network's layers with the shape and the number D of their features, and mark those that --layers
    takes; a line of run can be pasted."""
    with progress_bars(output.quiet):
        from streamspread.api.layers import layers_of_named

        found = layers_of_named(source.model, source.image_size, options.layers, options.axes)
    from rich.console import Console

    from streamspread.reports.plan_table import print_layers

    print_layers(found, Console())


COMMAND = Command(
    layers,
    (
        "streamspread layers --model no1",
        "streamspread layers --model torchvision:resnet50 --image-size 224",
        "streamspread layers --model timm:vit_tiny_patch16_224 --layers 'blocks.*.mlp.fc2'",
    ),
    place=3,
    panel="Analyse a network",
    hides=frozenset(one.name for kind in (Source, Options, Output) for one in fields(kind)) - _USED,
)
