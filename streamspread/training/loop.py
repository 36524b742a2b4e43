"""Trains a network epoch by epoch, keeps the best epoch, and writes it with how it was trained."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

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
from streamspread.training.trainer import EpochReport, Split, Trainer, TrainingProgress, evaluate


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """What is called while a training runs.

    Attributes:
        epoch: after each epoch.
        batch: after each batch, with the number of images taken so far and of all that will be taken.
        step: before the first batch of this process and after each, with the network and the number of steps
            that were taken. The time that it takes does not count as the training's.
    """

    epoch: Callable[[EpochReport], None] | None = None
    batch: Callable[[int, int], None] | None = None
    step: Callable[[Network, int], None] | None = None


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
        keep: "best": the result is the epoch that the test images choose. "last": it is the last epoch's
            network as it was trained, of which no file is written; an epoch's accuracy is then measured only
            where there is a callback for epochs, and is else NaN.

    Raises:
        OptionError: a file for the last epoch.
    """

    path: str | os.PathLike[str] | None = None
    replace: bool = True
    command: str = ""
    checkpoint: str | os.PathLike[str] | None = None
    keep: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        if self.keep == "last" and self.path is not None:
            raise OptionError("a file holds the best epoch: with keep='last' give no path")


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a training ended.

    Attributes:
        plan: of the network. ``network``: in eval mode, on the device, with the weights of the best epoch,
            rounded as they are stored; or of the last one, as :class:`Output` says.
        accuracy: of ``network``, in float32 on the whole test split (0 to 1).
        best_epoch: from 1. ``epochs``: that ended.
        history: the report of every epoch.
        path, sha256: of the file; None where there is none.
        last_path: of the last epoch's weights, which an interrupted training keeps too where these are not
            the best; None where there is no such file.
        interrupted: Ctrl-C, or a signal that is taken as it, ended it early.
        seconds: of all of it, with those before it was resumed. ``steps``: of all epochs.
        precision: of the products, "bf16" or "fp32".
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
    steps: int
    precision: str
    last_path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        return len(self.history)

    @property
    def last_accuracy(self) -> float:
        """Of the last epoch's weights, as they were trained."""
        return self.history[-1].accuracy


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
        keeper = TrainingKeeper(output.checkpoint, start, recipe, train_split, test_split, output.keep)
    network = start.network.to(start.device)
    test = Split(test_split.images, test_split.labels, start.device)
    trainer = Trainer(
        network,
        Split(train_split.images, train_split.labels, start.device),
        recipe,
        partial(autocast, start.device, start.precision),
    )
    progress = TrainingProgress(output.keep)
    if keeper is not None:
        keeper.resume(trainer, progress)
    earlier = progress.seconds
    looked_for()
    with closing(trainer):
        interrupted = _run_epochs(trainer, test, callbacks or Callbacks(), progress, keeper)

    both = interrupted and progress.last is not progress.best
    last = _stored(network, progress.last, test) if both else None
    best = _stored(network, progress.best, test, rounded=output.keep == "best")
    progress.seconds = earlier + time.perf_counter() - began
    facts = _facts(progress, start, recipe, interrupted) | {
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
    if keeper is not None and len(progress.history) == recipe.epochs:
        keeper.remove()
    return TrainResult(
        plan=network.plan,
        network=network,
        accuracy=best.accuracy,
        best_epoch=progress.best_epoch,
        history=tuple(progress.history),
        path=written.path,
        sha256=written.sha256,
        interrupted=interrupted,
        seconds=progress.seconds,
        steps=trainer.steps,
        precision=start.precision,
        last_path=written.last_path,
        notes=notes,
    )


def _run_epochs(
    trainer: Trainer,
    test: Split,
    callbacks: Callbacks,
    progress: TrainingProgress,
    keeper: TrainingKeeper | None,
) -> bool:
    """Train on from where the progress is; whether Ctrl-C or a signal ended it."""
    recipe, clock = trainer.recipe, _Clock(progress.seconds)

    def step() -> None:
        if callbacks.step is not None:
            with clock.paused():
                callbacks.step(trainer.network, trainer.step)
                trainer.network.train()

    def between() -> None:
        step()
        if keeper is not None:
            keeper.offer_training(trainer, progress, clock.seconds)

    try:
        with (
            switched(matrices=True, convolutions=True, benchmark=True),
            as_ctrl_c(),
            keeper or nullcontext(),
        ):
            step()
            for epoch in range(len(progress.history) + 1, recipe.epochs + 1):
                loss = trainer.run_epoch(callbacks.batch, between)
                if not math.isfinite(loss):
                    if keeper is not None:
                        keeper.remove()  # nothing good can come of it
                    raise OptionError(
                        f"the training loss became {loss} in epoch {epoch} at the learning rate "
                        f"{recipe.peak:g}; try a lower one, e.g. --lr {recipe.peak / 4:g}"
                    )
                network, accuracy = trainer.trained(), math.nan
                if progress.keep == "best" or callbacks.epoch is not None:
                    with nullcontext() if progress.keep == "best" else clock.paused():
                        accuracy = evaluate(network, test.images, test.labels, trainer.autocast)
                best = max(accuracy, progress.best_accuracy)
                report = EpochReport(epoch, recipe.epochs, loss, accuracy, best, clock.seconds)
                progress.ended(report, network.state_dict())
                if callbacks.epoch is not None:
                    callbacks.epoch(report)
    except KeyboardInterrupt:
        if not progress.history:  # no epoch has ended, so there is nothing to keep
            raise
        return True
    return False


class _Clock:
    """Seconds of a training, without those in which it was paused; ``earlier``: of the processes before."""

    def __init__(self, earlier: float) -> None:
        self._began = time.perf_counter() - earlier

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    @contextmanager
    def paused(self) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self._began += time.perf_counter() - before


def _stored(network: Network, state: Mapping[str, Tensor], test: Split, rounded: bool = True) -> Stored:
    """A state as it is stored, which the network then has, and its accuracy."""
    network.load_state_dict(state)
    stored = rounded_state(network) if rounded else dict(state)
    if rounded:
        apply_weights(network, stored, "just trained")
    with switched(matrices=False, convolutions=False):
        return Stored(stored, evaluate(network, test.images, test.labels))


def _facts(progress: TrainingProgress, start: Start, recipe: Recipe, interrupted: bool) -> dict[str, str]:
    """What the weights' note says of the training."""
    ended = len(progress.history)
    return {
        "plan": start.network.plan,
        "accuracy_last_epoch": f"{progress.history[-1].accuracy:.4f}",
        "best_epoch": str(progress.best_epoch),
        "epochs": f"{ended} of {recipe.epochs}" if interrupted else str(recipe.epochs),
        "seconds": f"{progress.seconds:.1f}",
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
