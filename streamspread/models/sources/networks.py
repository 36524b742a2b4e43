"""``no1`` … ``no4``: the reference networks, whose weights the package ships."""

from __future__ import annotations

from streamspread.models.plans import IMAGE_SIZE, PLANS, nearest
from streamspread.models.source import Built, ModelSource
from streamspread.streams.resize import Side


def _build(name: str, seed: int) -> Built:
    from streamspread.models.inputs import CIFAR_MEAN, CIFAR_STD
    from streamspread.models.network import build
    from streamspread.models.weights import shipped_weights

    return Built(
        module=build(PLANS[name], seed),
        mean=CIFAR_MEAN,
        std=CIFAR_STD,
        image_size=Side(IMAGE_SIZE),
        shipped=shipped_weights(name),
    )


def _guess(text: str) -> str | None:
    return nearest(text, PLANS)


SOURCE = ModelSource(
    form="no1 ... no4",
    about="the reference networks, with their weights",
    build=_build,
    takes=PLANS.__contains__,
    guess=_guess,
)
