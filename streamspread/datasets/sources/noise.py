"""``noise``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamspread.datasets.source import DataSource, Request

if TYPE_CHECKING:
    from streamspread.datasets.images import PixelSource


def _open(request: Request) -> tuple[PixelSource, str]:
    from streamspread.datasets.noise import DEFAULT_SAMPLES, DEFAULT_SIZE, NoisePixels

    samples = request.samples or DEFAULT_SAMPLES[request.split]
    pixels = NoisePixels(request.split, samples, request.seed, request.image_size or DEFAULT_SIZE)
    return pixels, f"noise {request.split} (seed {request.seed})"


SOURCE = DataSource(
    form="noise",
    about="uniform noise, for timing",
    open=_open,
)
