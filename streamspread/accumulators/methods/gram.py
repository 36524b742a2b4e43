"""Inner products between samples, from feature tiles: exact at any D, ≈ N²/2 numbers, ⌈D/tile⌉ passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch

from streamspread.accumulators import parting
from streamspread.accumulators.base import (
    Accumulator,
    Candidate,
    Combine,
    Impossible,
    LayerShape,
    Part,
    Setting,
)
from streamspread.accumulators.classes import ClassSums, classes_of, components_of_each, split_products
from streamspread.accumulators.exact import (
    Step,
    Totals,
    check_sums,
    spectrum_of,
)
from streamspread.accumulators.growth import growth_of_products, with_whole
from streamspread.accumulators.moments import fourth_moment_of_products, per_sample
from streamspread.accumulators.shares import all_well, join
from streamspread.accumulators.staging import Precision, Staging, origin_of
from streamspread.accumulators.tiles import Share
from streamspread.accumulators.tiling import gram_candidate
from streamspread.accumulators.turning import Known, Turning, Window
from streamspread.errors import ActivationError, OptionError
from streamspread.kernels import formats
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.probes import Probes
from streamspread.options import Options
from streamspread.ranks import ALONE, Ranks, bounds_of
from streamspread.results.spectrum import Spectrum
from streamspread.streams.labels import Labels
from streamspread.system.devices import profile

_NUMBERS = 1 << 20  # widened to float64 at a time


class Gram(Accumulator):
    """X Xᵀ of N centred samples, whose non-zero eigenvalues are the scatter's.

    A tile is a window of features. In each pass the tile's columns of all N samples are staged, and their
    products added at the end of the pass; the features as a whole are never held. All passes must bring the
    same samples in the same order.

    Tiles are added in one scale, the smallest that any of them called for so far: a tile of smaller numbers
    then loses what does not count beside the others, where a larger scale could take these out of range.
    Integers have one unit in all tiles from the first on, that which suits all features together: a unit that
    suits some of the others would be too large a share of T.
    """

    method = "gram"

    def __init__(
        self,
        dim: int,
        samples: int,
        *,
        tile: int,
        precision: Precision,
        device: torch.device,
        panel_rows: int = 1024,
        step: Step | None = None,
        labels: Labels | None = None,
    ) -> None:
        self.dim, self.announced, self.tile = dim, samples, min(tile, dim)
        self.precision, self.device = precision, device
        self.step, self.labels = step or Step.usual(samples, profile(device)), labels
        ranks = self.ranks = self.step.ranks
        bounds = bounds_of(dim, ranks)
        self.bounds = None if ranks.size == 1 else bounds
        self.shares = [Share(bounds[ranks.rank + 1] - bounds[ranks.rank])]
        self.first_share = ranks.rank  # the number of the first of these among those of all ranks
        self.joined = False  # whether the panels hold the sums over all ranks' columns
        self.panel_rows = panel_rows
        self.panels = self.new_panels(ALONE)
        self.total = self.moved = 0.0
        self.squares_N = torch.zeros(samples, dtype=torch.float64, device=device)  # the exact diagonal
        classes = len(labels.names) if labels else 0
        # Products of the classes' weighted means.
        self.means_CC = torch.zeros(classes, classes, dtype=torch.float64, device=device)
        self.scale = math.inf  # nothing has been added yet
        self.largest_scale, self.agreed = math.inf, False  # of the tiles in a pass
        self.turning: Turning | None = None

    @classmethod
    def candidate(cls, layer: LayerShape, setting: Setting) -> Candidate | Impossible:
        return gram_candidate(cls, layer, setting)

    @staticmethod
    def nbytes(samples: int, tile: int, panel_rows: int, setting: Setting) -> tuple[int, int]:
        """(bytes of the panels, bytes of a tile and of adding it) while data streams."""
        dtype = formats.SUM_DTYPES[setting.rounding]
        staging = Staging.nbytes(tile, samples, setting.rounding, setting.device)
        staging += ClassSums.nbytes(setting.classes, tile)
        staging += formats.product_bytes(min(panel_rows, samples), samples, dtype, setting.device)
        return SymmetricPanels.nbytes(samples, panel_rows, dtype) + Probes.nbytes(samples), staging

    @property
    def samples(self) -> int:
        """N: known from the start."""
        return self.announced

    def update(self, x_ND: torch.Tensor) -> None:
        """As the contract says, and:

        Raises:
            ActivationError: more samples in a pass than were announced.
        """
        if not len(x_ND):
            return
        if self.turning is not None:
            self.turning.add(x_ND)
            return
        windows = list(self._windows(x_ND))  # none where other ranks have more
        self._agree_on_scale(x_ND, [window for _, window in windows])
        for share, window in windows:
            share.stage = tile = share.stage.opened(window, self)
            if tile.staging.filled + x_ND.shape[0] > self.announced:
                raise ActivationError(
                    f"layer {self.precision.layer}: more than the {self.announced:,} samples that were "
                    "announced"
                )
            tile.staging.push(window)

    def _windows(self, x_ND: torch.Tensor) -> Iterator[tuple[Share, torch.Tensor]]:
        """The columns that are summed in this pass, with the share that they are of."""
        first = 0
        for share in self.shares:
            begin, end = share.begin, min(share.width, share.begin + self.tile)
            if begin < end:
                yield share, x_ND[:, first + begin : first + end]
            first += share.width

    def _agree_on_scale(self, x_ND: torch.Tensor, windows: list[torch.Tensor]) -> None:
        """Of the tiles that shares begin in a pass: the smallest one that is called for, as of one tile; of
        integers, that of all features."""
        one = self.ranks.size == len(self.shares) == 1
        if self.agreed or (one and (self.tile == self.dim or not self.precision.exact)):
            return
        if self.precision.exact:
            self.largest_scale = origin_of(x_ND, self.precision, ranks=self.ranks).scale
        else:
            own = min((origin_of(x, self.precision, self.scale).scale for x in windows), default=math.inf)
            self.largest_scale = min(self.ranks.gather(own))
        self.agreed = True

    def end_pass(self, progress: Callable[[float], None] | None = None) -> None:
        """Add the tile's products, and check that all of it was finite and complete.

        Raises:
            ActivationError: fewer samples in the pass than were announced, or NaN or Inf.
            Overflow: rounding overflowed, or a sum.
            OptionError: an eigenvalue step has used up the sums.
        """
        all_well(self.ranks, lambda: self._end_tile(progress))
        if not all(self.ranks.gather(self._complete)):
            return
        if not self.joined:
            join(self)
            self.joined = True
        self.ranks.led(self._check, self.panels.own)
        self._turn()

    def _end_tile(self, progress: Callable[[float], None] | None) -> None:
        for share in self.shares:
            share.end_tile(self, progress if len(self.shares) == 1 else None)
        self.agreed = False
        if not self.joined:
            check_sums(self.panels, self.precision.layer, self.scale)

    def _check(self) -> None:
        check_sums(self.panels, self.precision.layer, self.scale)
        # Of all tiles, since a single one may have next to no variance.
        self.precision.check_moved(self.moved, self.total, self.announced * self.dim, self.scale)

    def _turn(self) -> None:
        """Begin the pass for directions where they are wanted; end it where it has begun."""
        count = min(self.step.directions, self.dim, self.announced - 1)
        ranks = self.ranks
        if self.turning is None and count > 0:
            known = ranks.led(lambda: self._known(count).to(torch.device("cpu")), self.panels.own)
            known = known.to(self.device)
            self.turning = Turning(known, self.windows, self.precision)
        elif self.turning is not None:
            self.turning.check_count(self.turning.seen)

    def _known(self, count: int) -> Known:
        return Known.of(self._centre(), count, self.scale, self.step.profile)

    def merge(self, other: Gram) -> None:
        """Products between samples of two states were never formed.

        Raises:
            OptionError: always.
        """
        raise OptionError(
            "inner products over other samples do not merge, since those between both were never formed: "
            "sum such a layer by another method"
        )

    def centred(self) -> SymmetricPanels:
        """The inner products of the centred samples, in scaled units: the sums, corrected anew at every call.

        Raises:
            ActivationError: not every tile has had its pass.
            Overflow, OptionError: as :meth:`end_pass`.
        """
        self.end_pass()
        self._check_complete()
        return self._centre()

    def spectrum(self, options: Options, progress: Callable[[float], None] | None = None) -> Spectrum:
        """Eigenvalues of the sample covariance, as many as the thresholds need, with their proof; what it
        uses up is as of :meth:`Covariance.spectrum`.

        Raises:
            ActivationError, Overflow, OptionError: as :meth:`centred`.
        """
        self.end_pass()
        self._check_complete()
        if self.turning is not None:
            self.turning = self.turning.joined(self.ranks)
        return self.ranks.led(lambda: self._spectrum(options, progress), self.panels.own)

    def _spectrum(self, options: Options, progress: Callable[[float], None] | None) -> Spectrum:
        self._set_diagonal()
        moved = self.moved if self.precision.exact else math.nan
        totals = Totals(self.dim, self.announced, self.total, self.scale, self.precision.layer, moved)
        step, most, classes = self.step._replace(progress=progress), self.step.profile.part_limit, None
        if self.labels is not None:
            labels = self.labels.repeated(self.places)
            split = split_products(self.panels, labels, self.means_CC)
            classes = classes_of(self.panels, split, labels.names, totals, options, step)
            # Places of one image are alike, so a class of few has no like among places drawn from all.
            each = components_of_each(self.panels, labels, options, most) if self.places == 1 else ()
            classes = replace(classes, each=each)
        self.panels.centre()
        fourth = per_sample(fourth_moment_of_products(self.panels), totals)
        sizes = most, self.places
        points = growth_of_products(self.panels, options.thresholds, *sizes) if options.estimate else ()
        spectrum = spectrum_of(self.panels, totals, options, step)
        growth = with_whole(points, spectrum, options.thresholds, self.places)
        leading = self.turning.directions() if self.turning else None
        return replace(spectrum, fourth_moment=fourth, growth=growth, classes=classes, leading=leading)

    def new_panels(self, ranks: Ranks) -> SymmetricPanels:
        """New ones, dealt among the ranks."""
        precision = self.precision
        sizes = self.announced, self.panel_rows, precision.sum_dtype, self.device, precision.exact
        return SymmetricPanels(*sizes, ranks=ranks)

    @property
    def windows(self) -> list[Window]:
        """Of the tiles so far, where directions are wanted."""
        return [window for share in self.shares for window in share.windows]

    @property
    def _complete(self) -> bool:
        return all(share.complete for share in self.shares)

    def _check_complete(self) -> None:
        """That the pass was the last one."""
        if not self._complete:
            done = sum(share.begin for share in self.shares)
            raise ActivationError(
                f"layer {self.precision.layer}: {done:,} of {self.dim:,} features had their pass"
            )

    def _set_diagonal(self) -> None:
        """Give the sums their exact diagonal; uncorrected."""
        if self.announced <= self.step.profile.dense_limit:  # what is solved dense is solved by one rank
            self.panels = self.panels.collected()
        self.panels.u_NR = self.panels.m_RR = None
        self.panels.set_diagonal_(self.squares_N)

    def _centre(self) -> SymmetricPanels:
        """The panels with their exact diagonal, centred."""
        self._set_diagonal()
        self.panels.centre()
        return self.panels

    def add_squares(self, rows_NT: torch.Tensor) -> None:
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

    def state(self) -> dict[str, Part]:
        return {name: Part(tensor, Combine.OWN) for name, tensor in parting.state_of(self).items()}

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        parting.load(self, tensors)

    def sizes(self) -> str:
        return f"the same samples, {self.announced} at {self.precision.rounding}"


METHOD = Gram
