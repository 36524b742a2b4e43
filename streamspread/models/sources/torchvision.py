"""``torchvision:NAME``: what torchvision can build, without its published weights."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from streamspread.errors import ModelError, StreamspreadError
from streamspread.models.plans import did_you_mean, nearest
from streamspread.models.source import Built, ModelSource, one_line

_USUAL_SIZE = 224  # pixels, where no published weights say another


def _models() -> Any:
    """torchvision's module of models; ModelError where it is not installed."""
    try:
        from torchvision import models
    except ImportError as error:
        raise ModelError(f"torchvision models need the torchvision package: {error}") from error
    return models


def _build(name: str, seed: int) -> Built:
    models = _models()
    if name not in models.list_models():
        raise ModelError(f"torchvision has no model {name!r}{did_you_mean(_guess(name))}")
    from streamspread.models.inputs import IMAGENET_MEAN, IMAGENET_STD
    from streamspread.models.network import seeded

    builder = models.get_model_builder(name)
    arguments: dict[str, None] = {"weights": None}
    if "weights_backbone" in inspect.signature(builder).parameters:
        arguments["weights_backbone"] = None  # else segmentation and detection models download their backbone
    try:
        with seeded(seed), warnings.catch_warnings():
            # GoogLeNet and Inception announce that they will be initialised otherwise.
            warnings.simplefilter("ignore", FutureWarning)
            module = builder(**arguments)
    except StreamspreadError:
        raise
    except Exception as error:
        raise ModelError(f"torchvision cannot build {name!r}: {one_line(error)}") from error
    published = getattr(models.get_model_weights(name), "DEFAULT", None)
    preset = None if published is None else published.transforms()
    return Built(
        module=module,
        mean=tuple(getattr(preset, "mean", IMAGENET_MEAN)),
        std=tuple(getattr(preset, "std", IMAGENET_STD)),
        image_size=(getattr(preset, "crop_size", None) or [_USUAL_SIZE])[0],
    )


def _guess(text: str) -> str | None:
    try:
        name = nearest(text, _models().list_models())
    except ModelError:
        return None
    return name and f"torchvision:{name}"


SOURCE = ModelSource(
    form="torchvision:NAME", about="a model of torchvision, such as resnet50", build=_build, guess=_guess
)
