"""A training between its epochs: steps of SGD on augmented images, and the mean of the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, update_bn

from streamspread.models.network import Network
from streamspread.training.recipe import MOMENTUM, WEIGHT_DECAY, Recipe

CROP = 4  # pixels by which an image is shifted at the most, each way; its edges are mirrored
STATISTICS_BATCHES = 20  # from which batch norm's statistics under averaged weights are computed


class Split:
    """Images, uint8 (N, 3, H, W) as channels_last, and labels, int64 (N,), on the device."""

    def __init__(self, images: Tensor, labels: Tensor, device: torch.device) -> None:
        self.images = images.to(device).contiguous(memory_format=torch.channels_last)
        self.labels = labels.to(device)


class Trainer:
    """A network in training, with its optimizer, random generator and the number of steps taken.

    Args:
        network: on the device of the split; its weights change.
        autocast: makes the context of a forward pass.
    """

    def __init__(
        self,
        network: Network,
        split: Split,
        recipe: Recipe,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.network, self.split, self.recipe, self.autocast = network, split, recipe, autocast
        self.device = split.labels.device
        self.batch_size = min(recipe.batch_size, len(split.labels))
        # A short last batch is left out: for another size cuDNN would search for an algorithm again.
        self.steps_per_epoch = len(split.labels) // self.batch_size
        self.steps, self.step = recipe.epochs * self.steps_per_epoch, 0
        self.generator = torch.Generator(self.device).manual_seed(recipe.seed)
        matrices = [p for p in network.parameters() if p.ndim > 1]
        vectors = [p for p in network.parameters() if p.ndim <= 1]  # biases and batch norm: no weight decay
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": WEIGHT_DECAY},
            {"params": vectors},
        ]
        self.optimizer = torch.optim.SGD(
            groups,
            lr=recipe.peak,
            momentum=MOMENTUM,
            nesterov=True,
            fused=self.device.type == "cuda",
        )
        self.mean: AveragedModel | None = None
        if recipe.average:
            self.mean = AveragedModel(network, multi_avg_fn=self._average)
        self.spread = recipe.spreading(network)

    def run_epoch(self, on_batch: Callable[[int, int], None] | None = None) -> float:
        """Take every image once, in a new order; return the mean loss, without any term that spreads layers.

        To read it is the only wait for the device.
        """
        self.network.train()
        order = torch.randperm(len(self.split.labels), device=self.device, generator=self.generator)
        total = torch.zeros((), device=self.device)
        for chosen in order.split(self.batch_size)[: self.steps_per_epoch]:
            with self.autocast():
                logits = self.network(self._augmented(chosen))
                labels = self.split.labels[chosen]
                loss = functional.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
            for parameters in self.optimizer.param_groups:
                parameters["lr"] = self.recipe.rate(self.step, self.steps)
            self.optimizer.zero_grad(set_to_none=True)
            (loss if self.spread is None else loss + self.spread(labels)).backward()
            self.optimizer.step()
            if self.mean is not None:
                self.mean.update_parameters(self.network)
            self.step += 1
            total += loss.detach()
            if on_batch is not None:
                on_batch(self.step * self.batch_size, self.steps * self.batch_size)
        return float(total) / self.steps_per_epoch

    def close(self) -> None:
        """Take off the network what the training put on it."""
        if self.spread is not None:
            self.spread.close()

    def trained(self) -> Network:
        """The network as trained so far; where weights are averaged, another one with their mean."""
        if self.mean is None:
            return self.network
        network = self.mean.module
        assert isinstance(network, Network)
        # Activations under averaged weights have other means and variances than under those of any step.
        chosen = torch.randperm(len(self.split.labels), device=self.device, generator=self.generator)
        batches = chosen.split(self.batch_size)[: min(STATISTICS_BATCHES, self.steps_per_epoch)]
        with self.autocast():
            update_bn((self._augmented(batch) for batch in batches), network)
        return network

    @torch.no_grad()
    def _average(self, means: Sequence[Tensor], newest: Sequence[Tensor], _: Tensor | int) -> None:
        # torch's own averaging reads its count from the device, and so waits for it at every step.
        for mean, value in zip(means, newest, strict=True):
            mean.lerp_(value, 1 / (self.step + 1))

    def _augmented(self, chosen: Tensor) -> Tensor:
        return augment(self.split.images, chosen, self.generator)


def augment(images: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """The chosen images, each shifted by up to CROP pixels each way, half of them mirrored.

    They are read with one index: for each image, row and column numbers are drawn and reflected at the edges.

    Args:
        images: uint8 (N, 3, H, W), channels_last. ``chosen``: int64 (B,).

    Returns:
        uint8 (B, 3, H, W), channels_last.
    """
    x_NHWC = images.permute(0, 2, 3, 1)
    count, (height, width) = len(chosen), x_NHWC.shape[1:3]
    device = images.device

    def draw(high: int) -> Tensor:
        return torch.randint(0, high, (count, 1), device=device, generator=generator)

    rows = _reflected(torch.arange(height, device=device) + draw(2 * CROP + 1) - CROP, height)
    columns = _reflected(torch.arange(width, device=device) + draw(2 * CROP + 1) - CROP, width)
    columns = torch.where(draw(2) == 1, width - 1 - columns, columns)
    return x_NHWC[chosen[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _reflected(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)
