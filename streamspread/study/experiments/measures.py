"""A training that is measured, and what its layers hold: directions, noise, classes, the image itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.utils.data import TensorDataset

from streamspread.api.analyze import analyze
from streamspread.models.network import Network
from streamspread.training import Callbacks, Labelled, Output, Recipe, TrainResult, identity, train

TAU = 0.7
NOISE = 0.04  # deviation of the noise on pixels, as a share of their range
_BATCH = 250
_RIDGES = tuple(10.0**power for power in range(-5, 2))  # λ, as a share of the mean eigenvalue


@dataclass(frozen=True)
class TrainingTask:
    """A training of which the last epoch's network is measured; nothing chooses an epoch.

    ``model``: no1 … no4 or ``plan:…``; the rest as of :func:`streamspread.training.train`.
    """

    model: str
    train: Labelled
    test: Labelled
    recipe: Recipe
    device: torch.device

    def identity(self) -> dict[str, Any]:
        """Everything that the result depends on, as JSON holds it."""
        return identity(self.model, self.train, self.test, self.recipe, self.device)

    def run(self, callbacks: Callbacks | None = None, checkpoint: Path | None = None) -> TrainResult:
        """Raises KeyboardInterrupt where it was interrupted; else as :func:`streamspread.training.train`."""
        result = train(
            self.model,
            self.train,
            self.test,
            self.recipe,
            device=self.device,
            output=Output(keep="last", checkpoint=checkpoint),
            callbacks=callbacks,
        )
        if result.interrupted:
            raise KeyboardInterrupt
        return result


def first(images: Labelled, count: int) -> Labelled:
    """The first so many images."""
    return images._replace(images=images.images[:count], labels=images.labels[:count])


def measure_spread(network: Network, images: Labelled, device: torch.device) -> dict[str, dict[str, Any]]:
    """D, K(0.7), participation ratio and the share between classes of each layer, as JSON holds them."""
    spectra = analyze(
        network,
        TensorDataset(images.images, images.labels),
        network.default_layers,
        (TAU,),
        classes=True,
        estimate=False,
        device=device,
    )
    return {
        name: {
            "dim": layer.dim,
            "components": [int(end) for end in layer.components(TAU)],
            "participation": layer.participation_ratio_unbiased,
            "between": None if layer.classes is None else layer.classes.between_share,
        }
        for name, layer in spectra.items()
    }


@dataclass(frozen=True)
class LayerContent:
    """What a layer holds.

    Attributes:
        noise: the share of the variance of a layer's output, given images with noise, that differs between
            two draws of that noise on the same image.
        mean: the share of the variance that lies in channels' spatial means.
        image: R² of the image's pixels, reconstructed by ridge regression, on images not fitted.
        probe: the share of images not fitted whose class a ridge regression on one-hot labels tells.
    """

    noise: float
    mean: float
    image: float
    probe: float


def noisy(images: Tensor, seed: int) -> Tensor:
    """Images, uint8, with normal noise of deviation NOISE of the range added, rounded and clipped."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator) * (255 * NOISE)
    return (images.float() + noise).round().clamp(0, 255).to(torch.uint8)


def measure_content(
    network: nn.Module, layers: Sequence[str], fitted: Labelled, others: Labelled
) -> dict[str, LayerContent]:
    """What layers hold, by name; each in turn is held in memory, with all its numbers of all images.

    Args:
        network: in eval mode; takes uint8 images. ``layers``: modules' names.
        fitted: images from which regressions are fitted, λ by the last fifth of them. ``others``: on which
            all is measured.
    """
    draws = [noisy(others.images, seed) for seed in (0, 1)]
    pixels, truth = (images.images.flatten(1).double() / 255 for images in (fitted, others))
    content = {}
    for layer in layers:
        a_ND, b_ND = (_outputs(network, layer, images).flatten(1) for images in draws)
        x_NCP, y_NCP = (_outputs(network, layer, images.images) for images in (fitted, others))
        x_ND, y_ND = x_NCP.flatten(1), y_NCP.flatten(1)
        between_draws = (a_ND - b_ND).double().square().sum() / (2 * len(a_ND))
        reconstructed = ridge(x_ND, y_ND, pixels)
        classes = ridge(x_ND, y_ND, one_hot(fitted.labels).double()).argmax(1)
        unexplained = (truth - reconstructed).square().sum() / (truth - truth.mean(0)).square().sum()
        content[layer] = LayerContent(
            noise=float(2 * between_draws / (_variance(a_ND) + _variance(b_ND))),
            mean=float(y_NCP.shape[2] * _variance(y_NCP.mean(2)) / _variance(y_NCP)),
            image=1 - float(unexplained),
            probe=float((classes == others.labels).double().mean()),
        )
    return content


def _outputs(network: nn.Module, layer: str, images: Tensor) -> Tensor:
    """A layer's output, float32 (N, C, P), for P places of a feature map, on the CPU."""
    kept: list[Tensor] = []
    device = next(network.parameters()).device

    def see(_: nn.Module, inputs: object, output: Tensor) -> None:
        kept.append(output.detach().flatten(2 if output.ndim > 2 else 1).float().cpu())

    handle = network.get_submodule(layer).register_forward_hook(see)
    try:
        with torch.inference_mode():
            for batch in images.split(_BATCH):
                network(batch.to(device))
    finally:
        handle.remove()
    x = torch.cat(kept)
    return x if x.ndim > 2 else x[..., None]


def _variance(x_N: Tensor) -> Tensor:
    return (x_N - x_N.mean(0)).square().sum(dtype=torch.float64) / len(x_N)


def ridge(x_ND: Tensor, y_MD: Tensor, wanted_NT: Tensor) -> Tensor:
    """What is wanted of x, (N, T) float64, as a ridge regression tells it of y: (M, T).

    λ has the least error on the last fifth of x. The regression is by inner products, which are N x N where D
    is far more, float32 summed and float64 behind that.
    """
    centre = x_ND.mean(0)
    x_ND, y_MD = x_ND - centre, y_MD - centre
    gram, cross = (x_ND @ x_ND.T).double(), (y_MD @ x_ND.T).double()
    count = len(x_ND) - len(x_ND) // 5

    def predict(gram: Tensor, cross: Tensor, wanted: Tensor, share: float) -> Tensor:
        penalty = share * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        return cross @ torch.linalg.solve(gram + penalty, wanted - wanted.mean(0)) + wanted.mean(0)

    def error(share: float) -> float:
        told = predict(gram[:count, :count], gram[count:, :count], wanted_NT[:count], share)
        return float((told - wanted_NT[count:]).square().sum())

    return predict(gram, cross, wanted_NT, min(_RIDGES, key=error))
