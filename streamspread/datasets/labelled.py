"""Images with a label each, all in memory: what training needs."""

from typing import NamedTuple

import torch

from streamspread.datasets.images import ImageData
from streamspread.datasets.specs import load
from streamspread.errors import DataError

_WHOLE = 1 << 60  # bytes: training reads the images in random order, so all of them stay in memory


class Labelled(NamedTuple):
    """images: uint8 (N, 3, H, W). labels: int64 (N,). description: of the data set."""

    images: torch.Tensor
    labels: torch.Tensor
    description: str


def load_labelled(spec: str, split: str, image_size: int) -> Labelled:
    """All images of a split with their labels.

    Raises DataError as load(), and where the images have no labels.
    """
    found = load(spec, split, image_size=image_size, resident_bytes=_WHOLE)
    if not isinstance(found, ImageData) or found.labels is None:
        raise DataError(f"{found.description}: training needs a label for every image, and there are none")
    return Labelled(found.images, found.labels, found.description)
