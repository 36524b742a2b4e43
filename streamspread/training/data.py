"""The images of a training: a train and a test split, which must not be the same."""

from __future__ import annotations

import torch
from torch import Tensor

from streamspread.datasets import Labelled, load_labelled
from streamspread.errors import DataError
from streamspread.models.plans import IMAGE_SIZE

CLASSES = 10


def load_splits(spec: str, samples: int | None = None, seed: int = 0) -> tuple[Labelled, Labelled]:
    """The train and test images of a data spec, uint8 (N, 3, 32, 32), with labels; of the train images only
    so many ``samples``, drawn with ``seed``.

    Raises:
        DataError: as of load_labelled() and check_split(), and where both splits are the same images: the
            accuracy would be that on images that were learnt by heart.
    """
    train = load_labelled(spec, "train", IMAGE_SIZE, samples, seed)
    test = load_labelled(spec, "test", IMAGE_SIZE)
    check_split("train", train.images, train.labels)
    check_split("test", test.images, test.labels)
    if torch.equal(train.images, test.images):
        raise DataError(
            f"training needs train and test images, and {spec!r} has one set of {len(train.labels):,}: "
            "give a folder with train/ and test/, or one with train*.parquet and test*.parquet"
        )
    return train, test


def check_split(name: str, images: Tensor, labels: Tensor) -> None:
    """Raises DataError unless images are uint8 (N, 3, 32, 32), labels int64 (N,) from 0 to 9, and N ≥ 2."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1:] != (3, IMAGE_SIZE, IMAGE_SIZE):
        raise DataError(
            f"{name} images must be uint8 (N, 3, {IMAGE_SIZE}, {IMAGE_SIZE}), "
            f"not {images.dtype} {tuple(images.shape)}"
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{name} labels must be int64 ({len(images)},), one per image, "
            f"not {labels.dtype} {tuple(labels.shape)}"
        )
    if len(labels) < 2:
        raise DataError(f"the {name} split has {len(labels)} images; training needs at least 2")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= CLASSES:
        raise DataError(f"{name} labels must lie in 0 to {CLASSES - 1}, but they reach from {low} to {high}")
