"""Sets of RGB images, uint8: in memory, or read while they are used where they are too large for that."""

import os
from collections.abc import Iterator
from numbers import Integral
from typing import Protocol

import numpy as np
import torch

from streamspread.errors import DataError, OptionError, check_seed
from streamspread.streams.resize import Side
from streamspread.streams.stream import Stream, resolve_batch_size
from streamspread.system.progress import Progress, tell
from streamspread.system.threads import ahead

#: Decoded images that take more are read while they are used.
RESIDENT_BYTES = 4 * 2**30

#: With more samples the row numbers alone would fill the memory.
MOST_SAMPLES = 10**9

#: Threads that read: at most four, and no more than there are cores for.
_READERS = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4)


class PixelSource(Protocol):
    """Pixels by row.

    Attributes:
        labels: int64 (rows,); None where there are none. ``classes``: the labels' names, or None.
    """

    labels: torch.Tensor | None
    classes: tuple[str, ...] | None

    def __len__(self) -> int: ...

    def read(self, rows: np.ndarray) -> torch.Tensor:
        """The images of some rows, uint8 (len(rows), 3, H, W). Called from several threads at once."""
        ...


class ImageData(Stream):
    """A set of RGB images in memory.

    Attributes:
        images: uint8 (N, 3, H, W). ``labels``: int64 (N,), or None. ``classes``: the labels' names, or None.

    Raises:
        DataError: images or labels of another shape, images of another dtype, or none.
    """

    samples: int
    tensor: torch.Tensor | None
    seekable = True

    def __init__(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None = None,
        classes: tuple[str, ...] | None = None,
        name: str = "images",
        description: str | None = None,
    ) -> None:
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8 or images.numel() == 0:
            kind = f"{images.dtype} {tuple(images.shape)}"
            raise DataError(f"{name}: images are {kind}; needed are uint8 (N, 3, H, W) with N of 1 or more")
        if labels is not None and labels.shape != images.shape[:1]:
            raise DataError(f"{name}: {images.shape[0]} images but labels of shape {tuple(labels.shape)}")
        self.images = self.tensor = images
        self.labels = labels
        self.classes = classes
        self.name = name
        self.samples = images.shape[0]
        self.description = description or f"{name}, {self.samples:,} images"

    def batches(self, batch_size: int | None = None, first: int = 0, step: int = 1) -> Iterator[torch.Tensor]:
        """uint8 (n, 3, H, W), views of the images."""
        return iter(self.images.split(resolve_batch_size(batch_size))[first::step])

    def subset(self, rows: np.ndarray, description: str) -> "ImageData":
        """A copy of some rows (int64, ascending) as a set of its own."""
        chosen = torch.from_numpy(rows)
        labels = None if self.labels is None else self.labels[chosen]
        return ImageData(self.images[chosen], labels, self.classes, self.name, description)


class StreamedImages(Stream):
    """A set of RGB images that up to four threads read and decode while they are used, in row order.

    Attributes:
        labels: int64 (N,), or None. ``classes``: the labels' names, or None.
    """

    samples: int
    tensor: torch.Tensor | None = None
    seekable = True
    held_batches = 2 * _READERS + 2  # given, and ahead; those that are being read, as much again

    def __init__(self, source: PixelSource, rows: np.ndarray, name: str, description: str) -> None:
        self._source = source
        self._rows = rows
        self.labels = None if source.labels is None else source.labels[torch.from_numpy(rows)]
        self.classes = source.classes
        self.name = name
        self.samples = len(rows)
        self.description = description

    def batches(self, batch_size: int | None = None, first: int = 0, step: int = 1) -> Iterator[torch.Tensor]:
        """uint8 (n, 3, H, W)."""
        size = resolve_batch_size(batch_size)
        starts = range(first * size, len(self._rows), step * size)
        # Threads suffice: decoding and resizing release the interpreter's lock (measured: twice as fast on
        # two cores). Processes would have to be started, and images pickled or put into shared memory.
        return ahead(self._source.read, (self._rows[i : i + size] for i in starts), _READERS)

    def peek(self, n: int) -> Iterator[torch.Tensor]:
        return iter([self._source.read(self._rows[:n])])

    def subset(self, rows: np.ndarray, description: str) -> "StreamedImages":
        """Some rows (int64, ascending) as a set of its own, which is read while it is used too."""
        return StreamedImages(self._source, self._rows[rows], self.name, description)


class TensorPixels:
    """Images in memory, uint8 (N, 3, H, W) in any memory layout, as a PixelSource.

    Args:
        image_size: side in pixels to which they are scaled and cropped when they are read; None: as they are.
    """

    def __init__(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None,
        classes: tuple[str, ...] | None,
        image_size: int | None,
    ) -> None:
        self._images = images
        self._image_size = image_size
        self.labels = labels
        self.classes = classes

    def __len__(self) -> int:
        return self._images.shape[0]

    def read(self, rows: np.ndarray) -> torch.Tensor:
        """uint8 (len(rows), 3, H, W), contiguous."""
        images = self._images[torch.from_numpy(rows)].contiguous()
        return images if self._image_size is None else resize_and_crop(images, self._image_size)


def gather(
    source: PixelSource, rows: np.ndarray, name: str, description: str, resident_bytes: int = RESIDENT_BYTES
) -> ImageData | StreamedImages:
    """The chosen rows (int64, ascending) as one set: in memory if they take ``resident_bytes`` or less."""
    streamed = StreamedImages(source, rows, name, description)
    first = source.read(rows[:1])
    if first.numel() * len(rows) > resident_bytes:
        return streamed
    images = torch.empty((len(rows), *first.shape[1:]), dtype=torch.uint8)
    done = 0
    tell(Progress("reading images", 0, 1, 0, len(rows), "images", name))
    for batch in streamed.batches():
        images[done : done + batch.shape[0]] = batch
        done += batch.shape[0]
        tell(Progress("reading images", 0, 1, done, len(rows), "images", name))
    held = ImageData(images, streamed.labels, streamed.classes, name, description)
    held.resident_bytes = images.nbytes
    return held


def choose(total: int, samples: int | None, seed: int, name: str, what: str = "images") -> np.ndarray:
    """Row numbers, int64, ascending: all ``total``, or ``samples`` of them drawn without replacement.

    Raises:
        DataError: there are no rows, or fewer than ``samples``. OptionError: as of check_samples().
    """
    check_samples(samples, seed)
    if total == 0:
        raise DataError(f"{name}: no {what} in it; at least one is needed")
    if samples is None:
        return np.arange(total)
    if samples > total:
        raise DataError(f"{name}: {samples:,} samples asked for, but there are {total:,}")
    return np.sort(np.random.default_rng(seed).choice(total, samples, replace=False))


def check_samples(samples: int | None, seed: int) -> None:
    """Raises OptionError for fewer than 2 samples, more than MOST_SAMPLES, or a seed that torch refuses."""
    if samples is not None and (not isinstance(samples, Integral) or samples < 2):
        raise OptionError(f"{samples!r} samples asked for; a spread needs 2 or more, a whole number")
    if samples is not None and samples > MOST_SAMPLES:
        raise OptionError(f"{samples:,} samples asked for; there may be at most {MOST_SAMPLES:,}")
    check_seed(seed)


def nested(images: ImageData | StreamedImages, samples: int, seed: int) -> ImageData | StreamedImages:
    """``samples`` of the images, drawn with ``seed`` without replacement and kept in order.

    Of one seed, the images of a smaller number are among those of a larger one. Errors as choose().
    """
    total = images.samples or 0
    check_samples(samples, seed)
    if samples > total:
        raise DataError(f"{images.name}: {samples:,} samples asked for, but there are {total:,}")
    if samples == total:
        return images
    rows = np.sort(np.random.default_rng(seed).permutation(total)[:samples])
    return images.subset(rows, f"{images.description}, {samples:,} of these (nested, seed {seed})")


def describe(name: str, chosen: int, total: int, seed: int, image_size: int | None = None) -> str:
    """A set in a few words, such as "CIFAR-10 train, 5,000 of 50,000 images (seed 0)"."""
    counted = f"{total:,} images" if chosen == total else f"{chosen:,} of {total:,} images (seed {seed})"
    return f"{name}, {counted}" + ("" if image_size is None else f", at {Side.of(image_size)}")


def resize_and_crop(images: torch.Tensor, size: int) -> torch.Tensor:
    """uint8 (n, 3, H, W) → (n, 3, size, size), or as high as a :class:`Side` is, as torchvision's Resize and
    CenterCrop do it, and timm's.

    The shorter side is scaled to ``size`` (bilinear, antialiased), or as a :class:`Side` says, then the
    middle is cut out. Images of which nothing would be changed are returned uncopied.
    """
    how, (height, width) = Side.of(size), images.shape[-2:]
    if (height, width) == (how.height, size) and how.scaled == size:
        return images
    scaled = how.scaled_to(height, width)
    if min(scaled) == 1:  # torch scales to a single row or column only what lies with its channels last
        images = images.contiguous(memory_format=torch.channels_last)
    images = torch.nn.functional.interpolate(images, size=scaled, mode=how.mode, antialias=True)
    images = _bordered(images, how)
    top, left = (
        round((side - kept) / 2) for side, kept in zip(images.shape[-2:], (how.height, size), strict=True)
    )
    return images[..., top : top + how.height, left : left + size].contiguous()


def _bordered(images: torch.Tensor, side: Side) -> torch.Tensor:
    """Images at least as high and as wide as that: what they lack is a border, half of it on either side, an
    odd pixel below or to the right."""
    height, width = images.shape[-2:]
    if height >= side.height and width >= side:
        return images
    fill = torch.tensor(side.fill, dtype=images.dtype)[:, None, None]
    whole = fill.repeat(len(images), 1, max(side.height, height), max(side, width))
    top, left = max(0, side.height - height) // 2, max(0, side - width) // 2
    whole[..., top : top + height, left : left + width] = images
    return whole
