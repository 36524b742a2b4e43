"""Reads a data spec, such as cifar10 or parquet:PATH, into a set of images."""

import difflib
import os
from pathlib import Path

from streamspread.datasets.cifar10 import Cifar10MissingError, default_root, open_cifar10
from streamspread.datasets.decode import DecodedPixels
from streamspread.datasets.images import (
    RESIDENT_BYTES,
    ImageData,
    PixelSource,
    StreamedImages,
    check_samples,
    choose,
    describe,
    gather,
)
from streamspread.errors import DataError, OptionError
from streamspread.system.files import storable

SPLITS = ("train", "test")
MOST_PIXELS = 65_535  # of a side, as JPEG has it
SPECS = ("cifar10[:ROOT]", "parquet:PATH", "folder:PATH", "patches", "noise")


def load(
    spec: str,
    split: str = "train",
    samples: int | None = None,
    seed: int = 0,
    image_size: int | None = None,
    *,
    resident_bytes: int = RESIDENT_BYTES,
) -> ImageData | StreamedImages:
    """The images that a spec names, RGB uint8 (N, 3, H, W).

    spec: one of SPECS. samples: how many, drawn with `seed` without replacement and kept in row order; None
    means all. image_size: scale the shorter side to it and cut out the middle (patches and noise are made at
    that size). Sets that take more than resident_bytes when decoded are read as they are used. Raises
    DataError where the data is missing, broken, of differing sizes or too few, OptionError for an option out
    of range.
    """
    if split not in SPLITS:
        raise OptionError(f"split {split!r} asked for; there are {' and '.join(SPLITS)}")
    if image_size is not None and not 1 <= image_size <= MOST_PIXELS:
        raise OptionError(f"image size {image_size:,} asked for; it must be from 1 to {MOST_PIXELS:,}")
    check_samples(samples, seed)
    source, name = _open(spec, split, samples, seed, image_size)
    rows = choose(len(source), samples, seed, name)
    return gather(
        source, rows, name, describe(name, len(rows), len(source), seed, image_size), resident_bytes
    )


def default(
    split: str = "train", samples: int | None = None, seed: int = 0, image_size: int | None = None
) -> tuple[ImageData | StreamedImages, str | None]:
    """CIFAR-10 where it is to be had, else patches and one line that says why; errors as load()."""
    try:
        return load("cifar10", split, samples, seed, image_size), None
    except Cifar10MissingError as error:
        message = f"{error.why}; using patches instead: crops of the two photographs that scikit-learn ships"
    return load("patches", split, samples, seed, image_size), message


def _open(
    spec: str, split: str, samples: int | None, seed: int, image_size: int | None
) -> tuple[PixelSource, str]:
    """Where the spec's pixels come from, and their name. Libraries are imported only for the spec that needs
    them."""
    kind, _, argument = spec.partition(":")
    if kind in ("parquet", "folder") and not argument:
        raise DataError(f"data {spec!r} names no path; give {kind}:PATH")
    if kind in ("patches", "noise") and argument:
        raise DataError(f"data {spec!r}: {kind} takes nothing after it; give {kind}")
    path = _path(argument)
    match kind:
        case "cifar10":
            root = path if argument else default_root()
            return open_cifar10(root, split, image_size), f"CIFAR-10 {split}"
        case "parquet":
            from streamspread.datasets.parquet import ParquetImages

            return DecodedPixels(ParquetImages(path, split), image_size), _path_name(path, split)
        case "folder":
            from streamspread.datasets.folder import FolderImages

            return DecodedPixels(FolderImages(path, split), image_size), _path_name(path, split)
        case "patches":
            from streamspread.datasets.patches import DEFAULT_SIZE, PatchPixels

            return PatchPixels(split, image_size or DEFAULT_SIZE), f"patches {split}"
        case "noise":
            from streamspread.datasets.noise import DEFAULT_SAMPLES, DEFAULT_SIZE, NoisePixels

            made = samples or DEFAULT_SAMPLES[split]
            return NoisePixels(split, made, seed, image_size or DEFAULT_SIZE), f"noise {split} (seed {seed})"
    raise _unknown(spec, kind)


def _path(text: str) -> Path:
    # Not Path.expanduser, which raises for a user that is not there.
    return Path(os.path.expanduser(text))


def _path_name(path: Path, split: str) -> str:
    """The last two parts of a path, as the last alone is often just train.parquet; for a folder the split
    too."""
    whole = path.resolve()
    name = "/".join(whole.parts[-2:]) if len(whole.parts) > 2 else str(whole)
    return storable(f"{name} {split}" if whole.is_dir() else name)


def _unknown(spec: str, kind: str) -> DataError:
    known = {form.partition(":")[0].removesuffix("["): form for form in SPECS}
    close = difflib.get_close_matches(kind, known, 1)
    path = _path(spec)
    is_folder = os.path.isdir(path)  # unlike Path.is_dir it takes a name that is too long for an absent one
    if spec and (is_folder or os.path.isfile(path)):
        meant = f"did you mean {'folder' if is_folder else 'parquet'}:{spec}? "
    else:
        meant = f"did you mean {known[close[0]]}? " if close else ""
    return DataError(f"data {spec!r} is unknown; {meant}There are {', '.join(SPECS)}")
