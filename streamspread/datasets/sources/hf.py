"""``hf:NAME``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from streamspread.datasets.source import SPLITS, DataSource, Request

if TYPE_CHECKING:
    from streamspread.datasets.images import PixelSource
    from streamspread.datasets.texts import TextSource


def _open(request: Request) -> tuple[PixelSource, str]:
    from streamspread.datasets.decode import DecodedPixels
    from streamspread.datasets.hub import HubImages

    images = HubImages(request.argument, request.split)
    return DecodedPixels(images, request.image_size), _name(request)


def _texts(request: Request) -> tuple[TextSource, str]:
    from streamspread.datasets.hub import HubTexts

    return HubTexts(request.argument, request.split), _name(request)


def _name(request: Request) -> str:
    from streamspread.datasets.decode import path_name

    folder = os.path.isdir(request.path)
    return path_name(request.path, request.split) if folder else f"{request.argument} {request.split}"


SOURCE = DataSource(
    form="hf:NAME",
    about="images or texts of Hugging Face's: a folder of save_to_disk, or a name, cached or on the hub",
    open=_open,
    texts=_texts,
    splits=SPLITS,
    holds=lambda path: os.path.isfile(os.path.join(path, "dataset_info.json")),
)
