"""What the caller of an analysis asked for, and whether it makes sense by itself."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import torch

from streamspread.errors import OptionError, check_seed


@dataclass(frozen=True, kw_only=True)
class Options:
    """As :func:`streamspread.api.analyze.analyze` explains them.

    Raises:
        OptionError: one of them is out of range.
    """

    thresholds: tuple[float, ...]
    method: str
    rounding: str
    rank: str | int
    width: int
    max_passes: int
    memory: str | int | None
    device: str | torch.device
    batch_size: int | None
    proof: bool
    all_eigenvalues: bool
    seed: int

    def __post_init__(self) -> None:
        if self.rank != "auto" and (not isinstance(self.rank, Integral) or self.rank < 1):
            raise OptionError(f"rank {self.rank!r} is neither auto nor a positive number")
        if self.max_passes < 1 or self.width < 0:
            raise OptionError(
                f"width {self.width} and max passes {self.max_passes} asked for: a width is 0 or more, "
                "and so many passes are 1 or more"
            )
        if self.batch_size is not None and self.batch_size < 1:
            raise OptionError(f"batch size {self.batch_size} asked for; it must be 1 or more")
        check_seed(self.seed)
