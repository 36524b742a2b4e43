"""A sketch in a later pass and after it: Rayleigh–Ritz on a basis from the pass before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from streamspread.accumulators.directions import Scaled
from streamspread.accumulators.sketching.stage import Sizes, Stage, Tensors, check_repeated, finite, proved
from streamspread.accumulators.staging import Origin, Staging, origin_in
from streamspread.errors import OptionError
from streamspread.linalg.ritz import RitzPass
from streamspread.results.bounds import SketchFacts
from streamspread.results.spectrum import Spectrum
from streamspread.system.tensors import as_tensor, below


class Earlier(NamedTuple):
    """What a later pass knows of those before it: samples, how many passes, and ``First.reread``."""

    samples: int
    passes: int
    reread: float


class Refining:
    """A later pass: Rayleigh–Ritz on a basis from the pass before."""

    def __init__(
        self, sizes: Sizes, staging: Staging, facts: SketchFacts, ritz: RitzPass, earlier: Earlier
    ) -> None:
        self.sizes, self.staging, self.facts, self.ritz, self.earlier = sizes, staging, facts, ritz, earlier

    @property
    def samples(self) -> int:
        return self.earlier.samples

    @property
    def passes_done(self) -> int:
        return self.earlier.passes

    def begun(self, x_ND: torch.Tensor) -> Refining:
        return self

    def add(self, x_ND: torch.Tensor) -> None:
        self.staging.fill(x_ND, self._flush)

    def ended(self) -> Refined:
        finite(self.staging, self.sizes.ranks)
        self.staging.check()
        self._flush()
        self._check_repeated()
        return Refined(self)

    def first_pass(self) -> Stage:
        raise OptionError("sketches merge in their first pass: these have begun a second one")

    def spectrum(self, threshold: float) -> Spectrum:
        return self.ended().spectrum(threshold)

    def leading(self, count: int) -> tuple[Scaled, Origin]:
        return self.ended().leading(count)

    def state(self) -> dict[str, torch.Tensor]:
        finite(self.staging, self.sizes.ranks)
        facts = {
            name: torch.from_numpy(value) if isinstance(value, np.ndarray) else as_tensor(value)
            for name, value in vars(self.facts).items()
        }
        return {
            "stage": as_tensor(3),
            **self.staging.state(),
            **{f"earlier.{name}": as_tensor(value) for name, value in self.earlier._asdict().items()},
            **{f"facts.{name}": tensor for name, tensor in facts.items()},
            **{f"ritz.{name}": tensor for name, tensor in self.ritz.state().items()},
        }

    @staticmethod
    def loaded(sizes: Sizes, tensors: Tensors) -> Refining:
        staging = Staging(origin_in(tensors, sizes.device), sizes.staging_rows, sizes.precision)
        staging.load_state(tensors)
        values = below("facts.", tensors)
        numbers = {name: float(tensor) for name, tensor in values.items() if tensor.ndim == 0}
        facts = SketchFacts(values_M=values["values_M"].clone().numpy(), **numbers)
        earlier, sums = below("earlier.", tensors), below("ritz.", tensors)
        before = Earlier(int(earlier["samples"]), int(earlier["passes"]), float(earlier["reread"]))
        q_LD, mean_D = (sums[name].to(sizes.device, copy=True) for name in ("q", "mean"))
        ritz = RitzPass(q_LD, float(sums["missed"]), mean_D, ranks=sizes.ranks)
        ritz.load_state(sums)
        return Refining(sizes, staging, facts, ritz, before)

    def _flush(self) -> None:
        rows_ND = self.staging.staged()
        if finite(self.staging, self.sizes.ranks):
            self.ritz.add(rows_ND)

    def _check_repeated(self) -> None:
        total, reread = self.facts.total, self.earlier.reread
        allowed = 1e-6 * total + 4 * total**0.5 * reread + reread**2
        check_repeated(self, (self.ritz.count, self.ritz.total), (self.samples, total), allowed)


class Refined:
    """After a later pass."""

    def __init__(self, pass_: Refining) -> None:
        self.pass_, self.samples, self.sizes = pass_, pass_.samples, pass_.sizes
        self.passes_done = pass_.passes_done + 1
        self.solution = pass_.ritz.solve()

    def begun(self, x_ND: torch.Tensor) -> Refining:
        last = self.pass_
        last.staging.restart()
        earlier = last.earlier._replace(passes=self.passes_done)
        return Refining(last.sizes, last.staging, last.facts, last.ritz.advance_(self.solution), earlier)

    def ended(self) -> Refined:
        return self

    def first_pass(self) -> Stage:
        return self.pass_.first_pass()

    def spectrum(self, threshold: float) -> Spectrum:
        scale = self.pass_.staging.origin.scale
        return proved(self, scale, self.pass_.facts, self.solution.facts, threshold)

    def leading(self, count: int) -> tuple[Scaled, Origin]:
        ritz = self.pass_.ritz
        vectors_KD, residuals_K = ritz.ritz_vectors(self.solution, count)
        values_K = torch.as_tensor(self.solution.facts.ritz_K[: len(vectors_KD)])
        return Scaled(vectors_KD, values_K, residuals_K, ritz.mean_D), self.pass_.staging.origin

    def state(self) -> dict[str, torch.Tensor]:
        return self.pass_.state() | {"stage": as_tensor(4)}
