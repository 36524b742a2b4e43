"""Frequent Directions, then Rayleigh–Ritz passes on its basis: a proved interval for K at any D and N."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch

from streamspread.accumulators import sketching
from streamspread.accumulators.base import (
    Accumulator,
    Candidate,
    Combine,
    Impossible,
    LayerShape,
    Part,
    Setting,
    Unfit,
)
from streamspread.accumulators.costs import NOTHING, Travels
from streamspread.accumulators.directions import in_own_units, of_all_columns
from streamspread.accumulators.sketching import First, Sizes, Stage, Waiting, rank_to_close, rows_to_stage
from streamspread.accumulators.spectrum import DENSE_SOLVE_FACTOR, Step
from streamspread.accumulators.staging import Precision, Staging
from streamspread.errors import OptionError
from streamspread.kernels import formats
from streamspread.linalg.products import chunk_nbytes
from streamspread.options import Options
from streamspread.ranks import bounds_of
from streamspread.results.spectrum import Spectrum
from streamspread.system.devices import profile
from streamspread.system.tensors import columns_in, own_columns

#: Directions that are kept at the most where no number is asked for: the first that fits into its share of
#: the budget.
_RANKS = (1024, 768, 512, 384, 256, 192, 128, 96, 64)
_LEAST_STAGED = 16
# Parts of a state, of which each rank has some columns.
_SUMS = ("sum_D", "squares_D", "sketch.rows", "sketch.mean", "ritz.q", "ritz.mean", "ritz.y", "ritz.drift")
_BY_COLUMNS = ("rows", "shift", *_SUMS)
_SHARE = 4  # layers that should fit into the budget together: else every layer takes passes of its own


class Sketch(Accumulator):
    """A few rows that stand for the scatter matrix (first pass), then that matrix seen from their span.

    The first pass alone gives an interval. Every later pass over the same samples narrows it:
    :meth:`end_pass` ends a pass, and the next :meth:`update` begins another one. States over other samples
    merge as long as only the first pass was made. Of several ranks each has some of the columns.
    """

    method = "sketch"
    quick: ClassVar[bool] = False  #: Whether it is a subspace iteration.

    def __init__(
        self,
        dim: int,
        *,
        rank: int,
        thresholds: Sequence[float],
        precision: Precision,
        device: torch.device,
        staging_rows: int,
        adaptive: bool = False,
        step: Step | None = None,
    ) -> None:
        """``thresholds``: that the sketch should close; the largest sets its sizes. ``adaptive``: keep fewer
        than ``rank`` rows where they need fewer. ``step``: how many directions are wanted, and the device's
        constants."""
        if rank < 1:
            raise OptionError(f"a sketch keeps at least one direction, rank {rank} was asked for")
        self.dim, self.rank, self.thresholds = dim, min(rank, dim), tuple(thresholds)
        most = max(self.thresholds)
        step, enough = step or Step.usual(rank, profile(device)), most if adaptive else None
        sizes = (dim, self.rank, most, staging_rows, precision, device, step.profile, enough)
        self._sizes = Sizes(*sizes, directions=min(step.directions, dim), ranks=step.ranks, quick=self.quick)
        self.bounds = None if step.ranks.size == 1 else bounds_of(dim, step.ranks)
        self._stage: Stage = Waiting(self._sizes)
        self._spectra: dict[float, Spectrum] = {}  # of the stage at hand, by threshold

    @classmethod
    def candidate(cls, layer: LayerShape, setting: Setting) -> Candidate | Impossible:
        if setting.options.all_eigenvalues:
            return Impossible("it finds the leading eigenvalues only, and all were asked for")
        if quick := sketching.quick(QuickSketch, layer, setting):
            return quick
        if setting.rounding == "int16":  # Frequent Directions multiply no integers
            setting = replace(setting, rounding="fp32")
        dim, samples, options = layer.dim, setting.samples, setting.options
        passes = options.max_passes if setting.same_again else 1
        limit = dim if samples is None else max(1, min(dim, samples - 1))
        given = isinstance(options.rank, int)
        adaptive = not given and passes > 1  # a single pass has nothing but its rows to close K with
        least = min(limit, sketching.least_rank(setting.directions, dim))
        if given and int(options.rank) < min(limit, setting.directions):
            return Impossible(
                f"a rank of {options.rank} holds no {setting.directions} directions", "raise --rank, or "
            )
        ranks = [min(limit, rank) for rank in ((int(options.rank),) if given else _RANKS)]
        ranks = ranks if given else [rank for rank in ranks if rank >= least] or [least]
        share = min(setting.layers, _SHARE)
        rank = staging = 0

        def too_large(share: int) -> bool:
            state, step = cls.nbytes(dim, rank, staging, passes, setting)
            return state * share + max(step, setting.forward_bytes) > setting.room

        for rank in ranks:
            staging = rows_to_stage(dim, rank, setting.profile)
            staging = staging if samples is None else min(staging, samples)
            if not too_large(share):
                break
        while staging > _LEAST_STAGED and too_large(1):
            staging //= 2
        state, step = cls.nbytes(dim, rank, staging, passes, setting)
        in_words = f"{passes} passes" if passes > 1 else "one pass"
        size = setting.shares
        shared = f", of which each of {size} ranks holds a share" * (size > 1)
        return Candidate(
            method=cls.method,
            passes=passes,
            state_bytes=state,
            finish_bytes=step,
            operations=cls._operations(layer, rank, passes, setting),
            exact=False,
            order=0,
            why=f"at most {rank:,} directions of {dim:,}{shared}, in at most {in_words}: a proved interval",
            make=partial(
                cls,
                dim,
                rank=rank,
                thresholds=options.thresholds,
                precision=setting.precision(layer.name),
                device=setting.device,
                staging_rows=staging,
                adaptive=adaptive,
                step=Step(rank, setting.profile, directions=setting.directions, ranks=setting.ranks),
            ),
            rounding=setting.rounding,
            travels=cls._travels(dim, rank, staging, passes, setting),
        )

    @staticmethod
    def nbytes(dim: int, rank: int, staging_rows: int, passes: int, setting: Setting) -> tuple[int, int]:
        """(bytes of the state while data streams, extra bytes of the eigenvalue step)."""
        rank, rounding, device = min(rank, dim), setting.rounding, setting.device
        height, columns = rank + staging_rows + 1, -(-dim // setting.shares)
        state = rank * columns * formats.SUM_DTYPES[rounding].itemsize
        state += Staging.nbytes(columns, staging_rows, rounding, device) + 5 * 8 * columns
        if passes > 1:
            state += 8 * rank * columns  # Y
        state += 2 * chunk_nbytes(height, columns, device)
        # A Gram matrix, its eigenvectors and LAPACK's workspace; the last bound takes twice the rank.
        state += 6 * 8 * height**2
        # Directions are made some columns at a time, in float32.
        return state, 10 * 8 * (2 * rank) ** 2 + setting.directions * (4 * dim + 3 * 8 * 4096)

    @staticmethod
    def _operations(layer: LayerShape, rank: int, passes: int, setting: Setting) -> float:
        n, constants = float(setting.expected), setting.profile
        again = min(1, passes - 1)  # a third pass is seldom needed
        # A buffer of r + r rows takes 8r·D operations a sample, a later pass over r directions 4r·D.
        products = (8.0 + 4.0 * again) * rank * layer.dim * n / setting.shares
        rate = 1.0 if setting.rounding == "fp64" else constants.float64_cost
        solves = n / rank * DENSE_SOLVE_FACTOR * 4 * (2.0 * rank) ** 3
        forwards = constants.forward_cost * again * layer.operations * n / setting.shares
        return rate * products + solves + forwards

    @staticmethod
    def _travels(dim: int, rank: int, staging_rows: int, passes: int, setting: Setting) -> Travels:
        """Columns, inner products of the rows of each group, as many of their eigenvectors as rows are kept,
        which go one way, and the products with a basis."""
        if setting.shares == 1:
            return NOTHING
        n, again, height = float(setting.expected), min(1, passes - 1), rank + staging_rows
        sums = n / staging_rows * 8 * height * (height + rank / 2) + again * n * 8 * rank
        return Travels(columns=(1 + again) * n * dim * setting.itemsize, sums=sums)

    @property
    def samples(self) -> int:
        return self._stage.samples

    @property
    def passes_done(self) -> int:
        """Passes that have ended."""
        return self._stage.passes_done

    def update(self, x_ND: torch.Tensor) -> None:
        if len(x_ND):
            self._spectra.clear()
            self._stage = running = self._stage.begun(x_ND)
            running.add(x_ND)

    def end_pass(self, progress: Callable[[float], None] | None = None) -> None:
        self._stage = self._stage.ended()

    def satisfied(self, options: Options) -> bool:
        """Whether every interval is as narrow as asked for, or will not become so; directions want a second
        pass."""
        if self._sizes.directions and self.passes_done < 2:
            return False
        spectrum = self.spectrum(options)
        return self._sizes.ranks.led(lambda: self._closed(spectrum, options))

    def _closed(self, spectrum: Spectrum, options: Options) -> bool:
        still_open = self._open(spectrum, options)
        return not still_open or self._hopeless(spectrum, still_open)

    def _open(self, spectrum: Spectrum, options: Options) -> list[float]:
        """The thresholds whose intervals are wider than asked for."""
        ends = {tau: spectrum.components(tau) for tau in options.thresholds}
        return [tau for tau, k in ends.items() if k.high - k.low > options.width]

    def _hopeless(self, spectrum: Spectrum, still_open: Sequence[float]) -> bool:
        """Whether not even the upper bound reaches any of them with this many directions: no later pass
        will."""
        if self.passes_done < 2:
            return False
        most = float(spectrum.upper_sums[: len(spectrum.eigenvalues)][-1])
        return all(tau * spectrum.total_variance > most for tau in still_open)

    def spectrum(self, options: Options, progress: Callable[[float], None] | None = None) -> Spectrum:
        """What is proved so far; the state stays usable for another pass."""
        self._stage = self._stage.ended()
        return self._found(options)

    def _found(self, options: Options) -> Spectrum:
        threshold, ranks = max(options.thresholds), self._sizes.ranks
        if threshold not in self._spectra:
            spectrum = ranks.led(lambda: self._stage.spectrum(threshold))
            if self._sizes.directions:
                count = min(self._sizes.directions, self.samples - 1)
                found, origin = of_all_columns(*self._stage.leading(count), ranks)
                spectrum = replace(spectrum, leading=in_own_units(found, origin, self.samples))
            self._spectra[threshold] = spectrum
        return self._spectra[threshold]

    def state(self) -> dict[str, Part]:
        parts: dict[str, torch.Tensor] = {}
        for name, tensor in self._stage.state().items():
            parts |= own_columns(name, tensor, self._own[0]) if name in _BY_COLUMNS else {name: tensor}
        return {name: Part(tensor, Combine.OWN) for name, tensor in parts.items()}

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._spectra.clear()
        alike = {name: tensors[name] for name in tensors if "@" not in name}
        names = {name.partition("@")[0] for name in tensors if "@" in name}
        here = {name: columns_in(name, tensors, *self._own) for name in names}
        self._stage = sketching.loaded(self._sizes, alike | here)

    @property
    def _own(self) -> tuple[int, int]:
        """The first of this rank's columns, and one past the last."""
        rank = self._sizes.ranks.rank
        return (0, self.dim) if self.bounds is None else (self.bounds[rank], self.bounds[rank + 1])

    def merge(self, other: Sketch) -> None:
        """Add another state over other samples of the same layer, neither past its first pass; ``other`` is
        used up.

        Raises:
            OptionError: another dim, rank or precision, or a state that is past its first pass.
        """
        self.check_alike(other)
        mine, theirs = self._stage.first_pass(), other._stage.first_pass()
        self._spectra.clear()
        if isinstance(mine, First) and isinstance(theirs, First):
            mine.merge(theirs)
        self._stage = theirs if isinstance(mine, Waiting) else mine

    def sizes(self) -> str:
        return f"{self.dim} features at {self._sizes.precision.rounding} and rank {self.rank}"

    def advice(self, spectrum: Spectrum, options: Options) -> str | None:
        """The rank that should close what is open."""
        rank = rank_to_close(spectrum, options.thresholds, self.rank)
        return (
            None
            if rank is None or rank <= self.rank
            else f"open at rank {self.rank}, --rank {rank} should close it"
        )


class QuickSketch(Sketch):
    """Its quick form, by subspace iteration on integers: it closes what is asked for, or is unfit."""

    quick = True

    def __init__(self, dim: int, *, until: Options, **sizes: Any) -> None:
        """``until``: the options that it must satisfy. ``sizes``: as those of a sketch."""
        super().__init__(dim, thresholds=until.thresholds, **sizes)
        self._until = until

    def end_pass(self, progress: Callable[[float], None] | None = None) -> None:
        super().end_pass(progress)
        if not self.passes_done:
            return
        spectrum = self._found(self._until)
        still_open = self._open(spectrum, self._until)
        if still_open and self._hopeless(spectrum, still_open):
            raise Unfit(f"K is more than its {self.rank:,} directions can tell")
        if still_open and self.passes_done >= sketching.most_passes(self._until):
            raise Unfit(f"K stayed open in {self.passes_done} passes")


METHOD = Sketch
