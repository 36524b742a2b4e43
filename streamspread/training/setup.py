"""What a training begins with, checked before any image is read: network, device, file; and its images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from streamspread.datasets import Labelled, load_labelled
from streamspread.errors import DataError, LayerError, OptionError
from streamspread.models.inputs import CIFAR_MEAN, CIFAR_STD, accept_uint8
from streamspread.models.network import Network, build
from streamspread.models.plans import IMAGE_SIZE, find_plan, parse_plan
from streamspread.models.weights import apply_weights, read_weights, writing
from streamspread.system.devices import resolve_device
from streamspread.system.files import check_place
from streamspread.system.tensors import checksum
from streamspread.system.text import storable
from streamspread.system.version import __version__
from streamspread.training.recipe import Recipe
from streamspread.training.spread_loss import PREVIOUS


class Start(NamedTuple):
    """What a training begins with.

    Attributes:
        network: on the CPU still; takes uint8 images.
        device: on which it is to be trained. ``precision``: of the products, "bf16" or "fp32".
        target: the file of the new weights; None: none.
        origin: what their note says of the weights that the training goes on from; empty for random ones.
    """

    network: Network
    device: torch.device
    precision: str
    target: Path | None
    origin: dict[str, str]


def prepare(
    plan: str | Sequence[int | str],
    recipe: Recipe,
    weights: str | os.PathLike[str] | None,
    device: str | torch.device,
    out: str | os.PathLike[str] | None,
) -> Start:
    """Build the network, and check all that can be checked without images; errors as train()."""
    steps = find_plan(plan) if isinstance(plan, str) else parse_plan(plan)
    if recipe.average and weights is None:
        raise OptionError("averaging goes on from trained weights; give --weights FILE as well")
    target = _check_out(out)
    where = resolve_device(device, needs_cupy=False)
    precision = resolve_precision(recipe.precision, where)
    network = build(steps, recipe.seed)
    _check_spreading(network, recipe)
    origin = {} if weights is None else _start_from(network, weights)
    accept_uint8(network, CIFAR_MEAN, CIFAR_STD)
    return Start(network, where, precision, target, origin)


def _check_spreading(network: Network, recipe: Recipe) -> None:
    spread = recipe.spreading(network)
    if spread is None:
        return
    spread.close()
    first = network.default_layers[0]
    if first in spread.layers and recipe.spread_target == PREVIOUS:
        raise LayerError(
            f"no layer runs before {first}, whose spread could be its target: give a number or none as target"
        )


def _check_out(out: str | os.PathLike[str] | None) -> Path | None:
    # Checked before the training, since a misspelt folder should not cost an hour's work.
    if out is None:
        return None
    with writing(out):
        check_place(out)
    return Path(out)


def _start_from(network: Network, weights: str | os.PathLike[str]) -> dict[str, str]:
    """Give the network these weights; return what the new weights' note says of them."""
    tensors, note, sha256 = read_weights(weights, network)
    apply_weights(network, tensors, str(weights), note)
    return {"began_with_sha256": sha256} | _history(note or {})


def _history(note: Mapping[str, str]) -> dict[str, str]:
    """What came before a training, from the note of the weights that it goes on from."""
    known = {f"began_with_{key}": note[key] for key in ("command", "accuracy", "device") if key in note}
    # Epochs are "8 of 24" where Ctrl-C ended that training.
    epochs = [note[key].split()[0] for key in ("epochs", "epochs_before") if key in note]
    if epochs and all(number.isdecimal() for number in epochs):
        known["epochs_before"] = str(sum(map(int, epochs)))
    # "0, 0.1" where the trainings before that one differed in it.
    smoothings = [note[key] for key in ("label_smoothing_before", "label_smoothing") if key in note]
    if smoothings:
        known["label_smoothing_before"] = ", ".join(dict.fromkeys(", ".join(smoothings).split(", ")))
    return known


CLASSES = 10


def load_splits(spec: str, samples: int | None = None, seed: int = 0) -> tuple[Labelled, Labelled]:
    """The train and test images of a data spec, uint8 (N, 3, 32, 32), with labels; of the train images only
    so many ``samples``, drawn with ``seed``.

    Raises:
        DataError: as of load_labelled() and check_split(), and where both splits are the same images: the
            accuracy would be that on images that were learnt by heart.
    """
    train = load_labelled(spec, "train", IMAGE_SIZE, samples, seed)
    test = load_labelled(spec, "test", IMAGE_SIZE)
    check_split("train", train.images, train.labels)
    check_split("test", test.images, test.labels)
    if torch.equal(train.images, test.images):
        raise DataError(
            f"training needs train and test images, and {spec!r} has one set of {len(train.labels):,}: "
            "give a folder with train/ and test/, or one with train*.parquet and test*.parquet"
        )
    return train, test


def identity(
    model: str, train: Labelled, test: Labelled, recipe: Recipe, device: torch.device
) -> dict[str, Any]:
    """All that a training depends on, as JSON holds it, but for the weights that it goes on from."""
    return {
        "version": __version__,
        "model": model,
        "data": storable(train.description),
        "checksum": checksum(*train[:2], *test[:2]),
        "epochs": recipe.epochs,
        **recipe.note(),
        "device": device.type,
    }


def check_split(name: str, images: Tensor, labels: Tensor) -> None:
    """Raises DataError unless images are uint8 (N, 3, 32, 32), labels int64 (N,) from 0 to 9, and N ≥ 2."""
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


#: Features of a CPU, as torch calls them, with which bfloat16 products are faster than float32 ones.
_BF16_FEATURES = ("avx512_bf16", "amx_bf16")


def resolve_precision(precision: str, device: torch.device) -> str:
    """The precision that is meant: "auto" is "bf16" where the device multiplies it natively, else "fp32"."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16"
    features = torch.cpu.get_capabilities()
    return "bf16" if any(features.get(name) for name in _BF16_FEATURES) else "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context of a forward pass whose products are "bf16" or "fp32"."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
