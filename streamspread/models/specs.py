"""From a model spec to a module that is ready to run: what ``--model`` and ``--weights`` mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from streamspread.errors import ModelError, WeightsError, kind_and_line
from streamspread.models.inputs import accept_uint8
from streamspread.models.network import Network
from streamspread.models.plans import did_you_mean
from streamspread.models.source import Built, ModelSource, find_source, model_forms, nearest_spec
from streamspread.models.weights import apply_weights, read_weights
from streamspread.streams.resize import Side
from streamspread.system.tensors import check_made, own, sha256_of


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to run.

    Attributes:
        module: in eval mode, on the CPU; takes images (N, 3, H, W), uint8 or normalised floats.
        name: the spec. ``plan``: of a reference network, else None.
        image_size: of the images that it is meant for, and how others are brought to it.
        weights: "shipped", the file's path, "default" (those that its makers publish), "none" (random), or
            "as built" (by the user's callable).
        weights_sha256: of the file; of published weights, that of the tensors; None where there were none.
        note: what the file says of its weights (plan, data, accuracy, …), or which published ones they are;
            None where nothing is said.
        takes: "images", or the name of the argument that it takes instead, such as ``input_ids``.
        example: a batch of what it takes, where that is no image and is known.
        tokenizer: makes of texts what it takes, by name, a list for each, or raises ModelError where nothing
            that does so lies with the model; None where it takes no texts.
    """

    module: nn.Module
    name: str
    plan: str | None
    image_size: Side
    weights: str
    weights_sha256: str | None
    note: dict[str, str] | None
    takes: str = "images"
    example: Tensor | dict[str, Tensor] | None = None
    tokenizer: Callable[[Sequence[str]], Mapping[str, Any]] | None = None


def load(spec: str, weights: str | os.PathLike[str] | None = None, seed: int = 0) -> LoadedModel:
    """Build the model that a spec names and give it its weights; torch's global generator stays as it was.

    uint8 images are normalised with CIFAR-10's mean and deviation for reference networks, those of its
    published weights for a model of torchvision, timm or transformers, and ImageNet's otherwise, unless the
    module has a NormalizeUint8 hook of its own.

    Args:
        spec: written as one of :func:`model_forms`.
        weights: the path of a .safetensors, .pt or .pth file; "none": random ones; "default": those that its
            makers publish, from the cache on this machine or from where they publish them; None: those that
            the package ships. A user's own model keeps the weights that it was built with, unless a path is
            given.
        seed: of random weights.

    Raises:
        ModelError: the spec is unknown, or the model cannot be built.
        MissingError: the library of the model is not installed.
        WeightsError: there are no weights, or they cannot be read or do not fit.
        OptionError: a seed out of range.
    """
    if not isinstance(spec, str):
        raise ModelError(f"a model is named by a text such as no1, not by {type(spec).__name__}")
    match = find_source(spec)
    if match is None:
        meant = did_you_mean(nearest_spec(spec))
        raise ModelError(f"unknown model {spec!r}{meant}; a model is one of {', '.join(model_forms())}")
    source, text = match
    published = weights == "default" and source.published is not None
    built = source.published(text) if published and source.published else source.build(text, seed)
    module = built.module
    check_made(module)
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError("a TorchScript model cannot be observed: give the module that it was made from")
    path, origin = (None, "default") if published else _choose_weights(spec, weights, built, source)
    note, sha256 = built.note, sha256_of(module.state_dict().items()) if published else None
    if path is not None:
        tensors, note, sha256 = read_weights(path, module)
        apply_weights(module, tensors, path, note)
    if built.takes == "images":
        accept_uint8(module, built.mean, built.std)
    try:
        module.eval()  # which may be one of its own
    except (Exception, SystemExit) as error:
        raise ModelError(f"{type(module).__name__}.eval() raised {kind_and_line(error)}") from error
    own_size = own(module, "image_size", None)
    return LoadedModel(
        module=module,
        name=spec,
        plan=module.plan if isinstance(module, Network) else None,
        image_size=Side(own_size) if isinstance(own_size, int) else built.image_size,
        weights=origin,
        weights_sha256=sha256,
        note=note,
        takes=built.takes,
        example=built.example,
        tokenizer=built.tokenizer,
    )


def _choose_weights(
    spec: str, weights: str | os.PathLike[str] | None, built: Built, source: ModelSource
) -> tuple[str | None, str]:
    """The file to load, if any, and what ``LoadedModel.weights`` says."""
    if built.has_weights and weights in (None, "none", "default"):
        return None, "as built"
    if weights == "none":
        return None, "none"
    if weights not in (None, "default"):
        return str(weights), str(weights)
    if built.shipped is not None:
        return str(built.shipped), "shipped"
    what = "nobody publishes weights" if weights == "default" else "the package has no weights"
    others = ", or --weights default for those published" if source.published else ""
    raise WeightsError(f"{what} for {spec}; give --weights PATH, or --weights none for random ones{others}")
