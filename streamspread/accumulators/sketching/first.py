"""A sketch before any sample, in the first pass and after it: Frequent Directions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from streamspread.accumulators.directions import NEGLIGIBLE, Scaled
from streamspread.accumulators.sketching.iterating import Iterating
from streamspread.accumulators.sketching.later import Earlier, Refining
from streamspread.accumulators.sketching.stage import Sizes, Tensors, finite, proved
from streamspread.accumulators.staging import Origin, Staging, origin_in, origin_of
from streamspread.errors import DataError
from streamspread.kernels import formats
from streamspread.linalg.frequent_directions import FrequentDirections
from streamspread.linalg.ritz import RitzPass
from streamspread.results.bounds import SketchFacts
from streamspread.results.spectrum import Spectrum, components_for
from streamspread.system.devices import Profile
from streamspread.system.tensors import as_tensor, below

# The basis of the second pass goes beyond K: by a few directions at least, and until what it misses is so
# small a share of the K-th eigenvalue.
_LEAST_GUARD = 16
_MISSED_SHARE = 0.6
# Rows staged before the sketch takes them in, for each row it holds: for n new rows and r old ones a sample
# costs (3r²/n + 4r + n)·D products, least at n = √3·r. With few features the eigenvalues of (r + n)²
# numbers cost more than the products, and n = r is better.
_STAGED_SHARE = 1.75
_MANY_FEATURES = 24  # for each row of the sketch


def rows_to_stage(dim: int, rank: int, profile: Profile) -> int:
    """How many rows are best staged for a sketch that holds ``rank`` rows of ``dim`` features."""
    share = _STAGED_SHARE if dim >= _MANY_FEATURES * rank else 1.0
    return max(profile.least_staged, int(share * rank))


class Waiting:
    """Before the first batch, which gives the origin."""

    passes_done = samples = 0

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes

    def begun(self, x_ND: torch.Tensor) -> First | Iterating:
        sizes = self.sizes
        if sizes.quick:
            return Iterating.first(sizes, x_ND)
        return First(sizes, origin_of(x_ND, sizes.precision, ranks=sizes.ranks))

    def ended(self) -> Waiting:
        return self

    def first_pass(self) -> Waiting:
        return self

    def spectrum(self, threshold: float) -> Spectrum:
        raise DataError("a covariance needs at least 2 samples, got 0")

    def leading(self, count: int) -> tuple[Scaled, Origin]:
        raise DataError("a covariance needs at least 2 samples, got 0")

    def state(self) -> dict[str, torch.Tensor]:
        return {"stage": as_tensor(0)}


class First:
    """The first pass: Frequent Directions.

    reread: by how much, as ‖·‖_F, a second reading may be rounded otherwise, after a merge.
    """

    passes_done = 0

    def __init__(self, sizes: Sizes, origin: Origin) -> None:
        self.sizes = sizes
        self.staging = Staging(origin, sizes.staging_rows, sizes.precision)
        dtype = sizes.precision.sum_dtype
        self.sketch = FrequentDirections(
            sizes.dim, sizes.rank, dtype, sizes.device, sizes.enough, sizes.least, sizes.ranks
        )
        self.reread = 0.0

    @property
    def samples(self) -> int:
        return self.staging.count

    def begun(self, x_ND: torch.Tensor) -> First:
        return self

    def add(self, x_ND: torch.Tensor) -> None:
        self.staging.fill(x_ND, self.flush)

    def flush(self) -> None:
        """Let the sketch take in what is staged."""
        rows_ND = self.staging.staged()
        if finite(self.staging, self.sizes.ranks):
            self.sketch.absorb(rows_ND)
            wanted = rows_to_stage(self.sizes.dim, self.sketch.filled, self.sizes.profile)
            self.staging.wanted = min(self.staging.rows, wanted)

    def ended(self) -> Sketched:
        finite(self.staging, self.sizes.ranks)
        self.staging.check()
        return Sketched(self)

    def first_pass(self) -> First:
        self.flush()
        return self

    def spectrum(self, threshold: float) -> Spectrum:
        return self.ended().spectrum(threshold)

    def leading(self, count: int) -> tuple[Scaled, Origin]:
        return self.ended().leading(count)

    def rescale(self, scale: float) -> float:
        """Bring all to another scale; the ratio of both."""
        ratio = scale / self.staging.origin.scale
        if ratio != 1.0:
            self.reread = self.reread * ratio + self.rounded_otherwise(ratio)
            self.sketch.multiply_(ratio)
            self.staging.rescale(scale)
        return ratio

    def rounded_otherwise(self, ratio: float, shift_D: torch.Tensor | None = None) -> float:
        """A bound on ‖·‖_F of the change in these samples if they were staged with another scale and shift,
        in units that are ``ratio`` times these; ``shift_D``: of the origin, in those units."""
        rounding, sketch = self.sizes.precision.rounding, self.sketch
        unit = formats.ROUNDOFF[rounding] + 2 * formats.ROUNDOFF["fp32"]
        count, moved_D = sketch.count, sketch.mean_D * ratio
        if shift_D is not None:
            moved_D = moved_D + shift_D
        sum_ = self.sizes.ranks.sum_
        now = (sketch.total + count * float(sum_(sketch.mean_D.square().sum()))) ** 0.5 * ratio
        then = (sketch.total * ratio**2 + count * float(sum_(moved_D.square().sum()))) ** 0.5
        subnormal = 2.0**-24 * (count * self.sizes.dim) ** 0.5 if rounding == "fp16" else 0.0
        return unit * (now + then) + subnormal * (1.0 + ratio)

    def merge(self, other: First) -> None:
        """Add another sketch over other samples, both with nothing staged; it is used up. Both are brought to
        the smaller scale: the larger one could take the other's rows out of range."""
        scale = min(self.staging.origin.scale, other.staging.origin.scale)
        self.rescale(scale)
        other.rescale(scale)
        mine, theirs = self.staging, other.staging
        shift_D = (theirs.origin.shift_D.double() - mine.origin.shift_D.double()) * scale
        if any(self.sizes.ranks.gather(bool(shift_D.any()))):
            self.reread += other.rounded_otherwise(1.0, shift_D)
        self.reread += other.reread
        self.sketch.merge(other.sketch, 1.0, shift_D)
        torch.minimum(mine.sums.first_bad, theirs.sums.first_bad, out=mine.sums.first_bad)
        mine.count += theirs.count

    def state(self) -> dict[str, torch.Tensor]:
        finite(self.staging, self.sizes.ranks)
        return {
            "stage": as_tensor(1),
            **self.staging.state(),
            "reread": as_tensor(self.reread),
            **{f"sketch.{name}": tensor for name, tensor in self.sketch.state().items()},
        }

    @staticmethod
    def loaded(sizes: Sizes, tensors: Tensors) -> First:
        first = First(sizes, origin_in(tensors, sizes.device))
        first.staging.load_state(tensors)
        first.reread = float(tensors["reread"])
        first.sketch.load_state(below("sketch.", tensors))
        return first


class Sketched:
    """After the first pass: the sketch with what was left in the buffer, which needs no shrinking, and what
    both prove."""

    passes_done = 1

    def __init__(self, first: First) -> None:
        self.first, self.sizes = first, first.sizes
        self.decomposition = first.sketch.decompose(first.staging.buffer_ND[: first.staging.filled])
        sketch, svd = first.sketch, self.decomposition
        self.samples = svd.count
        self.facts = SketchFacts(
            svd.squares_M.cpu().numpy(),
            sketch.shrinkage,
            sketch.rounding_norm,
            sketch.rounding_trace,
            svd.total,
            svd.error * svd.stack.height**0.5,
        )

    def begun(self, x_ND: torch.Tensor) -> Refining:
        first, facts = self.first, self.facts
        q_LD, missed = first.sketch.basis_(self.decomposition, self._directions())
        moved = 2 * facts.total**0.5 * first.reread + first.reread**2
        facts = replace(
            facts,
            rounding_norm=facts.rounding_norm + moved,
            rounding_trace=facts.rounding_trace + moved,
        )
        ritz = RitzPass(q_LD, missed + moved, self.decomposition.mean_D, ranks=self.sizes.ranks)
        first.staging.restart()
        return Refining(first.sizes, first.staging, facts, ritz, Earlier(self.samples, 1, first.reread))

    def ended(self) -> Sketched:
        return self

    def first_pass(self) -> First:
        return self.first.first_pass()

    def spectrum(self, threshold: float) -> Spectrum:
        return proved(self, self.first.staging.origin.scale, self.facts, None, threshold)

    def leading(self, count: int) -> tuple[Scaled, Origin]:
        """The leading right singular vectors of the rows: BᵀB ≤ C ≤ BᵀB + shrinkage·I, but for roundings, and
        no eigenvector of the one is off by more for the other."""
        svd, facts = self.decomposition, self.facts
        worth = int((svd.squares_M > NEGLIGIBLE * float(svd.squares_M[:1].sum())).sum())
        squares_K = svd.squares_M[: min(count, worth)]
        size = (len(squares_K), svd.stack.columns)
        vectors_KD = torch.empty(size, dtype=torch.float32, device=self.sizes.device)
        turn_KM = svd.leading(len(squares_K)).T * squares_K.rsqrt()[:, None]
        lost_K = self.sizes.ranks.sum_(svd.stack.rotate_into(vectors_KD, turn_KM))
        # An error of the rows' inner products reaches v by way of Bᵀ, which is at most √total in norm.
        inner_K = facts.error * (1.0 + (facts.total / squares_K).sqrt())
        residuals_K = facts.shrinkage + facts.rounding_norm + inner_K + 2 * facts.total * lost_K.sqrt()
        return Scaled(vectors_KD, squares_K, residuals_K, svd.mean_D), self.first.staging.origin

    def state(self) -> dict[str, torch.Tensor]:
        return self.first.state() | {"stage": as_tensor(2)}

    def _directions(self) -> int:
        """That the thresholds need, by the sketch's own values; all where nothing was shrunk."""
        rank, facts = self.sizes.rank, self.facts
        if facts.shrinkage <= facts.error:
            return rank
        least = min(rank, self.sizes.least)
        values_M = facts.values_M
        needed = components_for(np.cumsum(values_M), self.sizes.threshold * facts.total)
        if needed is None:
            return rank
        allowed = _MISSED_SHARE * values_M[needed - 1] - facts.shrinkage
        return min(rank, max(needed + _LEAST_GUARD, least, int(np.count_nonzero(values_M > allowed))))
