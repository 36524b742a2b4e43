"""``parquet:PATH``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from streamspread.datasets.source import SPLITS, DataSource, Request

if TYPE_CHECKING:
    from streamspread.datasets.images import PixelSource


def _open(request: Request) -> tuple[PixelSource, str]:
    from streamspread.datasets.decode import DecodedPixels, path_name
    from streamspread.datasets.parquet import ParquetImages

    images = ParquetImages(request.path, request.split)
    return DecodedPixels(images, request.image_size), path_name(request.path, request.split)


SOURCE = DataSource(
    form="parquet:PATH",
    about="encoded images in a Parquet file, or in a folder of them, with Hugging Face's columns",
    open=_open,
    splits=SPLITS,
    fits=os.path.isfile,
)
