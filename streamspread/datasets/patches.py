"""Crops of the two photographs that scikit-learn ships: real pixels, nothing to download."""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_sample_images

from streamspread.errors import DataError

MOST = {"train": 50_000, "test": 10_000}
DEFAULT_SIZE = 32

_ORDER_SEED = 0


class PatchPixels:
    """Crops (3, size, size) at distinct places, of which train and test share none (though crops overlap).

    The places are the first 10,000 (test) and the next 50,000 (train) of one fixed permutation of all, fewer
    where the photographs have not so many. labels: which photograph. Raises DataError for a size above the
    photographs'.
    """

    def __init__(self, split: str, size: int = DEFAULT_SIZE) -> None:
        shipped = load_sample_images()
        photographs = [np.ascontiguousarray(photograph.transpose(2, 0, 1)) for photograph in shipped.images]
        most = min(min(photograph.shape[1:]) for photograph in photographs)
        if size > most:
            raise DataError(
                f"patches: {size}x{size} crops asked for; the photographs give up to {most}x{most}"
            )
        # All crops of a photograph as a view (3, rows, columns, size, size): nothing is copied before it is
        # read.
        self._windows = [
            np.lib.stride_tricks.sliding_window_view(photograph, (size, size), axis=(1, 2))
            for photograph in photographs
        ]
        counts = [windows.shape[1] * windows.shape[2] for windows in self._windows]
        order = np.random.default_rng(_ORDER_SEED).permutation(sum(counts))
        # The same share of places for test where there are too few for both.
        tests = min(MOST["test"], sum(counts) * MOST["test"] // sum(MOST.values()))
        self._places = order[:tests] if split == "test" else order[tests : tests + MOST["train"]]
        self._starts = np.cumsum([0, *counts])
        self.labels: torch.Tensor | None = torch.from_numpy(self._photograph(self._places))
        self.classes: tuple[str, ...] | None = tuple(Path(name).stem for name in shipped.filenames)

    def __len__(self) -> int:
        return len(self._places)

    def read(self, rows: np.ndarray) -> torch.Tensor:
        """uint8 (len(rows), 3, size, size)."""
        places = self._places[rows]
        which = self._photograph(places)
        size = self._windows[0].shape[-1]
        crops = np.empty((len(rows), 3, size, size), dtype=np.uint8)
        for index, windows in enumerate(self._windows):
            mine = which == index
            top, left = np.divmod(places[mine] - self._starts[index], windows.shape[2])
            crops[mine] = windows[:, top, left].swapaxes(0, 1)
        return torch.from_numpy(crops)

    def _photograph(self, places: np.ndarray) -> np.ndarray:
        """The index of the photograph in which each place lies, int64."""
        return np.searchsorted(self._starts, places, side="right") - 1
