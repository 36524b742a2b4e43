"""One training of an experiment, looked at while it runs, with the last epoch's network and how it went."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from streamspread.datasets import Labelled
from streamspread.errors import OptionError
from streamspread.models.network import Network
from streamspread.system.switches import switched
from streamspread.system.turns import turn
from streamspread.training import EpochReport, Recipe
from streamspread.training.arithmetic import autocast
from streamspread.training.start import prepare
from streamspread.training.trainer import Split, Trainer

_BATCH = 1000  # images of a forward in which accuracy is measured


@dataclass(frozen=True)
class Scored:
    """What a network is right about: the share of images, from 0 to 1, and the mean cross-entropy."""

    accuracy: float
    loss: float


@dataclass(frozen=True)
class Trial:
    """How a training ended. ``losses``: of each epoch, without the spreading term; ``seconds``: of its steps
    alone; ``precision``: of its products."""

    network: Network
    losses: tuple[float, ...]
    test: Scored
    seconds: float
    steps: int
    precision: str


@dataclass(frozen=True)
class Looks:
    """What is called while a training runs.

    Attributes:
        step: before the first step and after each, with the network and how many steps were taken; the time
            that it takes is not the training's.
        epoch: after each epoch. ``batch``: after each step, with images taken and to take.
    """

    step: Callable[[Network, int], None] | None = None
    epoch: Callable[[EpochReport], None] | None = None
    batch: Callable[[int, int], None] | None = None


@turn()
def run(
    model: str,
    train: Labelled,
    test: Labelled,
    recipe: Recipe,
    device: torch.device,
    looks: Looks | None = None,
) -> Trial:
    """Train a network, and score the last epoch's on the test images; nothing chooses an epoch.

    Raises:
        ModelError, OptionError, LayerError: as :func:`streamspread.training.train`.
    """
    looks = looks or Looks()
    start = prepare(model, recipe, None, device, None)
    network = start.network.to(start.device)
    forward = partial(autocast, start.device, start.precision)
    held_out = Split(test.images, test.labels, start.device)
    trainer = Trainer(network, Split(train.images, train.labels, start.device), recipe, forward)
    began, aside = time.perf_counter(), 0.0

    def look() -> None:
        nonlocal aside
        if looks.step is not None:
            before = time.perf_counter()
            looks.step(network, trainer.step)
            network.train()
            aside += time.perf_counter() - before

    def stepped(done: int, total: int) -> None:
        look()
        if looks.batch is not None:
            looks.batch(done, total)

    losses, best = [], 0.0
    with closing(trainer), switched(matrices=True, convolutions=True, benchmark=True):
        look()
        for epoch in range(1, recipe.epochs + 1):
            losses.append(trainer.run_epoch(stepped))
            if not losses[-1] < float("inf"):
                raise OptionError(f"the training loss became {losses[-1]} in epoch {epoch}: lower --lr")
            seconds = time.perf_counter() - began - aside
            if looks.epoch is not None or epoch == recipe.epochs:
                before = time.perf_counter()
                scored = score(network, held_out.images, held_out.labels)
                best = max(best, scored.accuracy)
                if looks.epoch is not None:
                    looks.epoch(EpochReport(epoch, recipe.epochs, losses[-1], scored.accuracy, best, seconds))
                aside += time.perf_counter() - before
    network.eval()
    return Trial(network, tuple(losses), scored, seconds, trainer.steps, start.precision)


@torch.inference_mode()
def score(network: Network, images: Tensor, labels: Tensor) -> Scored:
    """Accuracy and loss in float32, in eval mode; images uint8 or as the network takes them, (N, 3, H, W)."""
    network.eval()
    right, loss = 0, 0.0
    for x_NCHW, y_N in zip(images.split(_BATCH), labels.split(_BATCH), strict=True):
        logits = network(x_NCHW)
        right += int((logits.argmax(1) == y_N).sum())
        loss += float(functional.cross_entropy(logits, y_N, reduction="sum"))
    return Scored(right / len(labels), loss / len(labels))
