"""Data by name, as the command line has them: from a spec to what :func:`streamspread.analyze` takes."""

from __future__ import annotations

from typing import Any

from streamspread.errors import DataError
from streamspread.streams.adapt import as_stream
from streamspread.streams.loaders import is_data_module, loader_of
from streamspread.streams.stream import Stream


def data(
    spec: Any,
    split: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    image_size: int | None = None,
) -> Stream:
    """The images that a spec names, or the batches of a LightningDataModule's split.

    Images are uint8 (n, 3, H, W), as they are decoded; a model of one's own is given numbers by
    ``forward=lambda model, images: model(images / 255)``.

    Args:
        spec: as on the command line, such as "parquet:PATH" or "hf:NAME"; or a LightningDataModule.
        split: "train" (by default), "test" or "val"; of a module "predict" too, and by default the first
            that it has of predict, test, val and train.
        samples: how many images, drawn with ``seed`` without replacement and kept in row order; None: all.
        seed: of the draw, and of images that are generated.
        image_size: side in pixels to which images are scaled and cropped; None: as they are.

    Raises:
        DataError: the spec is unknown, or the data is missing, broken, of differing sizes or too few.
        OptionError: an option out of range.
    """
    if is_data_module(spec):
        if samples is not None or image_size is not None:
            raise DataError(f"{type(spec).__name__} chooses its samples and their size itself: give neither")
        loader, found = loader_of(spec, split)
        stream = as_stream(loader)
        stream.description = f"{type(spec).__name__} {found}: {stream.description}"
        return stream
    if not isinstance(spec, str):
        raise DataError(
            f"data are named by a text such as 'parquet:PATH', got {type(spec).__name__}, which analyze may "
            "take as it is"
        )
    from streamspread import datasets

    return datasets.load(spec, "train" if split is None else split, samples, seed, image_size)
