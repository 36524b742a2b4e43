"""``plan:64,64,M,128,128``: a network like the reference networks, from a plan of its own."""

from __future__ import annotations

import re

from streamspread.models.plans import IMAGE_SIZE, parse_plan
from streamspread.models.source import Built, ModelSource
from streamspread.streams.resize import Side


def _build(plan: str, seed: int) -> Built:
    from streamspread.models.inputs import CIFAR_MEAN, CIFAR_STD
    from streamspread.models.network import build

    return Built(
        module=build(parse_plan(plan), seed), mean=CIFAR_MEAN, std=CIFAR_STD, image_size=Side(IMAGE_SIZE)
    )


def _guess(text: str) -> str | None:
    return f"plan:{text}" if re.fullmatch(r"[\dMm,\s]+", text) else None


SOURCE = ModelSource(
    form="plan:64,64,M,128,128",
    about="3x3 convolutions with so many channels, and 2x2 max-pooling where M stands",
    build=_build,
    guess=_guess,
)
