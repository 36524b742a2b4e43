"""``timm:NAME``: what timm can build, with its pretrained weights or without."""

from __future__ import annotations

import math
import warnings
from typing import Any

from streamspread.errors import MissingError, ModelError, StreamspreadError, WeightsError, kind_and_line
from streamspread.models.plans import did_you_mean, nearest
from streamspread.models.source import Built, ModelSource, known_interpolation
from streamspread.streams.resize import CROPS, Side


def _timm() -> Any:
    """The library; MissingError where it is not installed."""
    try:
        import timm
    except ImportError as error:
        raise MissingError(f"timm's models need timm ({error}): pip install 'streamspread[timm]'") from error
    return timm


def _build(name: str, seed: int) -> Built:
    timm = _timm()
    _check(timm, name)
    return _built(timm, _created(timm, name, seed, pretrained=False))


def _published(name: str) -> Built:
    timm = _timm()
    _check(timm, name)
    from streamspread.models.hub import from_hub, from_url

    config = timm.models.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise WeightsError(f"timm has no weights for {name!r}: give --weights PATH or none")
    weights = f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)
    what = f"timm's weights {weights!r}"

    def created() -> Any:
        return _created(timm, name, seed=0, pretrained=True)

    # A few lie elsewhere than at Hugging Face's hub.
    module = from_hub(created, what, WeightsError) if config.hf_hub_id else from_url(created, what)
    return _built(timm, module, {"published": f"timm {weights}"})


def _check(timm: Any, name: str) -> None:
    """Raise ModelError for a name that timm does not know; one may have a tag, as in resnet18.a1_in1k."""
    stem, _, tag = name.partition(".")
    tags = timm.list_pretrained(f"{stem}.*") if timm.is_model(stem) else []
    if not timm.is_model(stem) or (tag and name not in tags):
        raise ModelError(f"timm has no model {name!r}{did_you_mean(_near(timm, name, tags))}")


def _created(timm: Any, name: str, seed: int, pretrained: bool) -> Any:
    from streamspread.models.hub import numbers_alone
    from streamspread.models.network import seeded

    try:
        with seeded(seed), numbers_alone(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that timm has given up for others
            return timm.create_model(name, pretrained=pretrained)
    except (OSError, StreamspreadError):
        raise
    except Exception as error:
        raise ModelError(f"timm cannot build {name!r}: {kind_and_line(error)}") from error


def _built(timm: Any, module: Any, note: dict[str, str] | None = None) -> Built:
    """With the constants and the size that timm's own evaluation takes, and its way to bring images to it."""
    config = timm.data.resolve_data_config({}, model=module)
    (height, width), mean = config["input_size"][-2:], tuple(config["mean"])
    return Built(
        module=module,
        mean=mean,
        std=tuple(config["std"]),
        image_size=Side(
            width,
            math.floor(width / config["crop_pct"]),
            known_interpolation(config["interpolation"]),
            config["crop_mode"] if config["crop_mode"] in CROPS else "center",
            tuple(round(255 * value) for value in mean),
            height,
        ),
        note=note,
    )


def _near(timm: Any, name: str, tags: list[str]) -> str | None:
    near = nearest(name, tags) or nearest(name, timm.list_models())
    return near and f"timm:{near}"


SOURCE = ModelSource(
    form="timm:NAME",
    about="a model of timm, such as vit_tiny_patch16_224",
    build=_build,
    published=_published,
)
