"""``folder:PATH``: images in one folder per class."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from streamspread.datasets.source import IMAGE_ENDINGS, SPLITS, DataSource, Request
from streamspread.errors import DataError
from streamspread.system.downloads import reason_of
from streamspread.system.files import PlaceError, open_regular
from streamspread.system.text import storable

if TYPE_CHECKING:
    import numpy as np
    import torch

    from streamspread.datasets.images import PixelSource

_VALIDATION = ("val", "valid", "validation")  # what that split's folder may be called


class FolderImages:
    """The image files of a folder whose subfolders are the classes, in order of class and path.

    They are the files that torchvision's ImageFolder lists, but that links may lead in circles. Where the
    folder has a subfolder named after the split, that one is read instead.

    Attributes:
        labels: int64 (rows,), the class's number. ``classes``: the subfolders' names.

    Raises:
        DataError: no such folder, no class folders in it, or a class folder without an image.
    """

    def __init__(self, path: Path, split: str) -> None:
        import torch

        self.root = _split_folder(path, split)
        try:
            names = _classes_in(self.root)
            listing = [_images_in(self.root / name) for name in names]
        except OSError as error:
            raise DataError(f"{self.root} has no folders of images per class ({reason_of(error)})") from error
        self._paths = [file for files in listing for file in files]
        counts = torch.tensor([len(files) for files in listing])
        self.labels: torch.Tensor | None = torch.arange(len(listing)).repeat_interleave(counts)
        self.classes: tuple[str, ...] | None = tuple(storable(name) for name in names)

    def __len__(self) -> int:
        return len(self._paths)

    def read_encoded(self, rows: np.ndarray) -> Sequence[bytes | None]:
        """The content of the rows' files; DataError for one that cannot be read."""
        try:
            return [_content(self._paths[row]) for row in rows]
        except PlaceError as error:
            raise DataError(str(error)) from error
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read ({error.strerror})") from error

    def where(self, row: int) -> str:
        """The file's path."""
        return str(self._paths[row])


def _classes_in(folder: Path) -> list[str]:
    """The folders in a folder, in order.

    Raises:
        FileNotFoundError: there is none.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir())
    if not names:
        raise FileNotFoundError(f"no class folder in {folder}")
    return names


def _images_in(folder: Path) -> list[Path]:
    """The images in and below a folder, in order; of what links lead to more than once, the first.

    Raises:
        FileNotFoundError: there is none.
    """
    found: list[Path] = []
    seen = set()
    for place, inside, files in os.walk(folder, followlinks=True):
        itself = os.stat(place)
        if (itself.st_dev, itself.st_ino) in seen:
            inside.clear()
            continue
        seen.add((itself.st_dev, itself.st_ino))
        inside.sort()
        found += [Path(place, name) for name in sorted(files) if name.lower().endswith(IMAGE_ENDINGS)]
    if not found:
        raise FileNotFoundError(f"no image in {folder}, which end in {', '.join(IMAGE_ENDINGS)}")
    return sorted(found, key=lambda file: (str(file.parent), file.name))


def _content(path: Path) -> bytes:
    """What is in a file; of a pipe nothing might ever come."""
    try:
        with open_regular(path) as file:
            return file.read()
    except PlaceError as error:
        raise PlaceError(f"{path} cannot be read: {error}") from error


def _split_folder(path: Path, split: str) -> Path:
    if not os.path.isdir(path):  # Path.is_dir would raise for a name that is too long
        raise DataError(f"no folder {path}; give a folder with one folder of images per class")
    called = _VALIDATION if split == "val" else (split,)

    def first(names: Iterable[str]) -> str | None:  # nor for a folder that may not be looked into
        return next((name for name in names if os.path.isdir(path / name)), None)

    if own := first(called):
        return path / own
    other = first(("train", "test", *_VALIDATION))
    if other is not None:
        raise DataError(f"folder {path} has a folder {other} but none named {split}")
    return path


def _open(request: Request) -> tuple[PixelSource, str]:
    from streamspread.datasets.decode import DecodedPixels, path_name

    images = FolderImages(request.path, request.split)
    return DecodedPixels(images, request.image_size), path_name(request.path, request.split)


_LOOKED_AT = 1_000  # files


def _holds(path: str) -> bool:
    """A folder with an image one or two folders below it."""
    if not os.path.isdir(path):
        return False
    for below in ("*/*", "*/*/*"):
        if any(file.suffix.lower() in IMAGE_ENDINGS for file in islice(Path(path).glob(below), _LOOKED_AT)):
            return True
    return False


SOURCE = DataSource(
    form="folder:PATH",
    about="a folder with one folder of images per class, or with train/, test/ and val/ of these",
    open=_open,
    splits=SPLITS,
    fits=os.path.isdir,
    holds=_holds,
)
