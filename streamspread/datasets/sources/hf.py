"""``hf:NAME``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from streamspread.datasets.source import SPLITS, DataSource, Request

if TYPE_CHECKING:
    from streamspread.datasets.images import PixelSource


def _open(request: Request) -> tuple[PixelSource, str]:
    from streamspread.datasets.decode import DecodedPixels, path_name
    from streamspread.datasets.hub import HubImages

    images = HubImages(request.argument, request.split)
    folder = os.path.isdir(request.path)
    name = path_name(request.path, request.split) if folder else f"{request.argument} {request.split}"
    return DecodedPixels(images, request.image_size), name


SOURCE = DataSource(
    form="hf:NAME",
    about="a data set of Hugging Face's: a folder that save_to_disk wrote, or a name, cached or on the hub",
    open=_open,
    splits=SPLITS,
    holds=lambda path: os.path.isfile(os.path.join(path, "dataset_info.json")),
)
