"""Named sets of images and texts: what ``--data`` means."""

from typing import TYPE_CHECKING

from streamspread.system.registry import lazily

if TYPE_CHECKING:
    from streamspread.datasets.images import ImageData as ImageData
    from streamspread.datasets.images import StreamedImages as StreamedImages
    from streamspread.datasets.images import nested as nested
    from streamspread.datasets.source import SOURCES as SOURCES
    from streamspread.datasets.source import DataSource as DataSource
    from streamspread.datasets.source import data_forms as data_forms
    from streamspread.datasets.specs import Labelled as Labelled
    from streamspread.datasets.specs import default as default
    from streamspread.datasets.specs import load as load
    from streamspread.datasets.specs import load_labelled as load_labelled
    from streamspread.datasets.specs import load_texts as load_texts

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

__getattr__ = lazily(__name__, _HOMES)
