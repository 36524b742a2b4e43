"""``cifar10`` and ``cifar10:ROOT``: CIFAR-10 as torchvision keeps it, downloaded where it is missing."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from streamspread.datasets.source import DataSource, Request
from streamspread.errors import DataError
from streamspread.system.downloads import downloads, expect_answer, reason_of

if TYPE_CHECKING:
    from streamspread.datasets.images import PixelSource, TensorPixels

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"  # torchvision.datasets.CIFAR10.url
_FOLDER, _ARCHIVE = "cifar-10-batches-py", URL.rpartition("/")[2]
_STALL_SECONDS = 30.0  # without a byte, within a download


class Cifar10MissingError(DataError):
    """CIFAR-10 is not there and cannot be downloaded; ``why`` is the message without the advice."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"{why}; give cifar10:ROOT with the folder {_FOLDER} in ROOT, or patches, which needs none"
        )
        self.why = why


def default_root() -> Path:
    """The folder that is searched for data sets: $STREAMSPREAD_DATA, else ~/.cache/streamspread."""
    return Path(os.environ.get("STREAMSPREAD_DATA") or Path.home() / ".cache" / "streamspread")


def open_cifar10(root: Path, split: str, image_size: int | None = None) -> TensorPixels:
    """The train (50,000) or test (10,000) images under ``root``, uint8 (3, 32, 32), or scaled to a size.

    They lie there in torchvision's layout, and are downloaded where they do not.

    Raises:
        Cifar10MissingError: they are broken, or missing and cannot be downloaded.
    """
    # os.path, since Path.exists would raise for a name that is too long.
    if not any(os.path.exists(root / name) for name in (_FOLDER, _ARCHIVE)):
        try:
            expect_answer(URL)  # before torchvision is imported, which takes most of a second
        except Exception as error:
            raise _missing(root, error) from error
    import torch
    from torchvision.datasets import CIFAR10

    from streamspread.datasets.images import TensorPixels

    train = split == "train"
    try:
        dataset = CIFAR10(str(root), train=train)
    except Exception as first:  # RuntimeError where files are missing, other kinds where they are broken
        if os.path.exists(root / _FOLDER):
            raise Cifar10MissingError(f"CIFAR-10 in {root / _FOLDER} is broken: remove it") from first
        try:
            _download(root)
            dataset = CIFAR10(str(root), train=train)
        except Exception as error:  # network, disk, rights, checksum: the user can do the same about each
            raise _missing(root, error) from error
    return TensorPixels(
        torch.from_numpy(dataset.data).permute(0, 3, 1, 2),
        torch.tensor(dataset.targets, dtype=torch.int64),
        tuple(dataset.classes),
        image_size,
    )


def _missing(root: Path, error: Exception) -> Cifar10MissingError:
    return Cifar10MissingError(f"CIFAR-10 is not in {root} and cannot be downloaded ({reason_of(error)})")


def _download(root: Path) -> None:
    """Put the data set's folder under root: whole, or not at all."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity, extract_archive

    archive = root / CIFAR10.filename
    has_archive = check_integrity(archive, CIFAR10.tgz_md5)
    if not has_archive:
        expect_answer(CIFAR10.url)
    root.mkdir(parents=True, exist_ok=True)
    beside = tempfile.mkdtemp(prefix=".cifar10-", dir=root)
    try:
        if has_archive:
            extract_archive(archive, beside)
        else:
            before = socket.getdefaulttimeout()
            socket.setdefaulttimeout(_STALL_SECONDS)  # of sockets opened without one, as torchvision's are
            try:
                # Results go to standard output, and nothing else.
                with downloads("torchvision.datasets.utils"), contextlib.redirect_stdout(io.StringIO()):
                    CIFAR10(beside, download=True)
            finally:
                socket.setdefaulttimeout(before)
        os.replace(Path(beside) / _FOLDER, root / _FOLDER)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _open(request: Request) -> tuple[PixelSource, str]:
    root = request.path if request.argument else default_root()
    return open_cifar10(root, request.split, request.image_size), f"CIFAR-10 {request.split}"


SOURCE = DataSource(
    form="cifar10[:ROOT]",
    about="CIFAR-10 as torchvision keeps it, downloaded where it is missing",
    open=_open,
)
