"""Images in one folder per class."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from streamspread.errors import DataError
from streamspread.system.files import storable


class FolderImages:
    """The image files under a folder whose subfolders are the classes, in order of class and path.

    Where the folder holds subfolders train or test, the split's is taken. Raises DataError where a folder is
    missing, has no class folders, or a class folder has no image.
    """

    def __init__(self, path: Path, split: str) -> None:
        from torchvision.datasets import ImageFolder

        self.root = _split_folder(path, split)
        try:
            found = ImageFolder(str(self.root))
        except OSError as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"{self.root} is not a folder with one folder of images per class ({reason})"
            ) from error
        self._paths = [Path(file) for file, _ in found.samples]
        self.labels: torch.Tensor | None = torch.tensor(found.targets, dtype=torch.int64)
        self.classes: tuple[str, ...] | None = tuple(storable(name) for name in found.classes)

    def __len__(self) -> int:
        return len(self._paths)

    def read_encoded(self, rows: np.ndarray) -> Sequence[bytes | None]:
        """The content of the rows' files."""
        try:
            return [self._paths[row].read_bytes() for row in rows]
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read ({error.strerror})") from error

    def where(self, row: int) -> str:
        """The file's path."""
        return str(self._paths[row])


def _split_folder(path: Path, split: str) -> Path:
    if not os.path.isdir(path):  # unlike Path.is_dir it takes a name that is too long for an absent one
        raise DataError(f"no folder {path}; give a folder with one folder of images per class")
    if (path / split).is_dir():
        return path / split
    other = next((name for name in ("train", "test") if (path / name).is_dir()), None)
    if other is not None:
        raise DataError(f"folder {path} has a folder {other} but none named {split}")
    return path
