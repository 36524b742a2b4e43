"""What a data source is, and their registry. No library is imported here: help texts are made from it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamspread.system.registry import Registry

if TYPE_CHECKING:
    from streamspread.datasets.images import PixelSource
    from streamspread.datasets.texts import TextSource


#: The parts of data that there are; a source may have fewer.
SPLITS = ("train", "test", "val")

#: Of an image file's name: torchvision.datasets.folder.IMG_EXTENSIONS, which its ImageFolder lists.
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The images that are asked of a source.

    Attributes:
        argument: what follows the colon of the spec; empty where nothing does.
        split: one of those that the source has.
        samples: how many images will be used; None: all. Only a source that generates its images needs it;
            rows are drawn from what the source opens by whoever asked.
        seed: for a source that generates its images.
        image_size: width in pixels of square images, or height, width and how others are brought to it
            (:class:`streamspread.streams.resize.Side`); None: as they are.
    """

    argument: str
    split: str
    samples: int | None
    seed: int
    image_size: int | None

    @property
    def path(self) -> Path:
        """The argument as a path, with ``~`` expanded."""
        # Not Path.expanduser, which raises where there is no such user.
        return Path(os.path.expanduser(self.argument))


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Images or texts that a data spec can name: a file of ``datasets/sources/`` defines one as ``SOURCE``.

    Attributes:
        form: how a spec is written: ``name`` where nothing follows, ``name:WHAT`` where something must,
            ``name[:WHAT]`` where it may. The name is the file's.
        about: one line for help texts.
        open: gives the pixels, and their name for descriptions and messages. Raises DataError where they are
            missing or broken. It imports what it needs itself: this file is read to print help.
        texts: the like for texts; None: it has none.
        fits: whether a bare path looks as if it were meant for this source; None: none does.
        holds: whether what lies at a path is this source's and no other's; None: it is no path's.
        splits: those that it has.
    """

    form: str
    about: str
    open: Callable[[Request], tuple[PixelSource, str]]
    texts: Callable[[Request], tuple[TextSource, str]] | None = None
    fits: Callable[[str], bool] | None = None
    holds: Callable[[str], bool] | None = None
    splits: tuple[str, ...] = ("train", "test")

    @property
    def placeholder(self) -> str:
        """What stands for the argument in the form, such as "PATH"; empty where there is no argument."""
        return self.form.partition(":")[2].rstrip("]")

    @property
    def needs_argument(self) -> bool:
        return bool(self.placeholder) and not self.form.endswith("]")


SOURCES: Registry[DataSource] = Registry("streamspread.datasets.sources", "SOURCE")


def data_forms() -> tuple[str, ...]:
    """How data specs are written, one form for each source, such as ``("cifar10[:ROOT]", …, "patches")``."""
    return tuple(source.form for _, source in SOURCES.items())
