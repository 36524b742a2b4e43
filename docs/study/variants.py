"""K of what is made of a layer's output: standardised features, one position, what its means leave.

``standardised.c5``: each number of c5 from its mean, over its standard deviation. ``centre.c5``: the channels
at one position, the middle one. ``differences.c5``: c5 less each channel's mean over its image's positions.

    python -m docs.study.variants --model no1 --data parquet:PATH --out no1-variants.arrow
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

import streamspread
from streamspread import models

LAYERS = ("c4", "c5", "c6")
SAMPLES = 5_000  # as `streamspread run` takes on a CPU
_BATCH = 250


class Standardise(nn.Module):
    """(x − mean)/deviation, feature by feature; a feature that never changes is 0.

    Args:
        count: of samples. ``shift``: what was taken off each. ``sums``, ``squares``: then Σx and Σx². All of
            one sample's shape, float64.
    """

    def __init__(self, count: int, shift: torch.Tensor, sums: torch.Tensor, squares: torch.Tensor) -> None:
        super().__init__()
        variance = (squares - sums.square() / count) / (count - 1)
        # Below float32's roundings there is no deviation to divide by.
        changes = variance > 1e-12 * squares.max() / count
        self.register_buffer("mean", (shift + sums / count).float())
        self.register_buffer("scale", torch.where(changes, variance.clamp_min(1e-300).rsqrt(), 0.0).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) * self.scale


class Centre(nn.Module):
    """The channels at the middle position of a map (N, C, H, W)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, x.shape[2] // 2, x.shape[3] // 2]


class Differences(nn.Module):
    """What a map's means over its positions leave of it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - x.double().mean((2, 3), keepdim=True).to(x.dtype)


class Beside(nn.Module):
    """A network beside which modules are given its layers' outputs: ``parts[kind][layer]``."""

    def __init__(self, network: nn.Module, parts: Mapping[str, Mapping[str, nn.Module]]) -> None:
        super().__init__()
        self.network, self.kinds = network, tuple(parts)
        self.layers = tuple(dict.fromkeys(layer for those in parts.values() for layer in those))
        for kind, those in parts.items():
            self.add_module(kind, nn.ModuleDict(those))
        self._outputs = watched(network, self.layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images)
        for layer in self.layers:
            output = self._outputs.pop(layer)
            for kind in self.kinds:
                those = getattr(self, kind)
                if layer in those:
                    those[layer](output)
        return logits


def watched(network: nn.Module, layers: Sequence[str]) -> dict[str, torch.Tensor]:
    """A dictionary into which each forward of the network puts these layers' outputs."""
    outputs: dict[str, torch.Tensor] = {}

    def keeping(layer: str) -> Callable[[nn.Module, Any, torch.Tensor], None]:
        return lambda module, given, output: outputs.__setitem__(layer, output)

    for layer in layers:
        network.get_submodule(layer).register_forward_hook(keeping(layer))
    return outputs


@torch.no_grad()
def statistics(
    network: nn.Module, batches: Iterable[torch.Tensor], layers: Sequence[str]
) -> dict[str, Standardise]:
    """The standardisation of each layer, from one pass of the batches."""
    outputs, count = watched(network, layers), 0
    shift: dict[str, torch.Tensor] = {}
    sums: dict[str, torch.Tensor] = {}
    squares: dict[str, torch.Tensor] = {}
    for images in batches:
        network(images)
        count += len(images)
        for layer in layers:
            x = outputs.pop(layer).double()
            x -= shift.setdefault(layer, x.mean(0))
            sums[layer] = x.sum(0) + sums.get(layer, 0.0)
            squares[layer] = x.square().sum(0) + squares.get(layer, 0.0)
    return {layer: Standardise(count, shift[layer], sums[layer], squares[layer]) for layer in layers}


def variants(
    model: str, data: Any, weights: str | None = None, layers: Sequence[str] = LAYERS, **options: Any
) -> streamspread.Spectra:
    """The spectra of every kind of every layer; arguments as of ``streamspread.analyze``."""
    scaled = statistics(models.load(model, weights).module, data.batches(_BATCH), layers)
    parts = {
        "standardised": scaled,
        "centre": {layer: Centre() for layer in layers},
        "differences": {layer: Differences() for layer in layers},
    }
    taps = [f"{kind}.{layer}" for kind in parts for layer in layers]
    network = Beside(models.load(model, weights).module, parts)
    return streamspread.analyze(network, data, taps, device="cpu", **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", default="no1", help="no1 to no4")
    parser.add_argument("--data", default="patches", help="as for `streamspread run`")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--out", required=True, help="the .arrow file")
    options = parser.parse_args()
    try:
        data = streamspread.data(options.data, samples=options.samples, image_size=32)
        spectra = variants(options.model, data, thresholds=(0.7,))
        streamspread.write(spectra, options.out)
    except streamspread.StreamspreadError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    for name, layer in spectra.items():
        print(f"{name}: K(0.7) = {layer.components(0.7)}")


if __name__ == "__main__":
    main()
