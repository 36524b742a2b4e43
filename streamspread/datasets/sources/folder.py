"""``folder:PATH``."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from streamspread.datasets.source import IMAGE_ENDINGS, SPLITS, DataSource, Request

if TYPE_CHECKING:
    from streamspread.datasets.images import PixelSource


def _open(request: Request) -> tuple[PixelSource, str]:
    from streamspread.datasets.decode import DecodedPixels, path_name
    from streamspread.datasets.folder import FolderImages

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
