"""``patches``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamspread.datasets.source import DataSource, Request

if TYPE_CHECKING:
    from streamspread.datasets.images import PixelSource


def _open(request: Request) -> tuple[PixelSource, str]:
    from streamspread.datasets.patches import DEFAULT_SIZE, PatchPixels

    return PatchPixels(request.split, request.image_size or DEFAULT_SIZE), f"patches {request.split}"


SOURCE = DataSource(
    form="patches",
    about="random crops of the two photographs that scikit-learn ships; needs no download",
    open=_open,
)
