"""Trains a reference network on images that fit on the device: where the shipped weights come from."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamspread import __version__
from streamspread.errors import DataError, DeviceError, OptionError, WeightsError
from streamspread.models.inputs import CIFAR_MEAN, CIFAR_STD, accept_uint8
from streamspread.models.network import Network, build
from streamspread.models.plans import IMAGE_SIZE, find_plan, format_plan, parse_plan
from streamspread.models.weights import apply_weights, rounded_state, save_weights

CLASSES = 10
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARM_UP = 0.25  # share of the steps in which the learning rate rises
CROP = 4  # an image is shifted by at most so many pixels each way, and mirrored where it ends
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


def train(
    plan: str | Sequence[int | str],
    train_images: Tensor,
    train_labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    *,
    epochs: int = 24,
    batch_size: int = 512,
    lr: float = 0.4,
    seed: int = 0,
    device: str | torch.device = "auto",
    label_smoothing: float = 0.0,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[EpochReport], None] | None = None,
    on_batch: Callable[[int, int], None] | None = None,
    data: str = "",
    command: str = "",
) -> TrainResult:
    """Train a reference network and write the weights of its best epoch.

    plan: `no1` ... `no4`, `plan:64,64,M,128`, or the plan itself. images: uint8 (N, 3, 32, 32); labels: int64
    (N,), 0 to 9. lr: the peak of the one-cycle schedule of SGD with Nesterov momentum. device: "auto" (CUDA
    if there is one), "cpu" or "cuda:0"; bfloat16 autocast on CUDA, float32 on the CPU. out: a .safetensors
    file, whose note also keeps `data` and `command` as given. progress: called after each epoch.
    on_batch: called after each batch with how many images were taken so far, and how many it will be in all.

    The test split chooses the best epoch, so its accuracy is optimistic by a little; the last epoch's, which
    nothing chose, is recorded beside it. Ctrl-C (KeyboardInterrupt) keeps the best epoch so far, provided
    that one has ended. The same seed gives the same weights on the CPU; on CUDA, nearly.

    Raises ModelError for a bad plan, DataError for other tensors, OptionError for options outside their range
    and for a loss that is no longer finite, DeviceError where the device is not there, WeightsError where
    `out` cannot be written.
    """
    began = time.perf_counter()
    steps = find_plan(plan) if isinstance(plan, str) else parse_plan(plan)
    _check_options(epochs, batch_size, lr, label_smoothing)
    _check_split("train", train_images, train_labels)
    _check_split("test", test_images, test_labels)
    target = _check_out(out)
    where = _resolve_device(device)
    network = build(steps, seed).to(where)
    accept_uint8(network, CIFAR_MEAN, CIFAR_STD)
    train_split = _Split(train_images, train_labels, where)
    test_split = _Split(test_images, test_labels, where)

    history: list[EpochReport] = []
    best: dict[str, Tensor] = {}
    best_epoch, interrupted = 0, False
    with _cuda_settings(where, tf32=True):
        trainer = _Trainer(network, train_split, epochs, batch_size, lr, label_smoothing, seed)
        try:
            for epoch in range(1, epochs + 1):
                loss = trainer.run_epoch(on_batch)
                if not math.isfinite(loss):
                    raise OptionError(
                        f"the training loss became {loss} in epoch {epoch} at the learning rate {lr:g}; "
                        f"try a lower one, e.g. --lr {lr / 4:g}"
                    )
                accuracy = evaluate(
                    network, test_split.images, test_split.labels, autocast=where.type == "cuda"
                )
                if not best or accuracy > history[best_epoch - 1].accuracy:
                    best = {key: value.clone() for key, value in network.state_dict().items()}
                    best_epoch = epoch
                top = max([accuracy, *(past.accuracy for past in history)])
                history.append(EpochReport(epoch, epochs, loss, accuracy, top, time.perf_counter() - began))
                if progress is not None:
                    progress(history[-1])
        except KeyboardInterrupt:
            if not history:  # nothing worth keeping yet
                raise
            interrupted = True

    network.load_state_dict(best)
    stored = rounded_state(network)
    apply_weights(network, stored, "just trained")
    with _cuda_settings(where, tf32=False):
        accuracy = evaluate(network, test_split.images, test_split.labels)
    seconds = time.perf_counter() - began
    sha256 = None
    if target is not None:
        ended = {
            "plan": format_plan(steps),
            "accuracy": f"{accuracy:.4f}",
            "accuracy_of": "the stored weights, in float32, on the test split, which also chose the epoch",
            "accuracy_last_epoch": f"{history[-1].accuracy:.4f}",
            "best_epoch": str(best_epoch),
            "epochs": f"{len(history)} of {epochs}" if interrupted else str(epochs),
            "seconds": f"{seconds:.1f}",
        }
        given = {
            "data": data,
            "train_images": str(len(train_labels)),
            "test_images": str(len(test_labels)),
            "batch_size": str(batch_size),
            "lr": f"{lr:g}",
            "label_smoothing": f"{label_smoothing:g}",
            "seed": str(seed),
            "command": command,
        }
        note = ended | given | _circumstances(where)
        sha256 = save_weights(stored, target, note)
    return TrainResult(
        plan=format_plan(steps),
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
def evaluate(network: nn.Module, images: Tensor, labels: Tensor, *, autocast: bool = False) -> float:
    """Return the share of images (N, 3, H, W) whose largest logit is that of their label; all on one device.

    The network is put in eval mode. autocast: bfloat16 where that is faster and exactness matters less.
    """
    network.eval()
    right = torch.zeros((), dtype=torch.int64, device=labels.device)
    with _autocast(labels.device, autocast):
        for x_NCHW, y_N in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
            right += (network(x_NCHW).argmax(dim=1) == y_N).sum()  # stays on the device: no wait per batch
    return int(right) / len(labels)


def augment(images: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """Return the chosen images, each shifted by up to CROP pixels each way and mirrored half of the time.

    images: uint8 (N, 3, H, W) that lie as channels_last; chosen: int64 (B,); result: uint8 (B, 3, H, W),
    channels_last. One indexed read does it all: row and column numbers are drawn per image, reflected at the
    border, and read.
    """
    x_NHWC = images.permute(0, 2, 3, 1)
    count, (height, width) = len(chosen), x_NHWC.shape[1:3]
    device = images.device

    def drawn(high: int) -> Tensor:
        return torch.randint(0, high, (count, 1), device=device, generator=generator)

    rows = _reflected(torch.arange(height, device=device) + drawn(2 * CROP + 1) - CROP, height)
    columns = _reflected(torch.arange(width, device=device) + drawn(2 * CROP + 1) - CROP, width)
    columns = torch.where(drawn(2) == 1, width - 1 - columns, columns)
    picked = x_NHWC[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def one_cycle(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of a step from 0: a straight rise to `peak`, then half a cosine down."""
    at = (step + 0.5) / steps
    if at < WARM_UP:
        return peak * at / WARM_UP
    return peak * (1 + math.cos(math.pi * (at - WARM_UP) / (1 - WARM_UP))) / 2


class _Split:
    """Images and labels on the device; the images lie as channels_last."""

    def __init__(self, images: Tensor, labels: Tensor, device: torch.device) -> None:
        self.images = images.to(device).contiguous(memory_format=torch.channels_last)
        self.labels = labels.to(device)


class _Trainer:
    """The state of a training between epochs: optimizer, generator and the number of steps taken."""

    def __init__(
        self,
        network: Network,
        split: _Split,
        epochs: int,
        batch_size: int,
        lr: float,
        label_smoothing: float,
        seed: int,
    ) -> None:
        self.network, self.split, self.lr, self.label_smoothing = network, split, lr, label_smoothing
        self.device = split.labels.device
        self.batch_size = min(batch_size, len(split.labels))
        # The last batch of an epoch is dropped where it is short: another size would make cuDNN search anew.
        self.steps_per_epoch = len(split.labels) // self.batch_size
        self.steps, self.step = epochs * self.steps_per_epoch, 0
        self.generator = torch.Generator(self.device).manual_seed(seed)
        matrices = [p for p in network.parameters() if p.ndim > 1]
        vectors = [p for p in network.parameters() if p.ndim <= 1]  # biases and batch norm: no weight decay
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": WEIGHT_DECAY},
            {"params": vectors},
        ]
        self.optimizer = torch.optim.SGD(
            groups,
            lr=lr,
            momentum=MOMENTUM,
            nesterov=True,
            fused=self.device.type == "cuda",
        )

    def run_epoch(self, on_batch: Callable[[int, int], None] | None = None) -> float:
        """Take every image once, in a new order; return the mean loss (the only wait for the device)."""
        self.network.train()
        order = torch.randperm(len(self.split.labels), device=self.device, generator=self.generator)
        total = torch.zeros((), device=self.device)
        for chosen in order.split(self.batch_size)[: self.steps_per_epoch]:
            images = augment(self.split.images, chosen, self.generator)
            with _autocast(self.device, self.device.type == "cuda"):
                logits = self.network(images)
                loss = functional.cross_entropy(
                    logits, self.split.labels[chosen], label_smoothing=self.label_smoothing
                )
            for group in self.optimizer.param_groups:
                group["lr"] = one_cycle(self.step, self.steps, self.lr)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.step += 1
            total += loss.detach()
            if on_batch is not None:
                on_batch(self.step * self.batch_size, self.steps * self.batch_size)
        return float(total) / self.steps_per_epoch


def _reflected(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


def _autocast(device: torch.device, enabled: bool) -> AbstractContextManager[object]:
    return torch.autocast(device.type, dtype=torch.bfloat16) if enabled else nullcontext()


@contextmanager
def _cuda_settings(device: torch.device, *, tf32: bool) -> Iterator[None]:
    """Let cuDNN search for its fastest kernels, and allow or forbid TF32; all is as before afterwards."""
    if device.type != "cuda":
        yield
        return
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    wanted: list[tuple[Any, str, object]] = [(cudnn, "benchmark", True)]
    if hasattr(cudnn, "conv"):  # torch 2.9 and later, where the older switches below warn
        wanted += [(part, "fp32_precision", "tf32" if tf32 else "ieee") for part in (cudnn.conv, matmul)]
    else:
        wanted += [(part, "allow_tf32", tf32) for part in (cudnn, matmul)]
    before = [(part, name, getattr(part, name)) for part, name, _ in wanted]
    try:
        for part, name, value in wanted:
            setattr(part, name, value)
        yield
    finally:
        for part, name, value in before:
            setattr(part, name, value)


def _resolve_device(device: str | torch.device) -> torch.device:
    available = torch.cuda.is_available()
    if device == "auto":
        return torch.device("cuda", torch.cuda.current_device()) if available else torch.device("cpu")
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"unknown device {device!r}; use auto, cpu or cuda:0") from error
    if where.type == "cuda" and (not available or (where.index or 0) >= torch.cuda.device_count()):
        raise DeviceError(
            f"there is no device {device} here: torch sees {torch.cuda.device_count()} CUDA devices"
        )
    if where.type not in ("cpu", "cuda"):
        raise DeviceError(f"training runs on cpu and cuda, not on {device}")
    return where


def _check_options(epochs: int, batch_size: int, lr: float, label_smoothing: float) -> None:
    if epochs < 1:
        raise OptionError(f"epochs must be at least 1, not {epochs}")
    if batch_size < 2:
        raise OptionError(f"the batch size must be at least 2 (batch norm needs company), not {batch_size}")
    if not (math.isfinite(lr) and lr > 0):
        raise OptionError(f"the learning rate must be a number above 0, not {lr}")
    if not 0 <= label_smoothing < 1:
        raise OptionError(f"label smoothing must be at least 0 and below 1, not {label_smoothing}")


def _check_split(name: str, images: Tensor, labels: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1:] != (3, IMAGE_SIZE, IMAGE_SIZE):
        raise DataError(
            f"{name} images must be uint8 (N, 3, {IMAGE_SIZE}, {IMAGE_SIZE}), "
            f"not {images.dtype} {tuple(images.shape)}"
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{name} labels must be int64 ({len(images)},), one per image, "
            f"not {labels.dtype} {tuple(labels.shape)}"
        )
    if len(labels) < 2:
        raise DataError(f"the {name} split has {len(labels)} images; training needs at least 2")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= CLASSES:
        raise DataError(f"{name} labels must lie in 0 to {CLASSES - 1}, but they reach from {low} to {high}")


def _check_out(out: str | os.PathLike[str] | None) -> Path | None:
    # Before the training rather than after it: an hour's work should not end at a misspelt folder.
    if out is None:
        return None
    target = Path(out)
    if target.suffix != ".safetensors":
        raise WeightsError(f"cannot write weights to {target}: the name must end in .safetensors")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise WeightsError(
            f"cannot write weights to {target}: {target.parent} is not a folder one can write to"
        )
    return target


def _circumstances(device: torch.device) -> dict[str, str]:
    """What a training depends on besides its options."""
    return {
        "momentum": f"{MOMENTUM:g}",
        "weight_decay": f"{WEIGHT_DECAY:g}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": f"streamspread {__version__}, torch {torch.__version__}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
