"""``patches``: crops of the two photographs that scikit-learn ships: real pixels, nothing to download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from streamspread.datasets.source import DataSource, Request
from streamspread.errors import DataError
from streamspread.streams.resize import Side

if TYPE_CHECKING:
    import numpy as np
    import torch

    from streamspread.datasets.images import PixelSource

MOST = {"train": 50_000, "test": 10_000}
DEFAULT_SIZE = 32

_NAMES = ("china", "flower")
_ORDER_SEED = 0


class PatchPixels:
    """Crops, uint8 (3, H, W), each from another place; train and test share no place (but do overlap).

    All places in both photographs are put in one fixed random order: the first 10,000 are test, the next
    50,000 train; at a size with fewer places the two shares are the same.

    Attributes:
        labels: int64 (rows,), the photograph's number. ``classes``: the photographs' names.

    Raises:
        DataError: a size larger than the photographs, or these are missing.
    """

    def __init__(self, split: str, size: int = DEFAULT_SIZE) -> None:
        import numpy as np
        import torch

        photographs = [_photograph(name) for name in _NAMES]
        largest = min(min(photograph.shape[1:]) for photograph in photographs)
        window = Side.of(size).height, int(size)
        if max(window) > largest:
            raise DataError(f"patches: {window[0]}x{window[1]} asked for; at most {largest}x{largest}")
        # All crops of a photograph as a view (3, rows, columns, H, W), so that nothing is copied here.
        self._windows = [
            np.lib.stride_tricks.sliding_window_view(photograph, window, axis=(1, 2))
            for photograph in photographs
        ]
        counts = [windows.shape[1] * windows.shape[2] for windows in self._windows]
        order = np.random.default_rng(_ORDER_SEED).permutation(sum(counts))
        tests = min(MOST["test"], sum(counts) * MOST["test"] // sum(MOST.values()))
        self._places = order[:tests] if split == "test" else order[tests : tests + MOST["train"]]
        self._starts = np.cumsum([0, *counts])
        self.labels: torch.Tensor | None = torch.from_numpy(self._which(self._places))
        self.classes: tuple[str, ...] | None = _NAMES

    def __len__(self) -> int:
        return len(self._places)

    def read(self, rows: np.ndarray) -> torch.Tensor:
        """uint8 (len(rows), 3, H, W)."""
        import numpy as np
        import torch

        places = self._places[rows]
        which = self._which(places)
        crops = np.empty((len(rows), 3, *self._windows[0].shape[-2:]), dtype=np.uint8)
        for index, windows in enumerate(self._windows):
            here = which == index
            top, left = np.divmod(places[here] - self._starts[index], windows.shape[2])
            crops[here] = windows[:, top, left].swapaxes(0, 1)
        return torch.from_numpy(crops)

    def _which(self, places: np.ndarray) -> np.ndarray:
        """The index of the photograph in which each place lies, int64."""
        return self._starts.searchsorted(places, side="right") - 1


def _photograph(name: str) -> np.ndarray:
    """uint8 (3, H, W). sklearn.datasets.load_sample_image reads it so, but for half a second of imports."""
    import numpy as np
    from PIL import Image

    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("patches are cut from two photographs of scikit-learn, which is not installed")
    try:
        with Image.open(Path(package.origin).parent / "datasets" / "images" / f"{name}.jpg") as image:
            return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
    except OSError as error:
        raise DataError(f"patches are cut from photographs that scikit-learn lacks here ({error})") from error


def _open(request: Request) -> tuple[PixelSource, str]:
    return PatchPixels(request.split, request.image_size or DEFAULT_SIZE), f"patches {request.split}"


SOURCE = DataSource(
    form="patches",
    about="random crops of the two photographs that scikit-learn ships; needs no download",
    open=_open,
)
