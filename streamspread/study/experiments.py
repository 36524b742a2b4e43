"""Experiments of the study, which train networks to look at them: named alone, since they take hours."""

from __future__ import annotations

from collections.abc import Sequence

from streamspread.datasets import Labelled
from streamspread.errors import DataError, OptionError, check_whole
from streamspread.models.plans import POOL, find_plan

#: By name, what each is.
EXPERIMENTS = {
    "spreading": "one network without and with a term that spreads its layers",
    "kinds": "that network without the term, and with every kind of it",
    "course": "K of every layer while a network trains, often in the first steps",
    "depths": "networks of 4 to 14 convolutions, trained to comparable accuracy, narrow enough for a laptop",
}

#: Narrow plans by their number of convolutions: three stages of 16, 32 and 64 channels.
NARROW = {
    4: "16,M,32,M,64,64",
    6: "16,16,M,32,32,M,64,64",
    8: "16,16,M,32,32,32,M,64,64,64",
    10: "16,16,16,M,32,32,32,M,64,64,64,64",
    14: "16,16,16,16,M,32,32,32,32,32,M,64,64,64,64,64",
}

BATCH_SIZE, RATE = 128, 0.1  # of all their trainings


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


def some(images: Labelled, count: int | None) -> Labelled:
    """The first so many images; DataError where there are fewer."""
    if count is None or count == len(images.labels):
        return images
    if count > len(images.labels):
        raise DataError(f"{count:,} training images asked for, and there are {len(images.labels):,}")
    return Labelled(
        images.images[:count], images.labels[:count], f"{images.description}, the first {count:,}"
    )
