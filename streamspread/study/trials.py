"""One training of an experiment, looked at while it runs, with the last epoch's network and how it went."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from streamspread.datasets import Labelled
from streamspread.errors import OptionError
from streamspread.models.network import Network
from streamspread.store.keeping import State
from streamspread.system.process import as_ctrl_c, turn
from streamspread.system.tensors import below
from streamspread.system.torch_state import switched
from streamspread.training import EpochReport, Recipe
from streamspread.training.files import TrainingKeeper
from streamspread.training.setup import autocast, prepare
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
    checkpoint: Path | None = None,
) -> Trial:
    """Train a network, and score the last epoch's on the test images; nothing chooses an epoch.

    Args:
        checkpoint: a file in which the training is kept while it runs, and from which one that was ended goes
            on: ``looks.step`` is called first of all with the step at which it was kept. None: nowhere.

    Raises:
        ModelError, OptionError, LayerError, StoreError: as :func:`streamspread.training.train`.
    """
    looks = looks or Looks()
    start = prepare(model, recipe, None, device, None)
    keeper = None if checkpoint is None else TrainingKeeper(checkpoint, start, recipe, train, test)
    network = start.network.to(start.device)
    forward = partial(autocast, start.device, start.precision)
    held_out = Split(test.images, test.labels, start.device)
    trainer = Trainer(network, Split(train.images, train.labels, start.device), recipe, forward)
    losses, earlier = _resumed(keeper, trainer)
    began, aside, best = time.perf_counter(), 0.0, 0.0

    def seconds() -> float:
        return earlier + time.perf_counter() - began - aside

    def look() -> None:
        nonlocal aside
        if looks.step is not None:
            before = time.perf_counter()
            looks.step(network, trainer.step)
            network.train()
            aside += time.perf_counter() - before

    def stepped(done: int, total: int) -> None:
        look()
        if keeper is not None:
            keeper.offer(lambda: _state(trainer, losses, seconds()))
        if looks.batch is not None:
            looks.batch(done, total)

    with (
        closing(trainer),
        switched(matrices=True, convolutions=True, benchmark=True),
        as_ctrl_c(),
        keeper or nullcontext(),
    ):
        look()
        for epoch in range(len(losses) + 1, recipe.epochs + 1):
            losses.append(trainer.run_epoch(stepped))
            if not losses[-1] < float("inf"):
                if keeper is not None:
                    keeper.remove()
                raise OptionError(f"the training loss became {losses[-1]} in epoch {epoch}: lower --lr")
            if looks.epoch is not None:
                took, before = seconds(), time.perf_counter()
                accuracy = score(network, held_out.images, held_out.labels).accuracy
                best = max(best, accuracy)
                looks.epoch(EpochReport(epoch, recipe.epochs, losses[-1], accuracy, best, took))
                aside += time.perf_counter() - before
    took = seconds()
    scored = score(network, held_out.images, held_out.labels)
    if keeper is not None:
        keeper.remove()
    return Trial(network, tuple(losses), scored, took, trainer.steps, start.precision)


def _state(trainer: Trainer, losses: Sequence[float], seconds: float) -> State:
    """All that :func:`_resumed` needs, between two batches."""
    facts, tensors = trainer.state()
    header = {"where": f"after step {trainer.step:,}", "losses": list(losses), "seconds": seconds}
    return header | {"trainer": facts}, {f"trainer.{name}": tensor for name, tensor in tensors.items()}


def _resumed(keeper: TrainingKeeper | None, trainer: Trainer) -> tuple[list[float], float]:
    """The losses of the epochs that ended, and the seconds they took; the trainer is where it was kept."""
    if keeper is None or keeper.saved is None:
        return [], 0.0
    header, tensors = keeper.saved
    with keeper.reading():
        trainer.load_state(header["trainer"], below("trainer.", tensors))
        losses, seconds = [float(loss) for loss in header["losses"]], float(header["seconds"])
    keeper.release()
    return losses, seconds


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
