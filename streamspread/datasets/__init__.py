"""Where images come from: streams of batches, named data sets, and the way onto the device."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamspread.datasets.adapt import as_stream
    from streamspread.datasets.feed import prefetch
    from streamspread.datasets.images import ImageData, StreamedImages, nested
    from streamspread.datasets.labelled import Labelled, load_labelled
    from streamspread.datasets.specs import default, load
    from streamspread.datasets.stream import DEFAULT_BATCH_SIZE, Stream, checksum, count, fingerprint, head

__all__ = [
    "DEFAULT_BATCH_SIZE",
    "ImageData",
    "Labelled",
    "Stream",
    "StreamedImages",
    "as_stream",
    "checksum",
    "count",
    "default",
    "fingerprint",
    "head",
    "load",
    "load_labelled",
    "nested",
    "prefetch",
]

_HOMES = {
    "DEFAULT_BATCH_SIZE": "stream",
    "ImageData": "images",
    "Labelled": "labelled",
    "Stream": "stream",
    "StreamedImages": "images",
    "as_stream": "adapt",
    "checksum": "stream",
    "count": "stream",
    "default": "specs",
    "fingerprint": "stream",
    "head": "stream",
    "load": "specs",
    "load_labelled": "labelled",
    "nested": "images",
    "prefetch": "feed",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that importing the package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
