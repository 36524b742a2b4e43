"""What a training begins with, checked before any image is read: network, weights, device, and its file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from streamspread.errors import LayerError, OptionError
from streamspread.models.inputs import CIFAR_MEAN, CIFAR_STD, accept_uint8
from streamspread.models.network import Network, build
from streamspread.models.plans import find_plan, parse_plan
from streamspread.models.weights import apply_weights, read_weights, writing
from streamspread.system.devices import resolve_device
from streamspread.system.files import check_place
from streamspread.training.arithmetic import resolve_precision
from streamspread.training.recipe import Recipe
from streamspread.training.spreading import PREVIOUS


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
