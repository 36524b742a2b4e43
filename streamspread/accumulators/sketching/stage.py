"""What every stage of a sketch can be asked, and how facts become a spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from streamspread.accumulators.directions import Scaled
from streamspread.accumulators.staging import Origin, Precision, Staging, variance_unit
from streamspread.errors import ActivationError, DataError
from streamspread.kernels import formats
from streamspread.linalg.eigenpairs import kept
from streamspread.ranks import ALONE, Ranks
from streamspread.results.bounds import RitzFacts, SketchFacts, enclose
from streamspread.results.spectrum import Spectrum
from streamspread.system.devices import Profile

Tensors = Mapping[str, torch.Tensor]


class Sizes(NamedTuple):
    """What stays the same over all stages. ``threshold``: the largest that is asked for. ``enough``: the
    share of the trace that the rows must hold where fewer than ``rank`` may do; None: all are kept.
    ``directions``: how many eigenvectors are wanted. ``ranks``: of which each has some of the columns.
    ``quick``: whether it is a subspace iteration, without Frequent Directions."""

    dim: int
    rank: int
    threshold: float
    staging_rows: int
    precision: Precision
    device: torch.device
    profile: Profile
    enough: float | None
    directions: int = 0
    ranks: Ranks = ALONE
    quick: bool = False

    @property
    def least(self) -> int:
        """Rows that the sketch, and a basis, keep at the least: some beyond the directions."""
        return least_rank(self.directions, self.dim)


def least_rank(directions: int, dim: int) -> int:
    """Rows of a sketch that so many directions take."""
    return min(dim, kept(directions)) if directions else 0


class Stage(Protocol):
    """What every stage can be asked."""

    sizes: Sizes

    @property
    def passes_done(self) -> int: ...
    @property
    def samples(self) -> int: ...
    def begun(self, x_ND: torch.Tensor) -> Running:
        """The stage that takes batches: this one, or the one that the batch begins."""

    def ended(self) -> Stage:
        """The stage after the pass: this one where no pass is running."""

    def first_pass(self) -> Stage:
        """Back to before the end of the first pass. Raises OptionError where that is over."""

    def spectrum(self, threshold: float) -> Spectrum:
        """What is proved so far, with upper sums that reach the threshold."""

    def leading(self, count: int) -> tuple[Scaled, Origin]:
        """The leading directions so far, at most so many, and the origin that they are measured from."""

    def state(self) -> dict[str, torch.Tensor]: ...


class Running(Stage, Protocol):
    """A stage in a pass."""

    def add(self, x_ND: torch.Tensor) -> None: ...


def proved(
    stage: Stage, scale: float, facts: SketchFacts, ritz: RitzFacts | None, threshold: float
) -> Spectrum:
    """What facts about a scatter matrix, in units of ``scale``, say of the covariance's spectrum; upper sums
    reach the threshold."""
    if stage.samples < 2:
        raise DataError(f"a covariance needs at least 2 samples, got {stage.samples}")
    total = facts.total if ritz is None else ritz.total
    unit = variance_unit(total, scale, stage.samples, stage.sizes.precision.layer)
    common: dict[str, Any] = {
        "dim": stage.sizes.dim,
        "samples": stage.samples,
        "total_variance": total * unit,
    }
    if total <= 0.0:
        return Spectrum(**common, eigenvalues=np.zeros(0), complete=True, proof="constant layer")
    enclosure = enclose(facts, ritz, min(stage.sizes.dim, stage.samples - 1), threshold)
    return Spectrum(
        **common,
        eigenvalues=enclosure.lower_K * unit,
        complete=enclosure.complete,
        upper_sums=enclosure.upper_sums * unit,
        proof="Frequent Directions" if ritz is None else "Frequent Directions + Rayleigh–Ritz",
    )


def check_repeated(stage: Stage, came: tuple[int, float], first: tuple[int, float], allowed: float) -> None:
    """Check a pass's number of samples, and the trace of their scatter, against those of the first pass;
    ``allowed``: by how much the traces may differ.

    Raises:
        ActivationError: the data do not repeat.
    """
    (count, total), (samples, trace) = came, first
    if count != samples or abs(total - trace) > allowed:
        raise ActivationError(
            f"layer {stage.sizes.precision.layer}: pass {stage.passes_done + 1} brought other data than "
            f"the first ({count:,} and {samples:,} samples): the data must repeat"
        )


def finite(staging: Staging, ranks: Ranks) -> bool:
    """Whether all came finite, in the columns of all ranks; the end of the pass says what did not, and until
    then none of it may go on."""
    first_bad = staging.sums.first_bad
    told = ranks.tell(*first_bad.tolist())
    first_bad.copy_(torch.tensor([min(batches) for batches in zip(*told, strict=True)]))
    return min(first_bad.tolist()) == formats.NEVER
