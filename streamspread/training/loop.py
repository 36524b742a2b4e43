"""Trains a network epoch by epoch, keeps the best epoch, and writes it with how it came about."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from streamspread import __version__
from streamspread.errors import OptionError
from streamspread.models.inputs import CIFAR_MEAN, CIFAR_STD, accept_uint8
from streamspread.models.network import Network, build
from streamspread.models.plans import find_plan, parse_plan
from streamspread.models.weights import apply_weights, read_weights, rounded_state, save_weights, writing
from streamspread.streams import checksum
from streamspread.system.files import check_place, place
from streamspread.system.switches import switched
from streamspread.training.arithmetic import autocast, resolve_device, resolve_precision
from streamspread.training.data import check_split
from streamspread.training.recipe import Recipe
from streamspread.training.trainer import Split, Trainer

EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class EpochReport:
    """What the progress callback gets after each epoch: mean loss, accuracies of the test split (0 to 1)."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    best_accuracy: float
    seconds: float


@dataclass(frozen=True)
class TrainResult:
    """How a training ended.

    accuracy: of `network`, whose weights are the best epoch's rounded as they are stored, in float32 on the
    whole test split. best_epoch counts from 1, epochs are those that ended. last_accuracy: of the last
    epoch's weights as trained. history: the report of every epoch. path, sha256: of the written file, None
    where nothing was to be written. interrupted: Ctrl-C ended it early. seconds: all of it. network: in eval
    mode, on the device.
    """

    plan: str
    accuracy: float
    best_epoch: int
    epochs: int
    last_accuracy: float
    history: tuple[EpochReport, ...]
    path: Path | None
    sha256: str | None
    interrupted: bool
    seconds: float
    network: Network


class _Start(NamedTuple):
    """What a training begins with, before any image. origin: what the note says of the weights before."""

    network: Network
    origin: dict[str, str]
    device: torch.device
    precision: str
    target: Path | None


def check(
    plan: str | Sequence[int | str],
    recipe: Recipe | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    out: str | os.PathLike[str] | None = None,
) -> None:
    """Refuse what :func:`train` would refuse of the same arguments, before any image is read; errors as
    there."""
    _start(plan, recipe or Recipe(), weights, device, out)


def train(
    plan: str | Sequence[int | str],
    train_images: Tensor,
    train_labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    recipe: Recipe | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    out: str | os.PathLike[str] | None = None,
    replace: bool = True,
    progress: Callable[[EpochReport], None] | None = None,
    on_batch: Callable[[int, int], None] | None = None,
    data: str = "",
    command: str = "",
) -> TrainResult:
    """Train a reference network and write the weights of its best epoch.

    plan: `no1` ... `no4`, `plan:64,64,M,128`, or the plan itself. images: uint8 (N, 3, 32, 32); labels: int64
    (N,), 0 to 9. recipe: how; None: the usual way. weights: a file to train on from; None: the random weights
    of the recipe's seed. device: "auto" (CUDA if there is one), "cpu" or "cuda:0". out: a .safetensors file,
    whose note also keeps `data` and `command` as given, and a checksum of the four tensors. replace: put it
    in the place of a file of that name; else it gets another name, with -2, -3, ... at its end. progress:
    called after each epoch. on_batch: called after each batch with how many images were taken so far, and how
    many it will be in all.

    The test split chooses the best epoch, so its accuracy is optimistic by a little; the last epoch's, which
    nothing chose, is recorded beside it. Ctrl-C (KeyboardInterrupt) keeps the best epoch so far, provided
    that one has ended. The same seed gives the same weights on the CPU; on CUDA, nearly.

    Raises ModelError for a bad plan, DataError for other tensors, OptionError for options that do not go
    together and for a loss that is no longer finite, DeviceError where the device is not there, WeightsError
    where `weights` cannot be read or do not fit, or `out` cannot be written.
    """
    began = time.perf_counter()
    recipe = recipe or Recipe()
    network, origin, where, precision, target = _start(plan, recipe, weights, device, out)
    check_split("train", train_images, train_labels)
    check_split("test", test_images, test_labels)
    forward = partial(autocast, where, precision)
    network.to(where)
    accept_uint8(network, CIFAR_MEAN, CIFAR_STD)
    train_split = Split(train_images, train_labels, where)
    test_split = Split(test_images, test_labels, where)

    history: list[EpochReport] = []
    best: dict[str, Tensor] = {}
    best_epoch, interrupted = 0, False
    with switched(matrices=True, convolutions=True, benchmark=True):
        trainer = Trainer(network, train_split, recipe, forward)
        try:
            for epoch in range(1, recipe.epochs + 1):
                loss = trainer.run_epoch(on_batch)
                if not math.isfinite(loss):
                    raise OptionError(
                        f"the training loss became {loss} in epoch {epoch} at the learning rate "
                        f"{recipe.peak:g}; try a lower one, e.g. --lr {recipe.peak / 4:g}"
                    )
                trained = trainer.trained()
                accuracy = evaluate(trained, test_split.images, test_split.labels, forward)
                if not best or accuracy > history[best_epoch - 1].accuracy:
                    best = {key: value.clone() for key, value in trained.state_dict().items()}
                    best_epoch = epoch
                top = max([accuracy, *(past.accuracy for past in history)])
                history.append(
                    EpochReport(epoch, recipe.epochs, loss, accuracy, top, time.perf_counter() - began)
                )
                if progress is not None:
                    progress(history[-1])
        except KeyboardInterrupt:
            if not history:  # nothing worth keeping yet
                raise
            interrupted = True

    network.load_state_dict(best)
    stored = rounded_state(network)
    apply_weights(network, stored, "just trained")
    with switched(matrices=False, convolutions=False):
        accuracy = evaluate(network, test_split.images, test_split.labels)
    seconds = time.perf_counter() - began
    sha256 = None
    if target is not None:
        ended = {
            "plan": network.plan,
            "accuracy": f"{accuracy:.4f}",
            "accuracy_of": "the stored weights, in float32, on the test split, which also chose the epoch",
            "accuracy_last_epoch": f"{history[-1].accuracy:.4f}",
            "best_epoch": str(best_epoch),
            "epochs": f"{len(history)} of {recipe.epochs}" if interrupted else str(recipe.epochs),
            "seconds": f"{seconds:.1f}",
        }
        given = {
            "data": data,
            "data_crc32": checksum(train_images, train_labels, test_images, test_labels),
            "train_images": str(len(train_labels)),
            "test_images": str(len(test_labels)),
            "command": command,
        }
        note = ended | given | recipe.note() | {"precision": precision} | origin | _circumstances(where)
        with writing(target), place(target, replace) as target:
            sha256 = save_weights(stored, target, note)
    return TrainResult(
        plan=network.plan,
        accuracy=accuracy,
        best_epoch=best_epoch,
        epochs=len(history),
        last_accuracy=history[-1].accuracy,
        history=tuple(history),
        path=target,
        sha256=sha256,
        interrupted=interrupted,
        seconds=seconds,
        network=network,
    )


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    forward: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> float:
    """Return the share of images (N, 3, H, W) whose largest logit is that of their label; all on one device.

    The network is put in eval mode. forward: makes the context of the forward passes; bfloat16 where that is
    faster and exactness matters less.
    """
    network.eval()
    right = torch.zeros((), dtype=torch.int64, device=labels.device)
    with forward():
        for x_NCHW, y_N in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
            right += (network(x_NCHW).argmax(dim=1) == y_N).sum()  # stays on the device: no wait per batch
    return int(right) / len(labels)


def _start(
    plan: str | Sequence[int | str],
    recipe: Recipe,
    weights: str | os.PathLike[str] | None,
    device: str | torch.device,
    out: str | os.PathLike[str] | None,
) -> _Start:
    steps = find_plan(plan) if isinstance(plan, str) else parse_plan(plan)
    if recipe.average and weights is None:
        raise OptionError("averaging goes on from trained weights; give --weights FILE as well")
    target = _check_out(out)
    where = resolve_device(device)
    precision = resolve_precision(recipe.precision, where)
    network = build(steps, recipe.seed)
    origin = {} if weights is None else _start_from(network, weights)
    return _Start(network, origin, where, precision, target)


def _start_from(network: Network, weights: str | os.PathLike[str]) -> dict[str, str]:
    """Give the network these weights; return what the new weights' note says of them."""
    tensors, found, sha256 = read_weights(weights)
    apply_weights(network, tensors, str(weights), found)
    note = found or {}
    known = {f"began_with_{key}": note[key] for key in ("command", "accuracy", "device") if key in note}
    # "8 of 24" where Ctrl-C ended a training; what came before it counts too.
    ended = [note[key].split()[0] for key in ("epochs", "epochs_before") if key in note]
    if ended and all(number.isdecimal() for number in ended):
        known["epochs_before"] = str(sum(map(int, ended)))
    # "0, 0.1" where the trainings before differed in it.
    smoothed = [note[key] for key in ("label_smoothing_before", "label_smoothing") if key in note]
    if smoothed:
        known["label_smoothing_before"] = ", ".join(dict.fromkeys(", ".join(smoothed).split(", ")))
    return {"began_with_sha256": sha256} | known


def _check_out(out: str | os.PathLike[str] | None) -> Path | None:
    # Before the training rather than after it: an hour's work should not end at a misspelt folder.
    if out is None:
        return None
    with writing(out):
        check_place(out)
    return Path(out)


def _circumstances(device: torch.device) -> dict[str, str]:
    """What a training depends on besides its options."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": f"streamspread {__version__}, torch {torch.__version__}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
