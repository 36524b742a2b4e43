"""``torchvision:NAME``: what torchvision can build, with its published weights or without."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from streamspread.errors import ModelError, StreamspreadError, WeightsError, kind_and_line
from streamspread.models.plans import did_you_mean, nearest
from streamspread.models.source import Built, ModelSource, known_interpolation
from streamspread.streams.resize import Side

_USUAL_SIZE = 224  # pixels, where no published weights say another


def _models() -> Any:
    """torchvision's module of models; ModelError where it is not installed."""
    try:
        from torchvision import models
    except ImportError as error:
        raise ModelError(f"torchvision models need the torchvision package: {error}") from error
    return models


def _build(name: str, seed: int) -> Built:
    return _built(_known(name), name, None, seed)


def _published(name: str) -> Built:
    models = _known(name)
    weights = _default(models, name)
    if weights is None:
        raise WeightsError(f"torchvision has no weights for {name!r}: give --weights PATH or none")
    return _built(models, name, weights, seed=0)


def _known(name: str) -> Any:
    """torchvision's module of models; ModelError where it has none of that name."""
    models = _models()
    if name not in models.list_models():
        raise ModelError(f"torchvision has no model {name!r}{did_you_mean(_guess(name))}")
    return models


def _default(models: Any, name: str) -> Any:
    """The weights that torchvision recommends; None where it publishes none."""
    return getattr(models.get_model_weights(name), "DEFAULT", None)


def _built(models: Any, name: str, weights: Any, seed: int) -> Built:
    from streamspread.models.hub import from_url, numbers_alone
    from streamspread.models.inputs import IMAGENET_MEAN, IMAGENET_STD
    from streamspread.models.network import seeded

    builder = models.get_model_builder(name)
    arguments = {"weights": weights, "progress": False}
    if "weights_backbone" in inspect.signature(builder).parameters:
        arguments["weights_backbone"] = None  # else segmentation and detection models download their backbone
    try:
        # GoogLeNet and Inception announce that they will be initialised otherwise.
        with seeded(seed), numbers_alone(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            module = from_url(lambda: builder(**arguments), f"torchvision's weights for {name!r}")
    except StreamspreadError:
        raise
    except Exception as error:
        raise ModelError(f"torchvision cannot build {name!r}: {kind_and_line(error)}") from error
    published = _default(models, name)
    preset = None if published is None else published.transforms()
    return Built(
        module=module,
        mean=tuple(getattr(preset, "mean", IMAGENET_MEAN)),
        std=tuple(getattr(preset, "std", IMAGENET_STD)),
        image_size=Side(
            (getattr(preset, "crop_size", None) or [_USUAL_SIZE])[0],
            (getattr(preset, "resize_size", None) or [0])[0],
            known_interpolation(getattr(preset, "interpolation", "")),
        ),
        note=None if weights is None else {"published": f"torchvision {weights}"},
    )


def _guess(text: str) -> str | None:
    try:
        name = nearest(text, _models().list_models())
    except ModelError:
        return None
    return name and f"torchvision:{name}"


SOURCE = ModelSource(
    form="torchvision:NAME",
    about="a model of torchvision, such as resnet50",
    build=_build,
    published=_published,
    guess=_guess,
)
