"""Images with a label each, all in memory, as training needs them."""

from typing import NamedTuple

import torch

from streamspread.datasets.images import ImageData
from streamspread.datasets.specs import load
from streamspread.errors import DataError

_NO_LIMIT = 1 << 60  # bytes: training reads the images in random order, so all of them stay in memory


class Labelled(NamedTuple):
    """images: uint8 (N, 3, H, W). labels: int64 (N,). description: the data set in a few words."""

    images: torch.Tensor
    labels: torch.Tensor
    description: str


def load_labelled(
    spec: str, split: str, image_size: int, samples: int | None = None, seed: int = 0
) -> Labelled:
    """All images of a split, or ``samples`` of them drawn with ``seed``, with their labels, at ``image_size``
    pixels.

    Raises:
        DataError: as of load(), and where the images have no labels. OptionError: as of load().
    """
    data = load(spec, split, samples, seed, image_size=image_size, resident_bytes=_NO_LIMIT)
    if not isinstance(data, ImageData) or data.labels is None:
        raise DataError(f"{data.description}: training needs a label for every image, and there are none")
    return Labelled(data.images, data.labels, data.description)
