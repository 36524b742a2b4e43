"""``folder:PATH``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from streamspread.datasets.source import SPLITS, DataSource, Request

if TYPE_CHECKING:
    from streamspread.datasets.images import PixelSource


def _open(request: Request) -> tuple[PixelSource, str]:
    from streamspread.datasets.decode import DecodedPixels, path_name
    from streamspread.datasets.folder import FolderImages

    images = FolderImages(request.path, request.split)
    return DecodedPixels(images, request.image_size), path_name(request.path, request.split)


SOURCE = DataSource(
    form="folder:PATH",
    about="a folder with one folder of images per class, or with train/, test/ and val/ of these",
    open=_open,
    splits=SPLITS,
    fits=os.path.isdir,
)
