"""What a layer holds, besides over how many directions it spreads: noise, classes, the image itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from streamspread.datasets import Labelled
from streamspread.observe.network import named
from streamspread.training import Callbacks, Output, Recipe, TrainResult, train

NOISE = 0.04  # deviation of the noise on pixels, as a share of their range
_BATCH = 250
_RIDGES = tuple(10.0**power for power in range(-5, 2))  # λ, as a share of the mean eigenvalue


@dataclass(frozen=True)
class Held:
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


def held(
    network: nn.Module, layers: Sequence[str], fitted: Labelled, others: Labelled, seed: int = 0
) -> dict[str, Held]:
    """What layers hold, by name; each in turn is held in memory, with all its numbers of all images.

    Args:
        network: in eval mode; takes uint8 images. ``layers``: modules' names.
        fitted: images from which regressions are fitted, λ by the last fifth of them. ``others``: on which
            all is measured.
    """
    one, two = noisy(others.images, seed), noisy(others.images, seed + 1)
    found = {}
    for layer in layers:
        a, b = (rows(network, layer, images) for images in (one, two))
        x, y = (rows(network, layer, images) for images in (fitted.images, others.images))
        image, probe = _told(x.flatten(1), y.flatten(1), fitted, others)
        found[layer] = Held(
            noise=_noise_share(a.flatten(1), b.flatten(1)),
            mean=_mean_share(y),
            image=image,
            probe=probe,
        )
    return found


def rows(network: nn.Module, layer: str, images: Tensor) -> Tensor:
    """A layer's output, float32 (N, C, P), for P places of a feature map, on the CPU."""
    kept: list[Tensor] = []
    device = next(network.parameters()).device

    def see(_: nn.Module, inputs: object, output: Tensor) -> None:
        kept.append(output.detach().flatten(2 if output.ndim > 2 else 1).float().cpu())

    handle = dict(named(network))[layer].register_forward_hook(see)
    try:
        with torch.inference_mode():
            for batch in images.split(_BATCH):
                network(batch.to(device))
    finally:
        handle.remove()
    x = torch.cat(kept)
    return x if x.ndim > 2 else x[..., None]


def _noise_share(a_ND: Tensor, b_ND: Tensor) -> float:
    """½ E‖a − b‖² as a share of the variance of both."""
    within = (a_ND - b_ND).double().square().sum() / (2 * len(a_ND))
    both = torch.stack([_variance(a_ND), _variance(b_ND)]).mean()
    return float(within / both)


def _mean_share(x_NCP: Tensor) -> float:
    return float(x_NCP.shape[2] * _variance(x_NCP.mean(2)) / _variance(x_NCP))


def _variance(x_N: Tensor) -> Tensor:
    return (x_N - x_N.mean(0)).square().sum(dtype=torch.float64) / len(x_N)


def _told(x: Tensor, y: Tensor, fitted: Labelled, others: Labelled) -> tuple[float, float]:
    """R² of the pixels, and the share of classes, that regressions tell."""
    ridge = Ridge(x, y)
    truth = others.images.flatten(1).double() / 255
    given = ridge.told(fitted.images.flatten(1).double() / 255)
    image = 1 - (truth - given).square().sum() / (truth - truth.mean(0)).square().sum()
    classes = ridge.told(torch.nn.functional.one_hot(fitted.labels).double()).argmax(1)
    return float(image), float((classes == others.labels).double().mean())


class Ridge:
    """Ridge regressions from x at y, for any wanted numbers; λ has the least error on the last fifth of x.

    By inner products, in float64 behind them, which are N x N where D is far more, and two decompositions.

    Args:
        x_ND, y_MD: float32.
    """

    def __init__(self, x_ND: Tensor, y_MD: Tensor) -> None:
        centre = x_ND.mean(0)
        x_ND, y_MD = x_ND - centre, y_MD - centre
        gram = (x_ND @ x_ND.T).double()
        self.fitted = len(x_ND) - len(x_ND) // 5
        self._part = _Solved(gram[: self.fitted, : self.fitted], gram[self.fitted :, : self.fitted])
        self._all = _Solved(gram, (y_MD @ x_ND.T).double())

    def told(self, wanted_NT: Tensor) -> Tensor:
        """What is wanted of x, (N, T) float64, at y: (M, T)."""
        kept, truth = wanted_NT[: self.fitted], wanted_NT[self.fitted :]
        errors = [float((given - truth).square().sum()) for given in self._part.told(kept, _RIDGES)]
        (given,) = self._all.told(wanted_NT, [_RIDGES[errors.index(min(errors))]])
        return given


class _Solved:
    """A decomposition of N inner products, and those with others, (M, N), turned by it."""

    def __init__(self, gram: Tensor, cross: Tensor) -> None:
        self.values, self.vectors = torch.linalg.eigh(gram)
        self.cross = cross @ self.vectors

    def told(self, wanted_NT: Tensor, ridges: Sequence[float]) -> Iterator[Tensor]:
        mean = wanted_NT.mean(0)
        turned = self.vectors.T @ (wanted_NT - mean)
        for ridge in ridges:
            lowered = self.values.clamp_min(0) + ridge * self.values.mean()
            yield self.cross @ (turned / lowered[:, None]) + mean


def last_epoch(
    model: str,
    images: tuple[Labelled, Labelled],
    recipe: Recipe,
    device: torch.device,
    callbacks: Callbacks | None = None,
    checkpoint: Path | None = None,
) -> TrainResult:
    """A training with the network of its last epoch; nothing chooses an epoch. ``images``: to train, to test.

    Raises:
        KeyboardInterrupt: it was interrupted. Else as :func:`streamspread.training.train`.
    """
    output = Output(keep="last", checkpoint=checkpoint)
    result = train(model, *images, recipe, device=device, output=output, callbacks=callbacks)
    if result.interrupted:
        raise KeyboardInterrupt
    return result
