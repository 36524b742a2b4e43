"""Named sets of images and texts: what ``--data`` means."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamspread.datasets.images import ImageData, StreamedImages, nested
    from streamspread.datasets.source import SOURCES, DataSource, data_forms
    from streamspread.datasets.specs import Labelled, default, load, load_labelled, load_texts

# Public name → module that defines it, imported when the name is first asked for: importing this room, and
# `source`, loads no library.
_HOMES = {
    "SOURCES": "source",
    "DataSource": "source",
    "ImageData": "images",
    "Labelled": "specs",
    "StreamedImages": "images",
    "data_forms": "source",
    "default": "specs",
    "load": "specs",
    "load_labelled": "specs",
    "load_texts": "specs",
    "nested": "images",
}

__all__ = [
    "SOURCES",
    "DataSource",
    "ImageData",
    "Labelled",
    "StreamedImages",
    "data_forms",
    "default",
    "load",
    "load_labelled",
    "load_texts",
    "nested",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
