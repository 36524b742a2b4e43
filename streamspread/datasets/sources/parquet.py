"""``parquet:PATH``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from streamspread.datasets.source import SPLITS, DataSource, Request

if TYPE_CHECKING:
    from streamspread.datasets.images import PixelSource


def _open(request: Request) -> tuple[PixelSource, str]:
    from streamspread.datasets.decode import DecodedPixels, path_name
    from streamspread.datasets.parquet import ParquetImages

    images = ParquetImages(request.path, request.split)
    return DecodedPixels(images, request.image_size), path_name(request.path, request.split)


def _holds(path: str) -> bool:
    """A Parquet file, or a folder of some."""
    files = list(Path(path).glob("*.parquet"))[:1] if os.path.isdir(path) else [Path(path)]
    return any(file.suffix == ".parquet" and os.path.isfile(file) for file in files)


SOURCE = DataSource(
    form="parquet:PATH",
    about="encoded images in a Parquet file, or in a folder of them, with Hugging Face's columns",
    open=_open,
    splits=SPLITS,
    fits=os.path.isfile,
    holds=_holds,
)
