"""Images with a label each, all in memory: what training needs."""

from streamspread.datasets.images import ImageData
from streamspread.datasets.specs import load
from streamspread.errors import DataError

_WHOLE = 1 << 60  # bytes: training reads the images in random order, so all of them stay in memory


def load_labelled(spec: str, split: str, image_size: int) -> ImageData:
    """All images of a split with their labels.

    Raises DataError as load(), and where the images have no labels.
    """
    found = load(spec, split, image_size=image_size, resident_bytes=_WHOLE)
    if not isinstance(found, ImageData) or found.labels is None:
        raise DataError(f"{found.description}: training needs a label for every image, and there are none")
    return found
