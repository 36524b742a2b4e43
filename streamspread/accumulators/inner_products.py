"""The sums of a gram: inner products between samples, and the columns that each rank sums them over.

Several ranks each sum over a shard of the columns, which gives a part of every product. Once all columns are
summed the parts are added up, and the panels are distributed among the ranks. A run may resume with another
number of ranks: each takes over whole neighbouring shards, and adds up as many parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, Self

import torch

from streamspread.accumulators.classes import ClassSums
from streamspread.accumulators.directions import Window, state_of, windows_in
from streamspread.accumulators.spectrum import check_sums
from streamspread.accumulators.staging import Origin, Overflow, Precision, Staging, origin_in
from streamspread.errors import ActivationError
from streamspread.linalg.panels import SymmetricPanels
from streamspread.ranks import ALONE, Ranks, errors_of
from streamspread.streams.labels import Labels
from streamspread.system.tensors import as_tensor, below

_NUMBERS = 1 << 20  # widened to float64 at a time
_STATE = ("total", "moved", "scale")


class SampleInfo(NamedTuple):
    """N, how the samples are rounded, where they lie, and their classes, if these are asked for."""

    samples: int
    precision: Precision
    device: torch.device
    panel_rows: int
    labels: Labels | None


class InnerProducts:
    """Sums of products between N samples over some columns, in one scale.

    Attributes:
        panels: the products. ``squares_N``: their exact diagonal. ``means_CC``: products of the classes'
            weighted means.
        total: T so far. ``moved``: the sum of squared rounding errors. ``scale``: ∞ before the first tile.
        reduced: whether the panels hold the sums over all ranks' columns.
    """

    def __init__(self, info: SampleInfo) -> None:
        self.info, self.reduced = info, False
        self.panels = self._new_panels(ALONE)
        self.total = self.moved = 0.0
        self.squares_N = torch.zeros(info.samples, dtype=torch.float64, device=info.device)
        classes = len(info.labels.names) if info.labels else 0
        self.means_CC = torch.zeros(classes, classes, dtype=torch.float64, device=info.device)
        self.scale = math.inf

    def _new_panels(self, ranks: Ranks) -> SymmetricPanels:
        """New ones, distributed among the ranks."""
        info, precision = self.info, self.info.precision
        sizes = info.samples, info.panel_rows, precision.sum_dtype, info.device, precision.exact
        return SymmetricPanels(*sizes, ranks=ranks)

    def add_tile(self, staging: Staging, places: int, progress: Callable[[float], None] | None) -> None:
        """Add the products of the staged columns of all samples. ``places``: samples that each image is."""
        precision, labels = self.info.precision, self.info.labels
        if precision.exact:  # also where it left no variance: integers have one unit in all tiles
            self.rescale(staging.origin.scale)
            self.moved += float(staging.sums.moved)
        # Constant features add nothing, and their scale says nothing; sums that overflowed must be seen.
        if (total := staging.total()) == 0.0:
            return
        self.rescale(staging.origin.scale)
        rows_NT = staging.staged()
        self.panels.add_outer(rows_NT, progress)
        if labels is not None:
            sums = ClassSums(labels, staging.columns, self.info.device, places)
            sums.add(rows_NT)
            means_CT = sums.weighted_means()
            self.means_CC += means_CT @ means_CT.T
        if not precision.exact:
            self._add_squares(rows_NT)
        self.total += total

    def _add_squares(self, rows_NT: torch.Tensor) -> None:
        """Add to the exact diagonal, where the panels' own is rounded."""
        height = max(1, _NUMBERS // rows_NT.shape[1])
        for squares_N, part in zip(self.squares_N.split(height), rows_NT.split(height), strict=True):
            squares_N += torch.linalg.vector_norm(part, dim=1, dtype=torch.float64).square()

    def rescale(self, scale: float) -> None:
        """Bring all sums to another scale, no larger than theirs; exact, as both are powers of two."""
        if self.total > 0.0 and scale != self.scale:
            factor = (scale / self.scale) ** 2
            self.panels.multiply_(factor)
            self.squares_N *= factor
            self.means_CC *= factor
            self.total *= factor
            self.moved *= factor
        self.scale = scale

    def set_diagonal(self, gather: bool) -> SymmetricPanels:
        """The panels with their exact diagonal, uncorrected; gathered by one rank, where a dense solve is
        due."""
        if gather:
            self.panels = self.panels.collected()
        self.panels.u_NR = self.panels.m_RR = None
        self.panels.set_diagonal_(self.squares_N)
        return self.panels

    def check(self) -> None:
        """Raise Overflow unless all sums are within range and, of integers, exact."""
        check_sums(self.panels, self.info.precision.layer, self.scale)

    def reduce_(self, ranks: Ranks) -> None:
        """Add up the parts of all ranks, and distribute the panels among them."""
        self.reduced = True
        if ranks.size == 1:
            return
        self.rescale(min(ranks.gather(self.scale)))
        sums = ranks.gather((self.total, self.moved, self.panels.unit, self.panels.taken_off))
        totals, moved, units, taken_off = zip(*sums, strict=True)
        self.total, self.moved = math.fsum(totals), math.fsum(moved)
        for sums_N in (self.squares_N, self.means_CC):
            ranks.sum_(sums_N)
        self.panels = _reduce_scatter(self.panels, ranks)
        self.panels.unit, self.panels.taken_off = min(units), math.fsum(taken_off)

    def state(self) -> dict[str, torch.Tensor]:
        """Everything, as references."""
        sums = {name: as_tensor(getattr(self, name)) for name in _STATE}
        sums |= {"squares": self.squares_N, "means": self.means_CC}
        return sums | {f"panels.{name}": tensor for name, tensor in self.panels.state().items()}

    @classmethod
    def loaded(
        cls, info: SampleInfo, parts: list[Mapping[str, torch.Tensor]], reduced: bool, ranks: Ranks
    ) -> Self:
        """The sum of some states, panel after panel; a single one exactly as it is."""
        sums = cls(info)
        sums.reduced = reduced
        if reduced and ranks.size > 1:
            del sums.panels  # before there are others
            sums.panels = sums._new_panels(ranks)
        for part in parts:
            sums._add_state(part)
        return sums

    def _add_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        total, moved, scale = (float(tensors[name]) for name in _STATE)
        if scale == math.inf:  # nothing was added yet
            return
        panels, beside = below("panels.", tensors), ((self.squares_N, "squares"), (self.means_CC, "means"))
        if self.scale == math.inf:
            self.panels.load_state(panels)
            for sums, name in beside:
                sums.copy_(tensors[name])
            self.total, self.moved, self.scale = total, moved, scale
            return
        self.rescale(min(self.scale, scale))
        factor = (self.scale / scale) ** 2
        self.panels.add_state(panels, factor)
        for sums, name in beside:
            sums.add_(tensors[name].to(self.info.device), alpha=factor)
        self.total += factor * total
        self.moved += factor * moved


class ColumnShard:
    """Neighbouring columns that are summed tile after tile. Each of the ranks that begin a run has one; a
    rank that resumes it may have several, or none.

    Attributes:
        width: how many columns. ``begin``: the first of the current tile, counted within the shard.
        staging: the columns of the tile, of all samples so far; None between two passes.
        windows: of the tiles so far, where directions are wanted.
    """

    def __init__(self, width: int) -> None:
        self.width, self.begin = width, 0
        self.staging: Staging | None = None
        self.windows: list[Window] = []

    @property
    def complete(self) -> bool:
        """Whether all its columns are summed."""
        return self.begin == self.width

    def push(self, window_NT: torch.Tensor, origin: Callable[[], Origin], info: SampleInfo) -> None:
        """Stage a batch of the tile's columns. ``origin``: gives the tile's, where it begins.

        Raises:
            ActivationError: more samples than were announced.
        """
        if self.staging is None:
            self.staging = Staging(origin(), info.samples, info.precision)
        if self.staging.filled + len(window_NT) > info.samples:
            raise ActivationError(
                f"layer {info.precision.layer}: more than the {info.samples:,} samples that were announced"
            )
        self.staging.push(window_NT)

    def end_tile(
        self,
        sums: InnerProducts,
        places: int,
        keep_window: bool,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Add the tile's products to the sums, and go on to the next one.

        Raises:
            ActivationError: fewer samples than were announced, or NaN or Inf.
        """
        staging, info = self.staging, sums.info
        if staging is None:
            return
        if staging.filled != info.samples:
            raise ActivationError(
                f"layer {info.precision.layer}: {staging.filled:,} samples in this pass, "
                f"{info.samples:,} were announced: the data must repeat"
            )
        staging.check()
        if keep_window:
            self.windows.append(Window.of(staging))
        sums.add_tile(staging, places, progress)
        self.begin += staging.columns
        self.staging = None

    def state(self) -> dict[str, torch.Tensor]:
        """Everything, as references."""
        own = {"width": as_tensor(self.width), "begin": as_tensor(self.begin)}
        if self.staging is not None:
            own |= {f"tile.{name}": part for name, part in self.staging.state().items()}
        return own | {f"windows.{name}": part for name, part in state_of(self.windows).items()}

    @classmethod
    def loaded(cls, tensors: Mapping[str, torch.Tensor], info: SampleInfo) -> Self:
        """The shard in a state."""
        shard = cls(int(tensors["width"]))
        shard.begin = int(tensors["begin"])
        if tile := below("tile.", tensors):
            shard.staging = Staging(origin_in(tile, info.device), info.samples, info.precision)
            shard.staging.load_state(tile)
        shard.windows = [one.to(info.device) for one in windows_in(below("windows.", tensors))]
        return shard


def run_on_all(ranks: Ranks, work: Callable[[], None]) -> None:
    """Do the work on every rank. Where it fails on one of them, all raise that error; an overflow last, with
    the smallest scale."""
    errors = errors_of(ranks, work)
    overflows = [one for one in errors if isinstance(one, Overflow)]
    if len(errors) > len(overflows):
        raise next(one for one in errors if not isinstance(one, Overflow))
    if overflows:
        raise min(overflows, key=lambda one: one.scale)


def _reduce_scatter(panels: SymmetricPanels, ranks: Ranks) -> SymmetricPanels:
    """The sum of all ranks' panels, each at its owner alone."""
    n, rows, device = panels.n, panels.rows, panels.device
    owners = SymmetricPanels.owners(n, rows, ranks)
    ranks.sum_(panels.probes.y_NM)
    kept: list[torch.Tensor] = []
    parts = panels.panels
    for owner in owners:  # one after the other, and those of other owners are freed
        panel = parts.pop(0)
        ranks.add_to_owners_([(panel, owner)])
        if owner == ranks.rank:
            kept.append(panel)
    reduced = SymmetricPanels(n, rows, panels.dtype, device, panels.exact, kept or None, ranks)
    reduced.probes = panels.probes
    return reduced
