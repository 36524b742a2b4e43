"""From a model spec to a module that is ready to run: what `--model` and `--weights` mean."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from streamspread.errors import ModelError, StreamspreadError, WeightsError
from streamspread.models.inputs import (
    CIFAR_MEAN,
    CIFAR_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Constants,
    accept_uint8,
)
from streamspread.models.network import Network, build, seeded
from streamspread.models.plans import IMAGE_SIZE, PLANS, did_you_mean, find_plan, nearest
from streamspread.models.weights import apply_weights, read_weights, shipped_weights

_FORMS = "no1 ... no4, plan:64,64,M,128,128, torchvision:NAME, package.module:callable"


@dataclass(frozen=True)
class LoadedModel:
    """A model as `load` made it.

    module: in eval mode, on the CPU, takes uint8 (N, 3, H, W) images as well as floats. name: the spec. plan:
    of a reference network, else None. image_size: pixels of the square images it is made for. default_layers:
    the layers that are observed unless told otherwise. weights: "shipped", the path, "none" (random) or "as
    built" (by the user's callable). weights_sha256: of the file, if there was one. note: what the weights
    file says of itself (plan, data, accuracy, ...), strings.
    """

    module: nn.Module
    name: str
    plan: str | None
    image_size: int
    default_layers: tuple[str, ...]
    weights: str
    weights_sha256: str | None
    note: dict[str, str] | None


def load(spec: str, weights: str | os.PathLike[str] | None = None, seed: int = 0) -> LoadedModel:
    """Build the model that `spec` names and give it its weights.

    spec: `no1` ... `no4`, `plan:64,64,M,128`, `torchvision:NAME` or `package.module:callable` (called without
    arguments, must return an nn.Module; the current folder is searched too). weights: None for the weights
    that come with the package (reference networks), `"none"` for the random ones of `seed`, else the path of
    a .safetensors, .pt or .pth file. What a callable returns keeps the weights that it has, with None and
    with "none": they are said to be "as built". torch's global generator is left as it was.
    uint8 images are normalised with CIFAR-10's constants for reference networks, those of its published
    weights for torchvision's models and ImageNet's otherwise, unless the module brings a NormalizeUint8 hook.
    Raises ModelError where the model cannot be built and WeightsError where weights are missing or do not
    fit.
    """
    if not isinstance(spec, str):
        raise ModelError(f"a model is named by a text such as {_FORMS}, not by {type(spec).__name__}")
    if spec in PLANS or spec.startswith("plan:"):
        built = _Built(build(find_plan(spec), seed), CIFAR_MEAN, CIFAR_STD)
    elif spec.startswith("torchvision:"):
        built = _build_torchvision(spec.removeprefix("torchvision:"), seed)
    else:
        built = _build_callable(spec, seed)
    module = built.module
    path, origin = _choose_weights(spec, weights, built.complete)
    note = sha256 = None
    if path is not None:
        tensors, note, sha256 = read_weights(path)
        apply_weights(module, tensors, path, note)
    accept_uint8(module, built.mean, built.std)
    own_size = getattr(module, "image_size", None)
    return LoadedModel(
        module=module.eval(),
        name=spec,
        plan=module.plan if isinstance(module, Network) else None,
        image_size=own_size if isinstance(own_size, int) else built.image_size,
        default_layers=default_layers(module),
        weights=origin,
        weights_sha256=sha256,
        note=note,
    )


def default_layers(module: nn.Module) -> tuple[str, ...]:
    """Return the module's own `default_layers`, else the names of its convolutions and linear layers.

    In the order of their definition. Some may never run in a forward pass (auxiliary classifiers, projections
    whose weights an attention block reads itself): whoever observes them finds that out.
    """
    own = getattr(module, "default_layers", None)
    if isinstance(own, tuple):
        return own
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    return tuple(name for name, child in module.named_modules() if name and isinstance(child, kinds))


@dataclass(frozen=True)
class _Built:
    """A module before its weights. complete: it may well have its weights already, so none need be given."""

    module: nn.Module
    mean: Constants
    std: Constants
    image_size: int = IMAGE_SIZE
    complete: bool = False


def _choose_weights(
    spec: str, weights: str | os.PathLike[str] | None, complete: bool
) -> tuple[str | None, str]:
    """Return the file to load, if any, and what LoadedModel.weights says."""
    if complete and weights in (None, "none"):
        return None, "as built"
    if weights == "none":
        return None, "none"
    if weights is not None:
        path = str(weights)
        return path, path
    shipped = shipped_weights(spec) if spec in PLANS else None
    if shipped is None:
        raise WeightsError(
            f"the package has no weights for {spec}; give --weights PATH, or --weights none for random ones"
        )
    return str(shipped), "shipped"


def _torchvision_names() -> list[str]:
    try:
        from torchvision import models
    except ImportError as error:
        raise ModelError(f"torchvision models need the torchvision package: {error}") from error
    return models.list_models()


def _build_torchvision(name: str, seed: int) -> _Built:
    known = _torchvision_names()
    if name not in known:
        near = nearest(name, known)
        raise ModelError(f"torchvision has no model {name!r}{did_you_mean(near and f'torchvision:{near}')}")
    from torchvision import models

    builder = models.get_model_builder(name)
    # Without this, segmentation and detection models would download weights for their backbone.
    options = (
        {"weights_backbone": None} if "weights_backbone" in inspect.signature(builder).parameters else {}
    )
    try:
        with seeded(seed), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # GoogLeNet and Inception announce another initialisation
            module = builder(weights=None, **options)
    except StreamspreadError:
        raise
    except Exception as error:
        raise ModelError(f"torchvision cannot build {name!r}: {_reason(error)}") from error
    published = getattr(models.get_model_weights(name), "DEFAULT", None)
    preset = None if published is None else published.transforms()
    return _Built(
        module,
        mean=tuple(getattr(preset, "mean", IMAGENET_MEAN)),
        std=tuple(getattr(preset, "std", IMAGENET_STD)),
        image_size=(getattr(preset, "crop_size", None) or [224])[0],
    )


def _build_callable(spec: str, seed: int) -> _Built:
    match = re.fullmatch(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)", spec)
    if match is None:
        raise ModelError(f"unknown model {spec!r}{did_you_mean(_guess(spec))}; a model is one of {_FORMS}")
    where, what = match.groups()
    try:
        with seeded(seed), _current_folder_importable():
            module = getattr(importlib.import_module(where), what)()
    except StreamspreadError:
        raise
    except Exception as error:
        raise ModelError(
            f"cannot build the model {spec!r}: {_reason(error)}{did_you_mean(_guess(spec))}"
        ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{spec!r} must return a torch.nn.Module, but returned {type(module).__name__}")
    if isinstance(module, Network):
        return _Built(module, CIFAR_MEAN, CIFAR_STD, complete=True)
    return _Built(module, IMAGENET_MEAN, IMAGENET_STD, complete=True)


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    # A user's model usually lies where the command is run, which an installed command does not search.
    folder = os.getcwd()
    missing = folder not in sys.path
    if missing:
        sys.path.append(folder)
    try:
        yield
    finally:
        if missing and folder in sys.path:
            sys.path.remove(folder)


def _guess(spec: str) -> str | None:
    if re.fullmatch(r"[\dMm,\s]+", spec):
        return f"plan:{spec}"
    kind, colon, rest = spec.partition(":")
    if colon:
        near = nearest(kind, ("plan", "torchvision"))
        return near and f"{near}:{rest}"
    if near := nearest(spec, PLANS):
        return near
    try:
        near = nearest(spec, _torchvision_names())
    except ModelError:
        return None
    return near and f"torchvision:{near}"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
