"""``noise``: uniform noise, for timing, where what the images show does not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamspread.datasets.source import DataSource, Request
from streamspread.streams.resize import Side

if TYPE_CHECKING:
    import numpy as np
    import torch

    from streamspread.datasets.images import PixelSource

DEFAULT_SAMPLES = {"train": 50_000, "test": 10_000}
DEFAULT_SIZE = 32

_BLOCK = 64  # rows


class NoisePixels:
    """``samples`` images, uint8 (3, size, size) or of a Side, of independent uniform bytes.

    The same split, seed and size give the same images.
    """

    labels: torch.Tensor | None = None
    classes: tuple[str, ...] | None = None

    def __init__(self, split: str, samples: int, seed: int, size: int = DEFAULT_SIZE) -> None:
        self._key = (seed, sorted(DEFAULT_SAMPLES).index(split))
        self._samples = samples
        self._shape = (_BLOCK, 3, Side.of(size).height, int(size))

    def __len__(self) -> int:
        return self._samples

    def read(self, rows: np.ndarray) -> torch.Tensor:
        """uint8 (len(rows), 3, H, W)."""
        import numpy as np
        import torch

        images = np.empty((len(rows), *self._shape[1:]), dtype=np.uint8)
        # Each block of rows has a generator of its own, so that a row's pixels are the same in every batch.
        for block in np.unique(rows // _BLOCK):
            inside = rows // _BLOCK == block
            generator = np.random.default_rng((*self._key, int(block)))
            last = int((rows[inside] % _BLOCK).max())  # those behind it are not wanted: they may be large
            pixels = generator.integers(0, 256, (last + 1, *self._shape[1:]), dtype=np.uint8)
            images[inside] = pixels[rows[inside] % _BLOCK]
        return torch.from_numpy(images)


def _open(request: Request) -> tuple[PixelSource, str]:
    samples = request.samples or DEFAULT_SAMPLES[request.split]
    pixels = NoisePixels(request.split, samples, request.seed, request.image_size or DEFAULT_SIZE)
    return pixels, f"noise {request.split} (seed {request.seed})"


SOURCE = DataSource(
    form="noise",
    about="uniform noise, for timing",
    open=_open,
)
