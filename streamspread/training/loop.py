"""Trains a network epoch by epoch, keeps the best epoch, and writes it with how it was trained."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from datetime import UTC, datetime
from functools import partial

import torch
from torch import Tensor, nn

from streamspread.datasets import Labelled
from streamspread.errors import OptionError
from streamspread.models.weights import apply_weights, rounded_state, save_weights, writing
from streamspread.streams import checksum
from streamspread.system.files import place
from streamspread.system.switches import switched
from streamspread.system.turns import turn
from streamspread.system.version import __version__
from streamspread.training.arithmetic import autocast
from streamspread.training.data import check_split
from streamspread.training.outcome import Callbacks, EpochReport, Output, TrainResult
from streamspread.training.recipe import Recipe
from streamspread.training.start import prepare
from streamspread.training.trainer import Split, Trainer

EVALUATION_BATCH = 1000  # images


def check(
    plan: str | Sequence[int | str],
    recipe: Recipe | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    out: str | os.PathLike[str] | None = None,
) -> None:
    """Raise what :func:`train` would raise for these arguments, before any image is read."""
    prepare(plan, recipe or Recipe(), weights, device, out)


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
    nothing chose, is in the file's note beside it. Ctrl-C (KeyboardInterrupt) keeps the best epoch so far if
    one has ended. The same seed gives the same weights on a CPU, and nearly the same on a card.

    Args:
        plan: ``no1`` … ``no4``, ``plan:64,64,M,128``, or the plan itself.
        train_split, test_split: images uint8 (N, 3, 32, 32), labels int64 (N,) from 0 to 9. The file's note
            keeps the train split's description, and a checksum of all four tensors.
        recipe: None: Recipe().
        weights: a file to train on from; None: the random weights of the recipe's seed.
        device: "auto" (a card if there is one), "cpu" or "cuda:0".
        output: where the weights go; None: nowhere.
        callbacks: what is called while it runs.

    Raises:
        ModelError: a plan that cannot be built. DataError: images or labels of another kind.
        OptionError: options that exclude each other, or a loss that is no longer finite.
        DeviceError: the device is not there.
        WeightsError: ``weights`` cannot be read or do not fit, or the output cannot be written.
    """
    began = time.perf_counter()
    recipe, output = recipe or Recipe(), output or Output()
    start = prepare(plan, recipe, weights, device, output.path)
    check_split("train", train_split.images, train_split.labels)
    check_split("test", test_split.images, test_split.labels)
    network, path, sha256 = start.network.to(start.device), start.target, None
    test = Split(test_split.images, test_split.labels, start.device)
    trainer = Trainer(
        network,
        Split(train_split.images, train_split.labels, start.device),
        recipe,
        partial(autocast, start.device, start.precision),
    )
    with closing(trainer):
        best, history, interrupted = _run_epochs(trainer, test, callbacks or Callbacks(), began)
    best_epoch = 1 + max(range(len(history)), key=lambda i: history[i].accuracy)

    network.load_state_dict(best)
    stored = rounded_state(network)
    apply_weights(network, stored, "just trained")
    with switched(matrices=False, convolutions=False):
        accuracy = evaluate(network, test.images, test.labels)
    seconds = time.perf_counter() - began
    if path is not None:
        epochs = f"{len(history)} of {recipe.epochs}" if interrupted else str(recipe.epochs)
        note = {
            "plan": network.plan,
            "accuracy": f"{accuracy:.4f}",
            "accuracy_of": "the stored weights, in float32, on the test split, which also chose the epoch",
            "accuracy_last_epoch": f"{history[-1].accuracy:.4f}",
            "best_epoch": str(best_epoch),
            "epochs": epochs,
            "seconds": f"{seconds:.1f}",
            "data": train_split.description,
            "data_crc32": checksum(*train_split[:2], *test_split[:2]),
            "train_images": str(len(train_split.labels)),
            "test_images": str(len(test_split.labels)),
            "command": output.command,
            **recipe.note(),
            "precision": start.precision,
            **start.origin,
            **_circumstances(start.device),
        }
        with writing(path), place(path, output.replace) as path:
            sha256 = save_weights(stored, path, note)
    return TrainResult(
        plan=network.plan,
        network=network,
        accuracy=accuracy,
        best_epoch=best_epoch,
        history=tuple(history),
        path=path,
        sha256=sha256,
        interrupted=interrupted,
        seconds=seconds,
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
    trainer: Trainer, test: Split, callbacks: Callbacks, began: float
) -> tuple[dict[str, Tensor], list[EpochReport], bool]:
    """Train; return the best epoch's state, the report of every epoch, and whether Ctrl-C ended it."""
    recipe = trainer.recipe
    history: list[EpochReport] = []
    best: dict[str, Tensor] = {}
    best_accuracy = -1.0
    with switched(matrices=True, convolutions=True, benchmark=True):
        try:
            for epoch in range(1, recipe.epochs + 1):
                loss = trainer.run_epoch(callbacks.batch)
                if not math.isfinite(loss):
                    raise OptionError(
                        f"the training loss became {loss} in epoch {epoch} at the learning rate "
                        f"{recipe.peak:g}; try a lower one, e.g. --lr {recipe.peak / 4:g}"
                    )
                network = trainer.trained()
                accuracy = evaluate(network, test.images, test.labels, trainer.autocast)
                if accuracy > best_accuracy:
                    best = {key: value.clone() for key, value in network.state_dict().items()}
                    best_accuracy = accuracy
                seconds = time.perf_counter() - began
                history.append(EpochReport(epoch, recipe.epochs, loss, accuracy, best_accuracy, seconds))
                if callbacks.epoch is not None:
                    callbacks.epoch(history[-1])
        except KeyboardInterrupt:
            if not history:  # no epoch has ended, so there is nothing to keep
                raise
            return best, history, True
    return best, history, False


def _circumstances(device: torch.device) -> dict[str, str]:
    """What the weights depend on besides the options."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": f"streamspread {__version__}, torch {torch.__version__}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
