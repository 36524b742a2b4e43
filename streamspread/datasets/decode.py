"""From encoded images (JPEG, PNG and whatever else Pillow reads) to RGB pixels of one size."""

import functools
import importlib.util
import io
import re
from collections.abc import Callable, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from streamspread.datasets.images import resize_and_crop
from streamspread.errors import DataError
from streamspread.system.text import storable

#: Pixels of the largest image that is decoded, of any format; Pillow's own limit.
MOST_IN_IMAGE = 178_956_970

_TOGETHER = 16  # images that are decoded before they are scaled, which may leave little of them
_RGB = 3  # torchvision.io.ImageReadMode.RGB
_JPEG_START = b"\xff\xd8\xff"
# Markers that begin a frame, whose header tells the size: SOF0 to SOF15, without those of tables.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_IN_MEMORY = re.compile(r"\s*<_io\.BytesIO[^>]*>")  # what Pillow calls the file in its messages


class EncodedSource(Protocol):
    """Encoded images by row. ``labels`` and ``classes`` as in PixelSource."""

    labels: torch.Tensor | None
    classes: tuple[str, ...] | None

    def __len__(self) -> int: ...

    def read_encoded(self, rows: np.ndarray) -> Sequence[bytes | None]:
        """The encoded images of some rows; None where a row has none. Called from several threads at once."""
        ...

    def where(self, row: int) -> str:
        """A row's place, for messages."""
        ...


class DecodedPixels:
    """The pixels of encoded images, RGB.

    With ``image_size`` they are scaled and cropped to it; else all must have the size of the first one read.
    """

    def __init__(self, source: EncodedSource, image_size: int | None) -> None:
        self._source = source
        self._image_size = image_size
        self._first: tuple[int, tuple[int, ...]] | None = None
        self.labels = source.labels
        self.classes = source.classes

    def __len__(self) -> int:
        return len(self._source)

    def read(self, rows: np.ndarray) -> torch.Tensor:
        """uint8 (len(rows), 3, H, W); DataError for a broken image and for one of another size."""
        if self._image_size is not None:
            size, parts = self._image_size, (rows[i : i + _TOGETHER] for i in range(0, len(rows), _TOGETHER))
            return torch.cat([self._resized(self._decoded(part), size) for part in parts])
        images = self._decoded(rows)
        if self._first is None:
            self._first = int(rows[0]), tuple(images[0].shape)
        first_row, shape = self._first
        for row, image in zip(rows, images, strict=True):
            if tuple(image.shape) != shape:
                odd, first = self._source.where(int(row)), self._source.where(first_row)
                sizes = f"{odd} is {_size(image.shape)} pixels, {first} is {_size(shape)}"
                raise DataError(f"{sizes}; give an image size, to which all are scaled and cropped")
        return torch.stack(images)

    def _decoded(self, rows: np.ndarray) -> list[torch.Tensor]:
        """The images, each uint8 (3, H, W); DataError for one that is too large, before it is decoded."""
        encoded = self._source.read_encoded(rows)
        for data, row in zip(encoded, rows, strict=True):
            if data is not None and data.startswith(_JPEG_START):  # of others Pillow tells
                self._check_size(*_jpeg_size(data), row=int(row))
        decode = _jpeg_decoder()
        if decode and all(data is not None and data.startswith(_JPEG_START) for data in encoded):
            # The same pixels as Pillow's, sooner where images are small. Each is copied, since torch takes no
            # read-only memory. torch does not say which image is broken: then Pillow reads them one by one.
            raw = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in encoded if data]
            try:
                return [decode(data, _RGB) for data in raw]
            except RuntimeError:
                pass
        return [self._decode_one(data, int(row)) for data, row in zip(encoded, rows, strict=True)]

    def _decode_one(self, data: bytes | None, row: int) -> torch.Tensor:
        from PIL import Image

        if not data:
            raise DataError(f"{self._source.where(row)} holds no image")
        try:
            with Image.open(io.BytesIO(data)) as image:
                self._check_size(*image.size, row=row)
                pixels = np.array(image.convert("RGB"))
        except DataError:
            raise
        except Exception as error:  # Pillow's readers raise many kinds for broken files
            reason = " ".join(_IN_MEMORY.sub("", str(error)).split()) or type(error).__name__
            raise DataError(f"{self._source.where(row)} cannot be decoded as an image ({reason})") from error
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()

    def _check_size(self, width: int, height: int, row: int) -> None:
        if width * height > MOST_IN_IMAGE:
            where = self._source.where(row)
            raise DataError(f"{where} is {width}x{height} pixels, more than {MOST_IN_IMAGE:,}; scale it down")

    @staticmethod
    def _resized(images: list[torch.Tensor], size: int) -> torch.Tensor:
        if all(image.shape == images[0].shape for image in images):
            return resize_and_crop(torch.stack(images), size)
        return torch.cat([resize_and_crop(image[None], size) for image in images])


@functools.cache
def _jpeg_decoder() -> Callable[[torch.Tensor, int], torch.Tensor] | None:
    """What torchvision's decode_jpeg calls for one image, of the library that holds it: the package around it
    imports torch's compiler, which takes a second. None where there is no such library for this torch."""
    try:
        package = importlib.util.find_spec("torchvision")
        library = PathFinder.find_spec("image", package.submodule_search_locations)  # type: ignore[union-attr]
        torch.ops.load_library(library.origin)  # type: ignore[union-attr]
        decode: Callable[[torch.Tensor, int], torch.Tensor] = torch.ops.image.decode_jpeg
    except (AttributeError, OSError):
        return None
    return decode


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """(width, height) from a JPEG's frame header; (0, 0) where there is none, which the decoder will say.

    ITU-T T.81, section B.1.1.4 and B.2.2: segments of a marker and a length, which counts itself.
    """
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return 0, 0
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        if marker == 0xFF:  # fill bytes may precede a marker
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a segment
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return 0, 0


def path_name(path: Path, split: str) -> str:
    """A name for the images at ``path``: its last two parts, as one is often just ``train.parquet``; for a
    folder, the split too."""
    whole = path.resolve()
    name = "/".join(whole.parts[-2:]) if len(whole.parts) > 2 else str(whole)
    return storable(f"{name} {split}" if whole.is_dir() else name)


def _size(shape: Sequence[int]) -> str:
    """(3, H, W) as "WxH", the order in which image programs say it."""
    return f"{shape[2]}x{shape[1]}"
