"""What the study consists of, as data: one step per result; :mod:`streamspread.study.analyses` does them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from streamspread.api.embed import PERPLEXITY, check_perplexity, check_tsne
from streamspread.errors import ModelError, OptionError, check_whole
from streamspread.models.plans import PLANS, POOL, did_you_mean, find_plan
from streamspread.system.text import file_stem

THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95)
NETWORKS = tuple(PLANS)

#: The parts of the study that can be asked for, in the order in which they are done.
PARTS = {
    "networks": "every tap of the networks: c*, c*.bn, c*.relu and gap",
    "samples": "the same layers from 500, 1,000, 2,000, … images, up to all",
    "depth": "networks of 4, 6, 8, 10 and 14 convolutions, trained here",
    "training": "no1 and no3, or else the models given, trained for other lengths, with label smoothing",
    "latent": "t-SNE of every layer",
}

#: By name, what each is.
EXPERIMENTS = {
    "spreading": "one network without and with a term that spreads its layers",
    "kinds": "that network without the term, and with every kind of it",
    "course": "K of every layer while a network trains, often in the first steps",
    "depths": "networks of 4 to 14 convolutions, trained to comparable accuracy, narrow enough for a laptop",
}

#: Convolutions in each of three stages, with a pooling between, by the number of all.
_STAGES = {4: (1, 1, 2), 6: (2, 2, 2), 8: (2, 3, 3), 10: (3, 3, 4), 14: (4, 5, 5)}


def _plans(width: int) -> dict[int, str]:
    """A plan for each number of convolutions, the second and third stage 2 and 4 times as wide."""
    return {
        depth: ",M,".join(",".join([str(width << i)] * count) for i, count in enumerate(stages))
        for depth, stages in _STAGES.items()
    }


#: Plans by their number of convolutions; those of 6 are no2's own, and half as wide. None is wider than no2,
#: so a laptop can train them all.
DEPTHS, NARROW = _plans(32), _plans(16)

BATCH_SIZE, RATE = 128, 0.1  # of all their trainings

#: The trainings to compare: a factor on the usual number of epochs, and the label smoothing.
TRAININGS = ((0, 0.0), (1 / 4, 0.0), (1, 0.0), (1, 0.1), (4, 0.0), (4, 0.1))
#: The networks that are trained in other ways, where they are asked for: the paper's base, and the one that a
#: claim of its own names.
TRAINED = ("no1", "no3")

FEWEST = 500  # images from which K over N begins
LATENT_SAMPLES = 10_000  # images of a t-SNE at the most

_LAYERS = ("all",)
#: Of each convolution three: itself, batch norm, ReLU.
EVERY_TAP = ("all", "*.bn", "*.relu")


@dataclass(frozen=True)
class TrainingSpec:
    """A training that a step asks for: its epochs (0 leaves the weights random) and label smoothing.

    As text it is the part of a file's name that tells trainings apart.
    """

    epochs: int
    label_smoothing: float = 0.0

    def __str__(self) -> str:
        if not self.epochs:
            return "untrained"
        smoothing = f"-smoothing{self.label_smoothing:g}" if self.label_smoothing else ""
        return f"{self.epochs}epochs{smoothing}"


@dataclass(frozen=True)
class Step:
    """One result of the study.

    Attributes:
        name: its file's, without suffix. ``part``: of the study, a key of PARTS.
        model: no1 … no4, or ``plan:…``. ``layers``: names or globs of taps.
        samples: how many of the study's images; None for all.
        training: which weights to use; None for those that the package ships, or where it ships none, those
            of a usual training.
    """

    name: str
    part: str
    model: str
    layers: tuple[str, ...] = _LAYERS
    samples: int | None = None
    training: TrainingSpec | None = None


def check(models: Sequence[str], parts: Sequence[str]) -> None:
    """Refuse what can be refused before any image is read.

    Raises:
        OptionError, ModelError: as :func:`steps`.
        MissingError: t-SNE is asked for, but a package that it needs is not installed.
    """
    _check_names(models, parts)
    if "latent" in parts:
        check_tsne()


def check_experiments(names: Sequence[str], models: Sequence[str], images: int | None) -> None:
    """Refuse what can be refused before any image is read.

    Raises:
        OptionError, ModelError: too few images, a model that no plan builds, or too few layers.
    """
    if images is not None:
        check_whole("train images", images, BATCH_SIZE)
    for model in models:
        plan = find_plan(model)
        for name in ("spreading", "kinds"):
            if name in names and sum(step != POOL for step in plan) < 2:
                raise OptionError(f"{model} has one convolution: the part {name} takes two or more")


def steps(models: Sequence[str], parts: Sequence[str], samples: int, epochs: int) -> list[Step]:
    """All steps of a study.

    Args:
        models: no1 … no4 or ``plan:…``. ``parts``: keys of PARTS.
        samples: how many images there are. ``epochs``: of a usual training.

    Raises:
        OptionError: an unknown part, no part or model at all, or too few images for a part.
        ModelError: a model that is not built from a plan.
    """
    _check_names(models, parts)
    # K over N ends at all images; where the networks are analysed anyway, their results are those.
    all_images = [] if "networks" in parts else [samples]
    most = min(samples, LATENT_SAMPLES)
    if "latent" in parts:
        check_perplexity(PERPLEXITY, most, "take more --samples, or leave latent out of --parts")
    by_part = {
        "networks": [Step(_slug(model), "networks", model, EVERY_TAP) for model in models],
        "samples": [
            Step(f"{_slug(model)}-n{n}", "samples", model, samples=n)
            for model in models
            for n in fewer(samples) + all_images
        ],
        "depth": [
            Step(f"depth{depth}", "depth", f"plan:{plan}", training=TrainingSpec(epochs))
            for depth, plan in DEPTHS.items()
        ],
        "training": [
            Step(f"{_slug(model)}-{training}", "training", model, training=training)
            for model in [model for model in models if model in TRAINED] or models
            for training in _trainings(epochs)
        ],
        "latent": [Step(f"{_slug(model)}-tsne", "latent", model, samples=most) for model in models],
    }
    return [step for part in PARTS if part in parts for step in by_part[part]]


def _trainings(epochs: int) -> list[TrainingSpec]:
    lengths = ((round(times * epochs), times, smoothing) for times, smoothing in TRAININGS)
    # A quarter of very few epochs rounds to none, which would be the untrained network once more.
    return [TrainingSpec(n, smoothing) for n, times, smoothing in lengths if n or not times]


def fewer(samples: int) -> list[int]:
    """Numbers of images 500, 1,000, 2,000, … up to 5/6 of ``samples``; from a nearer one to all images K
    would hardly be seen to grow."""
    numbers = []
    n = FEWEST
    while 6 * n <= 5 * samples:
        numbers.append(n)
        n *= 2
    return numbers


def _check_names(models: Sequence[str], parts: Sequence[str]) -> None:
    for part in parts:
        if part not in PARTS:
            raise OptionError(
                f"unknown part {part!r}: choose from all, {', '.join(PARTS)}, {', '.join(EXPERIMENTS)}"
            )
    if not parts or not models:
        raise OptionError(f"nothing to do: name at least one {'model' if parts else 'part'}")
    for model in models:
        find_plan(model)
        if model not in PLANS and not model.startswith("plan:"):  # a plan without its prefix
            raise ModelError(f"unknown model {model!r}{did_you_mean(f'plan:{model}')}")


def _slug(model: str) -> str:
    return file_stem(re.sub(r"[^A-Za-z0-9]+", "-", model).strip("-"))
