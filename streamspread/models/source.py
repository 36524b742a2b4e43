"""What a model source is, and their registry. No library is imported here: help texts are made from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamspread.models.plans import nearest
from streamspread.system.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

    from streamspread.models.inputs import Constants
    from streamspread.streams.resize import Side


@dataclass(frozen=True, kw_only=True)
class Built:
    """A module as its source builds it, before weights are loaded.

    Attributes:
        module: on the CPU.
        mean, std: of a channel, with which uint8 images are normalised unless the module does so itself.
        image_size: of the images that it is meant for, and how others are brought to it.
        has_weights: it may have its weights already, so none need be given.
        shipped: the file of weights that the package has for it; None where there is none.
        takes: "images", or the name of the argument that it takes instead, such as ``input_ids``.
        example: a batch of what it takes, where that is no image, to tell the shapes of its layers.
        tokenizer: makes of texts what it takes, by name, a list for each; None where that is not known.
        note: which published weights it has, where it has those; ``random`` names those it has not.
    """

    module: nn.Module
    mean: Constants
    std: Constants
    image_size: Side
    has_weights: bool = False
    shipped: Path | None = None
    takes: str = "images"
    example: Tensor | dict[str, Tensor] | None = None
    tokenizer: Callable[[Sequence[str]], Mapping[str, Any]] | None = None
    note: dict[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Models that a spec can name: a file of ``models/sources/`` defines one as ``SOURCE``.

    Attributes:
        form: how a spec is written, such as ``torchvision:NAME``.
        about: one line for help texts.
        build: makes the module from the spec (from what follows its colon where ``takes`` is None) and a
            seed for random weights. Raises ModelError where it cannot. It imports what it needs itself, since
            this file is read to print help.
        published: makes the module from the same text with the weights that its makers publish, from a cache
            on this machine or where they publish them. Raises WeightsError where these cannot be had. None:
            none are published.
        takes: whether a spec is of this source; None: it is where it begins with the file's name and a colon.
        guess: for a text that is no spec, the spec of this source that was most likely meant; None: unlike
            any.
    """

    form: str
    about: str
    build: Callable[[str, int], Built]
    published: Callable[[str], Built] | None = None
    takes: Callable[[str], bool] | None = None
    guess: Callable[[str], str | None] | None = None


SOURCES: Registry[ModelSource] = Registry("streamspread.models.sources", "SOURCE")


def model_forms() -> tuple[str, ...]:
    """How model specs are written, one form for each source, such as ``("hf:NAME", …)``."""
    return tuple(source.form for _, source in SOURCES.items())


def known_interpolation(named: Any) -> str:
    """What torch scales by, for what a library names: bicubic where it says that, else bilinear."""
    return "bicubic" if "bicubic" in str(getattr(named, "value", named)).lower() else "bilinear"


def find_source(spec: str) -> tuple[ModelSource, str] | None:
    """The source of a spec, and what its ``build`` is given; None where there is none.

    A source that goes by its name before a colon has precedence.
    """
    name, colon, rest = spec.partition(":")
    if colon and name in SOURCES.names() and (source := SOURCES.get(name)).takes is None:
        return source, rest
    others = (source for _, source in SOURCES.items() if source.takes is not None and source.takes(spec))
    return next(((source, spec) for source in others), None)


def nearest_spec(spec: str) -> str | None:
    """The spec that was most likely meant by one that names no model; None where none is near."""
    name, colon, rest = spec.partition(":")
    if colon:
        prefix = nearest(name, [name for name, source in SOURCES.items() if source.takes is None])
        return prefix and f"{prefix}:{rest}"
    guesses = (source.guess(spec) for _, source in SOURCES.items() if source.guess is not None)
    return next((one for one in guesses if one is not None), None)
