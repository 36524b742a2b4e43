"""Inner products between samples, from feature tiles: exact at any D, ≈ N²/2 numbers, ⌈D/tile⌉ passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import accumulate

import torch

from streamspread.accumulators.base import (
    Accumulator,
    Candidate,
    Combine,
    Impossible,
    LayerShape,
    Part,
    Setting,
)
from streamspread.accumulators.classes import classes_of, components_of_each, split_products
from streamspread.accumulators.directions import Known, Turning, Window
from streamspread.accumulators.inner_products import ColumnShard, InnerProducts, SampleInfo, run_on_all
from streamspread.accumulators.moments import fourth_moment_of_products, per_sample
from streamspread.accumulators.spectrum import Step, Totals, spectrum_of
from streamspread.accumulators.staging import Origin, Precision, origin_of
from streamspread.accumulators.subsamples import growth_of_products, with_whole
from streamspread.accumulators.tiles import plan_tiles
from streamspread.errors import ActivationError, OptionError
from streamspread.linalg.panels import SymmetricPanels
from streamspread.options import Options
from streamspread.ranks import bounds_of, cut
from streamspread.results.spectrum import Spectrum
from streamspread.streams.labels import Labels
from streamspread.system.devices import profile
from streamspread.system.tensors import as_tensor, below, numbered


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
        self.dim, self.tile, self.precision, self.device = dim, min(tile, dim), precision, device
        self.step, self.labels = step or Step.usual(samples, profile(device)), labels
        ranks = self.ranks = self.step.ranks
        bounds = bounds_of(dim, ranks)
        self.bounds = None if ranks.size == 1 else bounds
        self.shards = [ColumnShard(bounds[ranks.rank + 1] - bounds[ranks.rank])]
        self.first_shard = ranks.rank  # the number of the first of these among those of all ranks
        self.info = SampleInfo(samples, precision, device, panel_rows, labels)
        self.sums = InnerProducts(self.info)
        self.largest_scale, self.scale_is_set = math.inf, False  # of the tiles in a pass
        self.turning: Turning | None = None

    @classmethod
    def candidate(cls, layer: LayerShape, setting: Setting) -> Candidate | Impossible:
        plan = plan_tiles(layer, setting)
        if isinstance(plan, Impossible):
            return plan
        return Candidate(
            method=cls.method,
            passes=plan.passes,
            state_bytes=plan.state_bytes,
            finish_bytes=plan.finish_bytes,
            operations=plan.operations,
            exact=True,
            sums_after=True,
            order=plan.samples,
            why=plan.why,
            step=plan.solve_operations,
            travels=plan.travels,
            estimates=setting.options.estimate,
            scores=True,
            make=partial(
                cls,
                layer.dim,
                plan.samples,
                tile=plan.tile,
                precision=setting.precision(layer.name),
                device=setting.device,
                panel_rows=setting.profile.panel_rows,
                step=Step(
                    plan.max_block, setting.profile, directions=setting.directions, ranks=setting.ranks
                ),
                labels=setting.labels,
            ),
        )

    @property
    def samples(self) -> int:
        """N: known from the start."""
        return self.info.samples

    @property
    def panels(self) -> SymmetricPanels:
        """The sums of products."""
        return self.sums.panels

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
        self._set_scale(x_ND, [window for _, window in windows])
        for shard, window in windows:
            shard.push(window, partial(self._tile_origin, window), self.info)

    def _windows(self, x_ND: torch.Tensor) -> Iterator[tuple[ColumnShard, torch.Tensor]]:
        """The columns that are summed in this pass, with the shard that they are of."""
        first = 0
        for shard in self.shards:
            begin, end = shard.begin, min(shard.width, shard.begin + self.tile)
            if begin < end:
                yield shard, x_ND[:, first + begin : first + end]
            first += shard.width

    def _tile_origin(self, window_NT: torch.Tensor) -> Origin:
        largest = min(self.sums.scale, self.largest_scale)
        origin = origin_of(window_NT, self.precision, largest)
        if self.precision.exact and largest < math.inf:
            return origin._replace(scale=largest)  # its shift is on that finer grid too
        return origin

    def _set_scale(self, x_ND: torch.Tensor, windows: list[torch.Tensor]) -> None:
        """Of the tiles that begin in a pass: the smallest scale that any of them calls for; of integers, that
        of all features."""
        alone = self.ranks.size == len(self.shards) == 1
        if self.scale_is_set or (alone and (self.tile == self.dim or not self.precision.exact)):
            return
        if self.precision.exact:
            self.largest_scale = origin_of(x_ND, self.precision, ranks=self.ranks).scale
        else:
            scales = (origin_of(x, self.precision, self.sums.scale).scale for x in windows)
            self.largest_scale = min(self.ranks.gather(min(scales, default=math.inf)))
        self.scale_is_set = True

    def end_pass(self, progress: Callable[[float], None] | None = None) -> None:
        """Add the tile's products, and check that all of it was finite and complete.

        Raises:
            ActivationError: fewer samples in the pass than were announced, or NaN or Inf.
            Overflow: rounding overflowed, or a sum.
            OptionError: an eigenvalue step has used up the sums.
        """
        run_on_all(self.ranks, lambda: self._end_tile(progress))
        if not all(self.ranks.gather(self._complete)):
            return
        if not self.sums.reduced:
            self.sums.reduce_(self.ranks)
        self.ranks.led(self._check, self.panels.own)
        self._turn()

    def _end_tile(self, progress: Callable[[float], None] | None) -> None:
        keep_window, one = self.step.directions > 0, len(self.shards) == 1
        for shard in self.shards:
            shard.end_tile(self.sums, self.places, keep_window, progress if one else None)
        self.scale_is_set = False
        if not self.sums.reduced:
            self.sums.check()

    def _check(self) -> None:
        self.sums.check()
        # Of all tiles, since a single one may have next to no variance.
        sums = self.sums
        self.precision.check_moved(sums.moved, sums.total, self.samples * self.dim, sums.scale)

    def _turn(self) -> None:
        """Begin the pass for directions where they are wanted; end it where it has begun."""
        count = min(self.step.directions, self.dim, self.samples - 1)
        ranks = self.ranks
        if self.turning is None and count > 0:
            known = ranks.led(lambda: self._known(count).to(torch.device("cpu")), self.panels.own)
            self.turning = Turning(known.to(self.device), self._tile_windows, self.precision)
        elif self.turning is not None:
            self.turning.check_count(self.turning.seen)

    def _known(self, count: int) -> Known:
        return Known.of(self._centre(), count, self.sums.scale, self.step.profile)

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
        panels, sums = self._with_diagonal(), self.sums
        moved = sums.moved if self.precision.exact else math.nan
        totals = Totals(self.dim, self.samples, sums.total, sums.scale, self.precision.layer, moved)
        step, most, classes = self.step._replace(progress=progress), self.step.profile.part_limit, None
        if self.labels is not None:
            labels = self.labels.repeated(self.places)
            split = split_products(panels, labels, sums.means_CC)
            classes = classes_of(panels, split, labels.names, totals, options, step)
            # Places of one image are alike, so a class of few has no like among places drawn from all.
            each = components_of_each(panels, labels, options, most) if self.places == 1 else ()
            classes = replace(classes, each=each)
        panels.centre()
        fourth = per_sample(fourth_moment_of_products(panels), totals)
        sizes = most, self.places
        points = growth_of_products(panels, options.thresholds, *sizes) if options.estimate else ()
        spectrum = spectrum_of(panels, totals, options, step)
        growth = with_whole(points, spectrum, options.thresholds, self.places)
        leading = self.turning.directions() if self.turning else None
        return replace(spectrum, fourth_moment=fourth, growth=growth, classes=classes, leading=leading)

    @property
    def _tile_windows(self) -> list[Window]:
        """Of the tiles so far, where directions are wanted."""
        return [window for shard in self.shards for window in shard.windows]

    @property
    def _complete(self) -> bool:
        return all(shard.complete for shard in self.shards)

    def _check_complete(self) -> None:
        """That the pass was the last one."""
        if not self._complete:
            done = sum(shard.begin for shard in self.shards)
            raise ActivationError(
                f"layer {self.precision.layer}: {done:,} of {self.dim:,} features had their pass"
            )

    def _with_diagonal(self) -> SymmetricPanels:
        """The panels with their exact diagonal, uncorrected. What is solved dense is solved by one rank."""
        return self.sums.set_diagonal(gather=self.samples <= self.step.profile.dense_limit)

    def _centre(self) -> SymmetricPanels:
        """The panels with their exact diagonal, centred."""
        panels = self._with_diagonal()
        panels.centre()
        return panels

    def state(self) -> dict[str, Part]:
        sums = "whole" if self.sums.reduced else f"part.{self.ranks.rank}"
        kinds = {sums: self.sums.state()}
        kinds |= {f"share.{number}": one.state() for number, one in enumerate(self.shards, self.first_shard)}
        if self.turning is not None:
            kinds["turning"] = self.turning.state(self._columns[0])
        tensors = {f"{kind}.{name}": part for kind, parts in kinds.items() for name, part in parts.items()}
        tensors["agreed"] = as_tensor(int(self.scale_is_set))
        return {name: Part(tensor, Combine.OWN) for name, tensor in tensors.items()}

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state, which may be of another number of ranks; what is given is copied.

        Raises:
            OptionError: a part has another shape or dtype.
            LookupError: a part is missing.
        """
        rank, size = self.ranks.rank, self.ranks.size
        shards = numbered("share.", tensors)
        starts = [0, *accumulate(int(shard["width"]) for shard in shards)]
        if starts[-1] != self.dim:
            raise LookupError(f"shares of {starts[-1]:,} features, of {self.dim:,}")
        of_each = cut(len(shards), size)
        self.bounds = None if size == 1 else [starts[number] for number in of_each]
        self.first_shard = of_each[rank]
        mine = shards[of_each[rank] : of_each[rank + 1]]
        self.shards = [ColumnShard.loaded(shard, self.info) for shard in mine]
        self.scale_is_set = bool(tensors["agreed"])
        whole, parts = below("whole.", tensors), numbered("part.", tensors)
        of_each = cut(len(parts), size)
        mine = [whole] if whole else parts[of_each[rank] : of_each[rank + 1]]
        del self.sums  # before there are others
        self.sums = InnerProducts.loaded(self.info, mine, bool(whole), self.ranks)
        if turning := below("turning.", tensors):
            self.turning = Turning.loaded(turning, self._tile_windows, self.precision, self.device)
            self.turning.load_columns(turning, *self._columns)

    @property
    def _columns(self) -> tuple[int, int]:
        """The first of this rank's, and one past the last."""
        rank = self.ranks.rank
        return (self.bounds[rank], self.bounds[rank + 1]) if self.bounds else (0, self.dim)

    def sizes(self) -> str:
        return f"the same samples, {self.samples} at {self.precision.rounding}"


METHOD = Gram
