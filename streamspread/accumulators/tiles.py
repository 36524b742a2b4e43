"""The stages of a gram: between two passes, and in one, with the columns of a tile of features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from streamspread.accumulators.classes import ClassSums
from streamspread.accumulators.staging import Origin, Staging, origin_in, origin_of
from streamspread.accumulators.turning import Window
from streamspread.errors import ActivationError

if TYPE_CHECKING:
    from streamspread.accumulators.methods.gram import Gram


class Between:
    """Between two passes: nothing is staged."""

    def opened(self, window_NT: torch.Tensor, owner: Gram) -> Tile:
        most = min(owner.scale, owner.largest_scale)
        return Tile(origin_of(window_NT, owner.precision, most), owner)

    def add_to(self, owner: Gram) -> None:
        """Nothing to add."""

    def state(self) -> dict[str, torch.Tensor]:
        return {}


class Tile:
    """A pass: the columns of one window of features, of all samples so far."""

    def __init__(self, origin: Origin, owner: Gram) -> None:
        self.staging = Staging(origin, owner.announced, owner.precision)

    def opened(self, window_NT: torch.Tensor, owner: Gram) -> Tile:
        return self

    def add_to(self, owner: Gram) -> None:
        """Add the products of the columns to the owner's sums."""
        staging = self.staging
        if staging.filled != owner.announced:
            raise ActivationError(
                f"layer {owner.precision.layer}: {staging.filled:,} samples in this pass, "
                f"{owner.announced:,} were announced: the data must repeat"
            )
        staging.check()
        if owner.step.directions:
            owner.windows.append(Window.of(staging))
        # Constant features add nothing, and their scale says nothing; sums that overflowed must be seen.
        if (total := staging.total()) != 0.0:
            owner.rescale(staging.origin.scale)
            rows_NT = staging.staged()
            owner.panels.add_outer(rows_NT)
            if owner.labels is not None:
                sums = ClassSums(owner.labels, staging.columns, owner.device, owner.places)
                sums.add(rows_NT)
                means_CT = sums.weighted_means()
                owner.means_CC += means_CT @ means_CT.T
            if not owner.precision.exact:
                owner.add_squares(rows_NT)
            owner.total += total
            owner.moved += float(staging.sums.moved)
        owner.begin += staging.columns

    def state(self) -> dict[str, torch.Tensor]:
        return self.staging.state()

    @staticmethod
    def loaded(tensors: Mapping[str, torch.Tensor], owner: Gram) -> Tile:
        tile = Tile(origin_in(tensors), owner)
        tile.staging.load_state(tensors)
        return tile
