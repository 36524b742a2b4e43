"""The stages of a gram: between two passes, and in one, with the columns of a tile of features."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch

from streamspread.accumulators.classes import ClassSums
from streamspread.accumulators.staging import Origin, Staging, origin_in, origin_of
from streamspread.accumulators.turning import Window, state_of, windows_in
from streamspread.errors import ActivationError
from streamspread.system.tensors import as_tensor, below

if TYPE_CHECKING:
    from streamspread.accumulators.methods.gram import Gram


class Share:
    """Neighbouring columns that are summed tile after tile. Each of the ranks that begin a run has one; of
    others, who resume it, one may have several, or none.

    Attributes:
        width: how many columns. ``begin``: the first of the tile at hand, counted within the share.
        windows: of the tiles so far, where directions are wanted.
    """

    def __init__(self, width: int) -> None:
        self.width, self.begin = width, 0
        self.stage: Between | Tile = Between()
        self.windows: list[Window] = []

    @property
    def complete(self) -> bool:
        """Whether all its columns are summed."""
        return self.begin == self.width

    def end_tile(self, owner: Gram, progress: Callable[[float], None] | None = None) -> None:
        self.stage.add_to(owner, self, progress)
        self.stage = Between()

    def state(self) -> dict[str, torch.Tensor]:
        own = {"width": as_tensor(self.width), "begin": as_tensor(self.begin)}
        own |= {f"tile.{name}": part for name, part in self.stage.state().items()}
        return own | {f"windows.{name}": part for name, part in state_of(self.windows).items()}

    @staticmethod
    def loaded(tensors: Mapping[str, torch.Tensor], owner: Gram) -> Share:
        share = Share(int(tensors["width"]))
        share.begin = int(tensors["begin"])
        if tile := below("tile.", tensors):
            share.stage = Tile.loaded(tile, owner)
        share.windows = [one.to(owner.device) for one in windows_in(below("windows.", tensors))]
        return share


class Between:
    """Between two passes: nothing is staged."""

    def opened(self, window_NT: torch.Tensor, owner: Gram) -> Tile:
        most = min(owner.scale, owner.largest_scale)
        origin = origin_of(window_NT, owner.precision, most)
        if owner.precision.exact and most < math.inf:
            origin = origin._replace(scale=most)  # its shift is on that finer grid too
        return Tile(origin, owner)

    def add_to(self, owner: Gram, share: Share, progress: Callable[[float], None] | None) -> None:
        """Nothing to add."""

    def state(self) -> dict[str, torch.Tensor]:
        return {}


class Tile:
    """A pass: the columns of one window of features, of all samples so far."""

    def __init__(self, origin: Origin, owner: Gram) -> None:
        self.staging = Staging(origin, owner.announced, owner.precision)

    def opened(self, window_NT: torch.Tensor, owner: Gram) -> Tile:
        return self

    def add_to(self, owner: Gram, share: Share, progress: Callable[[float], None] | None) -> None:
        """Add the products of the columns to the owner's sums."""
        staging = self.staging
        if staging.filled != owner.announced:
            raise ActivationError(
                f"layer {owner.precision.layer}: {staging.filled:,} samples in this pass, "
                f"{owner.announced:,} were announced: the data must repeat"
            )
        staging.check()
        if owner.step.directions:
            share.windows.append(Window.of(staging))
        if owner.precision.exact:  # also where it left no variance: integers have one unit in all tiles
            owner.rescale(staging.origin.scale)
            owner.moved += float(staging.sums.moved)
        # Constant features add nothing, and their scale says nothing; sums that overflowed must be seen.
        if (total := staging.total()) != 0.0:
            owner.rescale(staging.origin.scale)
            rows_NT = staging.staged()
            owner.panels.add_outer(rows_NT, progress)
            if owner.labels is not None:
                sums = ClassSums(owner.labels, staging.columns, owner.device, owner.places)
                sums.add(rows_NT)
                means_CT = sums.weighted_means()
                owner.means_CC += means_CT @ means_CT.T
            if not owner.precision.exact:
                owner.add_squares(rows_NT)
            owner.total += total
        share.begin += staging.columns

    def state(self) -> dict[str, torch.Tensor]:
        return self.staging.state()

    @staticmethod
    def loaded(tensors: Mapping[str, torch.Tensor], owner: Gram) -> Tile:
        tile = Tile(origin_in(tensors, owner.device), owner)
        tile.staging.load_state(tensors)
        return tile
