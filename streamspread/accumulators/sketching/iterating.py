"""A sketch that begins with the directions of a few first samples and turns them towards the leading ones of
all, pass by pass: subspace iteration on integers, with random vectors to tell what was missed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from streamspread.accumulators.base import Unfit
from streamspread.accumulators.directions import Scaled
from streamspread.accumulators.sketching.stage import Sizes, Stage, Tensors, check_repeated, finite, proved
from streamspread.accumulators.staging import Origin, Staging, origin_in, origin_of
from streamspread.errors import OptionError
from streamspread.linalg.integer_rows import leading_rows
from streamspread.linalg.iteration import Iteration, Solved
from streamspread.results.bounds import SketchFacts
from streamspread.results.spectrum import Spectrum
from streamspread.system.tensors import as_tensor, below

#: First samples, by whose directions it begins.
FIRST = 4096

_REPEATED = 1e-6  # of the trace, by which it may differ from one pass to another


class Iterating:
    """A pass. Before the first samples are complete there is no ``iteration``; nor where they have shown that
    ``sizes.rank`` directions will not do, which is said at the end of the pass.

    passes_done: before this one. ``seen``: the samples of the first pass, and ``total`` the trace of their
    scatter.
    """

    def __init__(self, sizes: Sizes, staging: Staging, iteration: Iteration | None = None) -> None:
        self.sizes, self.staging, self.iteration = sizes, staging, iteration
        self.unfit = False
        self.passes_done = self.seen = 0
        self.total = math.nan

    @staticmethod
    def first(sizes: Sizes, x_ND: torch.Tensor) -> Iterating:
        """The first pass, which begins with that batch."""
        origin = origin_of(x_ND, sizes.precision)
        return Iterating(sizes, Staging(origin, sizes.staging_rows, sizes.precision))

    @property
    def samples(self) -> int:
        return self.seen or self.staging.count

    def begun(self, x_ND: torch.Tensor) -> Iterating:
        return self

    def add(self, x_ND: torch.Tensor) -> None:
        self.staging.fill(x_ND, self._flush)

    def _flush(self) -> None:
        rows_ND = self.staging.staged()
        if not finite(self.staging, self.sizes.ranks) or self.unfit or not len(rows_ND):
            return
        try:
            if self.iteration is None:
                found = leading_rows(rows_ND, self.sizes.threshold, self.sizes.rank)
                self.iteration = None if found is None else Iteration(found)
        except torch.linalg.LinAlgError:  # directions that are not independent
            self.iteration = None
        self.unfit = self.iteration is None
        if self.iteration is not None:
            self.iteration.add(rows_ND)

    def ended(self) -> Iterated:
        """Raises what :meth:`streamspread.accumulators.base.Accumulator.end_pass` does, and Unfit."""
        staging = self.staging
        finite(staging, self.sizes.ranks)
        staging.check()
        self._flush()
        total, numbers = staging.total(), staging.count * self.sizes.dim
        staging.precision.check_moved(float(staging.sums.moved), total, numbers, staging.origin.scale)
        if self.seen:
            check_repeated(self, (staging.count, total), (self.seen, self.total), _REPEATED * self.total)
        self.total = total
        try:
            return Iterated(self)
        except torch.linalg.LinAlgError:
            raise Unfit("its directions are not independent") from None

    def first_pass(self) -> Stage:
        raise OptionError("sketches merge where they are Frequent Directions, in their first pass")

    def spectrum(self, threshold: float) -> Spectrum:
        return self.ended().spectrum(threshold)

    def leading(self, count: int) -> tuple[Scaled, Origin]:
        return self.ended().leading(count)

    def state(self) -> dict[str, torch.Tensor]:
        finite(self.staging, self.sizes.ranks)
        own = {name: as_tensor(getattr(self, name)) for name in _NUMBERS}
        sums = {} if self.iteration is None else self.iteration.state()
        return {
            "stage": as_tensor(5),
            **self.staging.state(),
            **{f"own.{name}": tensor for name, tensor in own.items()},
            **{f"iteration.{name}": tensor for name, tensor in sums.items()},
        }

    @staticmethod
    def loaded(sizes: Sizes, tensors: Tensors) -> Iterating:
        staging = Staging(origin_in(tensors, sizes.device), sizes.staging_rows, sizes.precision)
        staging.load_state(tensors)
        sums = below("iteration.", tensors)
        one = Iterating(sizes, staging, Iteration.loaded(sums) if sums else None)
        for name, tensor in below("own.", tensors).items():
            setattr(one, name, type(getattr(one, name))(tensor))
        return one


_NUMBERS = ("unfit", "passes_done", "seen", "total")


class Iterated:
    """After a pass."""

    def __init__(self, pass_: Iterating) -> None:
        self.pass_, self.sizes, self.samples = pass_, pass_.sizes, pass_.staging.count
        self.passes_done = pass_.passes_done + 1
        self.mean_D = pass_.staging.remaining_mean()
        self.solved: Solved | None = None
        if pass_.total > 0.0:
            if pass_.iteration is None:
                raise Unfit(f"its first samples show no {self.sizes.rank:,} directions that would tell K")
            self.solved = pass_.iteration.solve(self.mean_D, pass_.total)

    def begun(self, x_ND: torch.Tensor) -> Iterating:
        last, staging = self.pass_, self.pass_.staging
        iteration = last.iteration
        unfit = False
        if iteration is not None and self.solved is not None:
            try:
                iteration = iteration.advance(self.solved, self.mean_D)
            except torch.linalg.LinAlgError:  # which the end of the pass says
                iteration, unfit = None, True
        staging.restart()
        for sums in (staging.sums.sum_D, staging.sums.squares_D, staging.sums.moved):
            sums.zero_()
        following = Iterating(self.sizes, staging, iteration)
        following.unfit = unfit
        following.passes_done, following.seen, following.total = self.passes_done, self.samples, last.total
        return following

    def ended(self) -> Iterated:
        return self

    def first_pass(self) -> Stage:
        return self.pass_.first_pass()

    def spectrum(self, threshold: float) -> Spectrum:
        staging, total = self.pass_.staging, self.pass_.total
        # Frequent Directions without rows: that no eigenvalue exceeds the trace.
        facts = SketchFacts(np.zeros(0), total, 0.0, 0.0, total, 0.0)
        ritz = None if self.solved is None else self.solved.facts
        spectrum = proved(self, staging.origin.scale, facts, ritz, threshold)
        if ritz is None:
            return spectrum
        moved = float(staging.sums.moved) / total
        return replace(spectrum, proof="Rayleigh–Ritz + random vectors", moved=moved)

    def leading(self, count: int) -> tuple[Scaled, Origin]:
        raise OptionError("subspace iteration keeps no directions")

    def state(self) -> dict[str, torch.Tensor]:
        return self.pass_.state() | {"stage": as_tensor(6)}
