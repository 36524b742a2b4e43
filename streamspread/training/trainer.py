"""A training between its epochs: steps of SGD on augmented images, and the mean of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, update_bn

from streamspread.models.network import Network
from streamspread.system.tensors import below
from streamspread.training.recipe import MOMENTUM, WEIGHT_DECAY, Recipe

CROP = 4  # pixels by which an image is shifted at the most, each way; its edges are mirrored
EVALUATION_BATCH = 1000  # images
STATISTICS_BATCHES = 20  # from which batch norm's statistics under averaged weights are computed


Weights = dict[str, Tensor]


class Split:
    """Images, uint8 (N, 3, H, W) as channels_last, and labels, int64 (N,), on the device."""

    def __init__(self, images: Tensor, labels: Tensor, device: torch.device) -> None:
        self.images = images.to(device).contiguous(memory_format=torch.channels_last)
        self.labels = labels.to(device)


@dataclass(frozen=True)
class EpochReport:
    """What an epoch came to: mean loss, accuracies on the test split (0 to 1), seconds since the start."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    best_accuracy: float
    seconds: float


@dataclass
class TrainingProgress:
    """How far a training is, beside its trainer.

    Attributes:
        keep: "best" or "last", the epoch whose weights are kept.
        history: the report of every epoch that ended.
        best, last: the state of the best of these, and of the last: one object where that is the best.
        seconds: that the training took before this process.
    """

    keep: str = "best"
    history: list[EpochReport] = field(default_factory=list)
    best: Weights = field(default_factory=dict)
    last: Weights = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def best_epoch(self) -> int:
        """From 1: the first of those with the highest accuracy, or the last."""
        if self.keep == "last":
            return len(self.history)
        return 1 + max(range(len(self.history)), key=lambda i: self.history[i].accuracy)

    @property
    def best_accuracy(self) -> float:
        return max((report.accuracy for report in self.history), default=-1.0)

    def ended(self, report: EpochReport, state: Mapping[str, Tensor]) -> None:
        """An epoch ended; ``state``: of its network, which is copied."""
        self.last = {key: value.clone() for key, value in state.items()}
        if self.keep == "last" or report.accuracy > self.best_accuracy:
            self.best = self.last
        self.history.append(report)


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
        # Of the epoch at hand: the order of its images, None where none has begun; the number of batches that
        # were taken of it, and the sum of their losses.
        self._order: Tensor | None = None
        self._at, self._total = 0, torch.zeros((), dtype=torch.float32, device=self.device)
        self.mean: AveragedModel | None = None
        if recipe.average:
            self.mean = AveragedModel(network, multi_avg_fn=self._average)
        self.spread = recipe.spreading(network)

    def run_epoch(
        self,
        on_batch: Callable[[int, int], None] | None = None,
        between: Callable[[], None] | None = None,
    ) -> float:
        """Take every image once, in a new order, or those that are left of an epoch that was begun; return
        the mean loss, without any term that spreads layers; to read it is the only wait for the device.

        ``between``: called after each batch, when :meth:`state` may be asked; before ``on_batch``.
        """
        self.network.train()
        if self._order is None:
            self._order = torch.randperm(len(self.split.labels), device=self.device, generator=self.generator)
            self._total = torch.zeros((), dtype=torch.float32, device=self.device)
        for chosen in self._order.split(self.batch_size)[self._at : self.steps_per_epoch]:
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
            self._at += 1
            self._total += loss.detach()
            if between is not None:
                between()
            if on_batch is not None:
                on_batch(self.step * self.batch_size, self.steps * self.batch_size)
        self._order, self._at = None, 0
        return float(self._total) / self.steps_per_epoch

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """All that :meth:`load_state` needs, between two batches: what JSON holds, and tensors."""
        tensors = {f"network.{name}": x for name, x in self.network.state_dict().items()}
        tensors |= {"generator": self.generator.get_state(), "total": self._total}
        if self._order is not None:
            tensors["order"] = self._order
        if self.mean is not None:
            tensors |= {f"mean.{name}": x for name, x in self.mean.state_dict().items()}
        if self.spread is not None:
            tensors |= {f"spread.{name}": x for name, x in self.spread.state_dict().items()}
        for number, kept in self.optimizer.state_dict()["state"].items():
            if (momentum := kept.get("momentum_buffer")) is not None:
                tensors[f"momentum.{number}"] = momentum
        return {"step": self.step, "at": self._at}, tensors

    def load_state(self, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on from a state, to the same bits on a CPU. LookupError or RuntimeError: it does not fit."""
        self.network.load_state_dict(_whole(below("network.", tensors)))
        if self.mean is not None:
            self.mean.load_state_dict(_whole(below("mean.", tensors)))
        if self.spread is not None:
            self.spread.load_state_dict(below("spread.", tensors))
        optimizer = self.optimizer.state_dict()
        momenta = _whole(below("momentum.", tensors))
        optimizer["state"] = {int(n): {"momentum_buffer": x} for n, x in momenta.items()}
        self.optimizer.load_state_dict(optimizer)
        self.generator.set_state(tensors["generator"].clone())
        self.step, self._at = int(facts["step"]), int(facts["at"])
        self._total = tensors["total"].clone().to(self.device)
        self._order = tensors["order"].clone().to(self.device) if "order" in tensors else None

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


def _whole(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in memory of their own, and no maps of a file."""
    return {name: state[name].clone() for name in state}


class Score(NamedTuple):
    """What a network is right about: the share of images, from 0 to 1, and the mean cross-entropy."""

    accuracy: float
    loss: float


@torch.inference_mode()
def score(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    forward: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Score:
    """The share of images whose largest logit is that of their label, and the mean cross-entropy.

    The network is put in eval mode.

    Args:
        images: (N, 3, H, W). ``labels``: int64 (N,). Both on the network's device.
        forward: makes the context of a forward pass, such as bfloat16 where speed matters more.
    """
    network.eval()
    right = torch.zeros((), dtype=torch.int64, device=labels.device)
    loss = torch.zeros((), dtype=torch.float64, device=labels.device)
    with forward():
        for x_NCHW, y_N in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
            logits = network(x_NCHW)
            right += (logits.argmax(dim=1) == y_N).sum()  # stays on the device: no wait per batch
            loss += functional.cross_entropy(logits, y_N, reduction="sum")
    return Score(int(right) / len(labels), float(loss) / len(labels))


def evaluate(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    forward: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> float:
    """The accuracy alone, as :func:`score` measures it."""
    return score(network, images, labels, forward).accuracy


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
