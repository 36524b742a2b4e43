"""Named sets of images: what ``--data`` means."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamspread.datasets.images import ImageData, StreamedImages, nested
    from streamspread.datasets.labelled import Labelled, load_labelled
    from streamspread.datasets.specs import default, load

__all__ = ["ImageData", "Labelled", "StreamedImages", "default", "load", "load_labelled", "nested"]

_HOMES = {
    "ImageData": "images",
    "Labelled": "labelled",
    "StreamedImages": "images",
    "default": "specs",
    "load": "specs",
    "load_labelled": "labelled",
    "nested": "images",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that importing the package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
