"""Trains a network epoch by epoch, keeps the best epoch, and writes it with how it was trained."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from streamspread.datasets import Labelled
from streamspread.errors import OptionError
from streamspread.models.network import Network
from streamspread.models.weights import apply_weights, rounded_state
from streamspread.system.process import as_ctrl_c, looked_for, turn
from streamspread.system.tensors import checksum
from streamspread.system.torch_state import switched
from streamspread.system.version import __version__
from streamspread.training.files import Stored, TrainingKeeper, check_checkpoint, write_weights
from streamspread.training.recipe import Recipe
from streamspread.training.setup import Start, autocast, check_split, prepare
from streamspread.training.trainer import Course, EpochReport, Split, Trainer


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """What is called while a training runs.

    Attributes:
        epoch: after each epoch.
        batch: after each batch, with the number of images taken so far and of all that will be taken.
    """

    epoch: Callable[[EpochReport], None] | None = None
    batch: Callable[[int, int], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where the weights go, and where the training is kept while it lasts.

    Attributes:
        path: a .safetensors file; None: nowhere.
        replace: put it in the place of a file of that name; else it gets another name, ending in -2, -3, ….
            A training that was interrupted never replaces one.
        command: what the file's note says as its command.
        checkpoint: a file that the same call goes on from, to the same bits on a CPU; it goes when the
            training has ended. None: none.
    """

    path: str | os.PathLike[str] | None = None
    replace: bool = True
    command: str = ""
    checkpoint: str | os.PathLike[str] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a training ended.

    Attributes:
        plan: of the network. ``network``: in eval mode, on the device, with the weights of the best epoch,
            rounded as they are stored.
        accuracy: of ``network``, in float32 on the whole test split (0 to 1).
        best_epoch: from 1. ``epochs``: that ended.
        history: the report of every epoch.
        path, sha256: of the file; None where there is none.
        last_path: of the last epoch's weights, which an interrupted training keeps too where these are not
            the best; None where there is no such file.
        interrupted: Ctrl-C, or a signal that is taken as it, ended it early.
        seconds: of all of it, with those before it was resumed.
        notes: what is to be said of its having been kept and resumed.
    """

    plan: str
    network: Network
    accuracy: float
    best_epoch: int
    history: tuple[EpochReport, ...]
    path: Path | None
    sha256: str | None
    interrupted: bool
    seconds: float
    last_path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        return len(self.history)

    @property
    def last_accuracy(self) -> float:
        """Of the last epoch's weights, as they were trained."""
        return self.history[-1].accuracy


EVALUATION_BATCH = 1000  # images


def check(
    plan: str | Sequence[int | str],
    recipe: Recipe | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    out: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Start:
    """What :func:`train` would begin with; raises what that would raise for these arguments, before any image
    is read."""
    start = prepare(plan, recipe or Recipe(), weights, device, out)
    check_checkpoint(checkpoint, out)
    return start


@turn()
def train(
    plan: str | Sequence[int | str],
    train_split: Labelled,
    test_split: Labelled,
    recipe: Recipe | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    output: Output | None = None,
    callbacks: Callbacks | None = None,
) -> TrainResult:
    """Train a reference network and write the weights of its best epoch.

    The test split chooses the best epoch, so its accuracy is a little optimistic; the last epoch's, which
    nothing chose, is in the file's note beside it. Ctrl-C (KeyboardInterrupt), SIGTERM and SIGHUP keep the
    best epoch so far, and the last one in a file of its own, if one has ended. The same seed gives the same
    weights on a CPU, and nearly the same on a card.

    Args:
        plan: ``no1`` … ``no4``, ``plan:64,64,M,128``, or the plan itself.
        train_split, test_split: images uint8 (N, 3, 32, 32), labels int64 (N,) from 0 to 9. The file's note
            keeps the train split's description, and a checksum of all four tensors.
        recipe: None: Recipe().
        weights: a file to train on from; None: the random weights of the recipe's seed.
        device: "auto" (a card if there is one), "cpu" or "cuda:0".
        output: where the weights and a checkpoint go; None: nowhere.
        callbacks: what is called while it runs.

    Raises:
        ModelError: a plan that cannot be built. DataError: images or labels of another kind.
        OptionError: options that exclude each other, or a loss that is no longer finite.
        DeviceError: the device is not there.
        WeightsError: ``weights`` cannot be read or do not fit, or the output cannot be written.
        StoreError: the checkpoint is of another training, or none, or cannot be written.
    """
    began = time.perf_counter()
    recipe, output = recipe or Recipe(), output or Output()
    start = prepare(plan, recipe, weights, device, output.path)
    check_split("train", train_split.images, train_split.labels)
    check_split("test", test_split.images, test_split.labels)
    check_checkpoint(output.checkpoint, output.path)
    keeper = None
    if output.checkpoint is not None:
        keeper = TrainingKeeper(output.checkpoint, start, recipe, train_split, test_split)
    network = start.network.to(start.device)
    test = Split(test_split.images, test_split.labels, start.device)
    trainer = Trainer(
        network,
        Split(train_split.images, train_split.labels, start.device),
        recipe,
        partial(autocast, start.device, start.precision),
    )
    course = Course()
    if keeper is not None:
        keeper.resume(trainer, course)
    earlier = course.seconds
    looked_for()
    with closing(trainer):
        interrupted = _run_epochs(trainer, test, callbacks or Callbacks(), course, keeper)

    both = interrupted and course.last is not course.best
    last = _stored(network, course.last, test) if both else None
    best = _stored(network, course.best, test)
    course.seconds = earlier + time.perf_counter() - began
    facts = _facts(course, start, recipe, interrupted) | {
        "data": train_split.description,
        "data_crc32": checksum(*train_split[:2], *test_split[:2]),
        "train_images": str(len(train_split.labels)),
        "test_images": str(len(test_split.labels)),
        "command": output.command,
    }
    notes = () if keeper is None else tuple(keeper.notes())
    if notes:
        facts["notes"] = "; ".join(notes)
    written = write_weights(start.target, best, last, facts, output.replace)
    if keeper is not None and len(course.history) == recipe.epochs:
        keeper.remove()
    return TrainResult(
        plan=network.plan,
        network=network,
        accuracy=best.accuracy,
        best_epoch=course.best_epoch,
        history=tuple(course.history),
        path=written.path,
        sha256=written.sha256,
        interrupted=interrupted,
        seconds=course.seconds,
        last_path=written.last_path,
        notes=notes,
    )


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    forward: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> float:
    """The share of images, from 0 to 1, whose largest logit is that of their label.

    The network is put in eval mode.

    Args:
        images: (N, 3, H, W). ``labels``: int64 (N,). Both on the network's device.
        forward: makes the context of a forward pass, such as bfloat16 where speed matters more.
    """
    network.eval()
    right = torch.zeros((), dtype=torch.int64, device=labels.device)
    with forward():
        for x_NCHW, y_N in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
            right += (network(x_NCHW).argmax(dim=1) == y_N).sum()  # stays on the device: no wait per batch
    return int(right) / len(labels)


def _run_epochs(
    trainer: Trainer, test: Split, callbacks: Callbacks, course: Course, keeper: TrainingKeeper | None
) -> bool:
    """Train on from where the course is; whether Ctrl-C or a signal ended it."""
    recipe, began, earlier = trainer.recipe, time.perf_counter(), course.seconds

    def seconds() -> float:
        return earlier + time.perf_counter() - began

    def between() -> None:
        if keeper is not None:
            keeper.offer_training(trainer, course, seconds())

    try:
        with (
            switched(matrices=True, convolutions=True, benchmark=True),
            as_ctrl_c(),
            keeper or nullcontext(),
        ):
            for epoch in range(len(course.history) + 1, recipe.epochs + 1):
                loss = trainer.run_epoch(callbacks.batch, between)
                if not math.isfinite(loss):
                    if keeper is not None:
                        keeper.remove()  # nothing good can come of it
                    raise OptionError(
                        f"the training loss became {loss} in epoch {epoch} at the learning rate "
                        f"{recipe.peak:g}; try a lower one, e.g. --lr {recipe.peak / 4:g}"
                    )
                network = trainer.trained()
                accuracy = evaluate(network, test.images, test.labels, trainer.autocast)
                best = max(accuracy, course.best_accuracy)
                report = EpochReport(epoch, recipe.epochs, loss, accuracy, best, seconds())
                course.ended(report, network.state_dict())
                if callbacks.epoch is not None:
                    callbacks.epoch(report)
    except KeyboardInterrupt:
        if not course.history:  # no epoch has ended, so there is nothing to keep
            raise
        return True
    return False


def _stored(network: Network, state: Mapping[str, Tensor], test: Split) -> Stored:
    """A state as it is stored, which the network then has, and its accuracy."""
    network.load_state_dict(state)
    stored = rounded_state(network)
    apply_weights(network, stored, "just trained")
    with switched(matrices=False, convolutions=False):
        return Stored(stored, evaluate(network, test.images, test.labels))


def _facts(course: Course, start: Start, recipe: Recipe, interrupted: bool) -> dict[str, str]:
    """What the weights' note says of the training."""
    ended = len(course.history)
    return {
        "plan": start.network.plan,
        "accuracy_last_epoch": f"{course.history[-1].accuracy:.4f}",
        "best_epoch": str(course.best_epoch),
        "epochs": f"{ended} of {recipe.epochs}" if interrupted else str(recipe.epochs),
        "seconds": f"{course.seconds:.1f}",
        **recipe.note(),
        "precision": start.precision,
        **start.origin,
        **_circumstances(start.device),
    }


def _circumstances(device: torch.device) -> dict[str, str]:
    """What the weights depend on besides the options."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": f"streamspread {__version__}, torch {torch.__version__}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
