"""Reads a data spec, such as ``cifar10`` or ``parquet:PATH``, into a set of images or texts."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch

from streamspread.datasets.images import (
    RESIDENT_BYTES,
    ImageData,
    StreamedImages,
    check_samples,
    choose,
    describe,
    gather,
)
from streamspread.datasets.source import SOURCES, SPLITS, DataSource, Request, data_forms
from streamspread.datasets.sources.cifar10 import Cifar10MissingError
from streamspread.errors import BudgetError, DataError, OptionError, check_whole
from streamspread.streams.resize import Side
from streamspread.system.memory import format_bytes, free_bytes

if TYPE_CHECKING:
    from streamspread.datasets.texts import Texts, Tokenizer

T = TypeVar("T")

MOST_PIXELS = 65_535  # of a side: JPEG's limit
_NO_LIMIT = 1 << 60  # bytes: training reads the images in random order, so all of them stay in memory
_FIRST_LOOK = 2 * (1 + 4)  # bytes for each number of an image: of two, as uint8 and as float32


def load(
    spec: str,
    split: str = "train",
    samples: int | None = None,
    seed: int = 0,
    image_size: int | None = None,
    *,
    resident_bytes: int = RESIDENT_BYTES,
) -> ImageData | StreamedImages:
    """The images that a spec names: RGB, uint8 (N, 3, H, W).

    Args:
        spec: written as one of :func:`data_forms`.
        split: "train", "test" or, where a source has it, "val".
        samples: how many, drawn with ``seed`` without replacement and kept in row order; None: all.
        seed: of the draw, and of images that are generated.
        image_size: side of the result in pixels. The shorter side is scaled to it and the middle cut out;
            patches and noise are generated at that size.
        resident_bytes: sets that take more when decoded are read as they are used.

    Raises:
        DataError: the spec is unknown, or the data is missing, broken, of differing sizes or too few.
        OptionError: an option out of range. BudgetError: there is no room for images of that size.
    """
    if image_size is not None:
        check_whole("image size", image_size)
        if image_size > MOST_PIXELS:
            raise OptionError(f"image size {image_size:,} asked for; it must be from 1 to {MOST_PIXELS:,}")
    source, request = _asked(spec, split, samples, seed, image_size)
    if image_size is not None:
        # The two images that a network is first looked at with: a system that runs out of memory ends the
        # program without a word.
        height = Side.of(image_size).height
        needed, free = _FIRST_LOOK * 3 * height * image_size, free_bytes(torch.device("cpu"))
        if needed > free:
            room = f"take {format_bytes(needed)} or more, and {format_bytes(free)} of memory are free"
            raise BudgetError(f"images at {height:,}x{image_size:,} {room}: lower --image-size")
    pixels, name = _opened(spec, source.open, request)
    rows = choose(len(pixels), samples, seed, name)
    description = describe(name, len(rows), len(pixels), seed, image_size)
    return gather(pixels, rows, name, description, resident_bytes)


def load_texts(
    spec: str,
    tokenizer: Tokenizer,
    split: str = "train",
    samples: int | None = None,
    seed: int = 0,
    *,
    most: int | None = None,
) -> tuple[Texts, int]:
    """The texts that a spec names, as tokens, and how many there are before ``samples`` of them are drawn.

    Args:
        tokenizer: of the model that is to read them. Others as of :func:`load`.
        most: where ``samples`` is None, so many at the most.

    Raises:
        DataError: the spec is unknown or has no texts, or these are missing, broken or too few.
        OptionError: an option out of range.
    """
    from streamspread.datasets.texts import chosen

    source, request = _asked(spec, split, samples, seed, None)
    if source.texts is None:
        having = ", ".join(one.form for _, one in SOURCES.items() if one.texts is not None)
        raise DataError(f"data {spec!r} has images, and texts are needed, as of {having}")
    texts, name = _opened(spec, source.texts, request)
    if samples is None and most is not None and len(texts) > most:
        samples = most
    return chosen(texts, tokenizer, samples, seed, name)


class Labelled(NamedTuple):
    """images: uint8 (N, 3, H, W). labels: int64 (N,). description: the data set in a few words."""

    images: torch.Tensor
    labels: torch.Tensor
    description: str


def load_labelled(
    spec: str, split: str, image_size: int, samples: int | None = None, seed: int = 0
) -> Labelled:
    """All images of a split, or ``samples`` of them drawn with ``seed``, with their labels, at ``image_size``
    pixels.

    Raises:
        DataError: as of load(), and where the images have no labels. OptionError: as of load().
    """
    data = load(spec, split, samples, seed, image_size=image_size, resident_bytes=_NO_LIMIT)
    if not isinstance(data, ImageData) or data.labels is None:
        raise DataError(f"{data.description}: training needs a label for every image, and there are none")
    return Labelled(data.images, data.labels, data.description)


def default(*arguments: Any, **options: Any) -> tuple[ImageData | StreamedImages, str | None]:
    """CIFAR-10 and None where it is there or can be downloaded, else patches and one line that says why.
    Takes and raises what :func:`load` does, but for the spec."""
    try:
        return load("cifar10", *arguments, **options), None
    except Cifar10MissingError as error:
        message = f"{error.why}; using patches instead: crops of the two photographs that scikit-learn ships"
    return load("patches", *arguments, **options), message


def _asked(
    spec: str, split: str, samples: int | None, seed: int, image_size: int | None
) -> tuple[DataSource, Request]:
    """The source of a spec, and what is asked of it. Errors as of :func:`load`."""
    if not isinstance(split, str) or split not in SPLITS:
        raise OptionError(f"split {split!r} asked for; there are {', '.join(SPLITS)}")
    check_samples(samples, seed)
    source, argument = _source(spec)
    if split not in source.splits:
        raise DataError(f"data {spec!r} has no split {split}; it has {' and '.join(source.splits)}")
    asked = Request(argument=argument, split=split, samples=samples, seed=seed, image_size=image_size)
    return source, asked


def _opened(spec: str, opening: Callable[[Request], T], request: Request) -> T:
    """What a source opens. DataError where it cannot, with the spec of another that can."""
    try:
        return opening(request)
    except DataError as error:
        kinds = _holding(request.argument)
        if kinds and spec.partition(":")[0] not in kinds:
            other = f"{kinds[0]}:{request.argument}"
            if other not in str(error):
                raise DataError(f"{error}; did you mean {other}?") from error
        raise


def _source(spec: str) -> tuple[DataSource, str]:
    """The source that a spec names, and what follows its colon.

    Raises:
        DataError: there is no such source, or it takes no argument, or it needs one.
    """
    name, _, argument = spec.partition(":")
    if name not in SOURCES.names():
        raise _unknown(spec, name)
    source = SOURCES.get(name)
    if source.needs_argument and not argument:
        raise DataError(f"data {spec!r} names no {source.placeholder.lower()}; give {source.form}")
    if argument and not source.placeholder:
        raise DataError(f"data {spec!r}: {name} takes nothing after it; give {source.form}")
    return source, argument


def _holding(argument: str) -> list[str]:
    """The sources that what lies at that path belongs to."""
    path = os.path.expanduser(argument)
    return [kind for kind, source in SOURCES.items() if source.holds is not None and source.holds(path)]


def _unknown(spec: str, name: str) -> DataError:
    path, fitting = os.path.expanduser(spec), _holding(spec)
    fitting += [kind for kind, source in SOURCES.items() if source.fits is not None and source.fits(path)]
    close = difflib.get_close_matches(name, SOURCES.names(), 1)
    meant = ""
    if spec and fitting:
        meant = f"did you mean {fitting[0]}:{spec}? "
    elif close:
        meant = f"did you mean {SOURCES.get(close[0]).form}? "
    return DataError(f"data {spec!r} is unknown; {meant}There are {', '.join(data_forms())}")
