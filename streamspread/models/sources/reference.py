"""``no1`` … ``no4``, whose weights the package ships, and ``plan:64,64,M,128,128``, a network like these."""

from __future__ import annotations

import re

from streamspread.models.plans import IMAGE_SIZE, PLANS, find_plan, nearest
from streamspread.models.source import Built, ModelSource
from streamspread.streams.resize import Side


def _build(spec: str, seed: int) -> Built:
    from streamspread.models.inputs import CIFAR_MEAN, CIFAR_STD
    from streamspread.models.network import build
    from streamspread.models.weights import shipped_weights

    return Built(
        module=build(find_plan(spec), seed),
        mean=CIFAR_MEAN,
        std=CIFAR_STD,
        image_size=Side(IMAGE_SIZE),
        shipped=shipped_weights(spec),
    )


def _guess(text: str) -> str | None:
    return f"plan:{text}" if re.fullmatch(r"[\dMm,\s]+", text) else nearest(text, PLANS)


SOURCE = ModelSource(
    form="no1 ... no4, plan:64,64,M,128,128",
    about="the reference networks, with their weights; or a plan: 3x3 convolutions, and M for max-pooling",
    build=_build,
    takes=lambda spec: spec in PLANS or spec.startswith("plan:"),
    guess=_guess,
)
