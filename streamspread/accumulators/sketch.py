"""Frequent Directions, then Rayleigh–Ritz passes on its basis: a proved interval for K at any D and N."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from streamspread import kernels
from streamspread.accumulators.staging import Staging
from streamspread.errors import ActivationError, DataError, OptionError
from streamspread.linalg.chunks import chunk_nbytes
from streamspread.linalg.frequent_directions import Decomposition, FrequentDirections
from streamspread.linalg.intervals import SketchFacts, enclose
from streamspread.linalg.ritz import RitzFacts, RitzPass
from streamspread.results.spectrum import Spectrum, components_for

# The basis of the second pass goes beyond K: by a few directions at least, and until what it misses is so
# small a share of the K-th eigenvalue.
_LEAST_GUARD = 16
_MISSED_SHARE = 0.6
# Rows staged before the sketch takes them in, for each row it holds: for n new rows and r old ones a sample
# costs (3r²/n + 4r + n)·D products, least at n = √3·r. With few features the eigenvalues of (r + n)²
# numbers cost more than the products, and n = r is better.
_STAGED_SHARE = 1.75
_MANY_FEATURES = 24  # for each row of the sketch
_LEAST_STAGED = {"cpu": 128, "cuda": 1024}


class Sketch:
    """A few rows that stand for the scatter matrix (first pass), then that matrix seen from their span.

    The first pass alone gives an interval. Every later pass over the same samples narrows it:
    :meth:`end_pass` ends a pass, and the next :meth:`update` begins another one. States over other samples
    merge as long as only the first pass was made.
    """

    method = "sketch"

    def __init__(
        self,
        dim: int,
        *,
        rank: int,
        thresholds: Sequence[float],
        rounding: str,
        device: torch.device,
        staging_rows: int,
        adaptive: bool = False,
        layer: str = "",
    ) -> None:
        """``adaptive``: keep fewer than ``rank`` rows where the thresholds need fewer."""
        if rank < 1:
            raise OptionError(f"a sketch keeps at least one direction, rank {rank} was asked for")
        self.dim, self.rank, self.thresholds = dim, min(rank, dim), tuple(thresholds)
        self.rounding, self.device, self.layer = rounding, device, layer
        self.staging = Staging(dim, staging_rows, rounding, device, layer)
        enough = max(self.thresholds) if adaptive else None
        self.sketch = FrequentDirections(dim, self.rank, kernels.SUM_DTYPES[rounding], device, enough)
        self.passes_done = 0
        self.count = 0  # samples of the first pass, once it has ended
        self._reread = 0.0  # ‖·‖_F by which a second reading may be rounded otherwise, after a merge
        self._ended = False
        self._found: Decomposition | None = None
        self._facts: SketchFacts | None = None
        self._ritz: RitzPass | None = None
        self._ritz_facts: RitzFacts | None = None

    @staticmethod
    def passes(max_passes: int) -> int:
        """How often the data goes through the network at the most; a pass that closes every K is the last."""
        return max_passes

    @staticmethod
    def nbytes(
        dim: int, *, rank: int, rounding: str, device: torch.device, staging_rows: int, max_passes: int
    ) -> tuple[int, int]:
        """(bytes of the state while data streams, extra bytes of the eigenvalue step)."""
        rank = min(rank, dim)
        height = rank + staging_rows + 1
        state = rank * dim * kernels.SUM_DTYPES[rounding].itemsize
        state += Staging.nbytes(dim, staging_rows, rounding, device) + 5 * 8 * dim
        if max_passes > 1:
            state += 8 * rank * dim  # Y
        state += 2 * chunk_nbytes(height, dim, device)
        # A Gram matrix, its eigenvectors and LAPACK's workspace; the last bound takes twice the rank.
        state += 6 * 8 * height**2
        return state, 10 * 8 * (2 * rank) ** 2

    @property
    def samples(self) -> int:
        return self.count or self.staging.count

    def update(self, x_ND: torch.Tensor) -> None:
        """Add a batch (n, D): any float dtype, on the accumulator's device, features always in one order."""
        if self._ended:
            self._begin_pass()
        self.staging.fill(x_ND, self._flush)

    def end_pass(self) -> None:
        """End the pass over the data; check that all was finite and, after the first pass, the same again.

        Raises:
            ActivationError: NaN or Inf, or other data than in the first pass.
            Overflow: rounding overflowed.
        """
        if self._ended:
            return
        self.staging.check()
        if self._ritz is None:
            if self.staging.count + self.sketch.count:
                # The last rows need no shrinking: what is left in the buffer is a sketch of more rows.
                self._found = self.sketch.decompose(self.staging.buffer_ND[: self.staging.filled])
                self._facts = self._sketch_facts(self._found)
                self.count = self._found.count
        else:
            self._flush()
            self._check_repeated(self._ritz)
            self._ritz_facts = self._ritz.facts()
        self._ended = True
        self.passes_done += 1

    def merge(self, other: Sketch) -> None:
        """Add another state over other samples of the same layer, neither past its first pass; ``other`` is
        used up.

        Raises:
            OptionError: another dim, rank or rounding, or a state that is past its first pass.
        """
        if (self.dim, self.rank, self.rounding) != (other.dim, other.rank, other.rounding):
            raise OptionError(
                f"only states of one layer merge: {self.dim} features at {self.rounding} and rank {self.rank}"
                f", got {other.dim} at {other.rounding} and rank {other.rank}"
            )
        if self._ritz is not None or other._ritz is not None:
            raise OptionError("sketches merge in their first pass: these have begun a second one")
        self._reopen()
        other._reopen()
        mine, theirs = self.staging, other.staging
        if theirs.pilot_D is None:
            return
        if mine.pilot_D is None:
            self.staging, self.sketch = theirs, other.sketch
            self._reread = other._reread
            return
        assert mine.pilot_D is not None
        ratio = mine.scale / theirs.scale
        shift_D = (theirs.pilot_D.double() - mine.pilot_D.double()) * mine.scale
        if ratio != 1.0 or bool(shift_D.any()):
            self._reread += other._rounded_otherwise(ratio, shift_D)
        self._reread += other._reread * ratio
        self.sketch.merge(other.sketch, ratio, shift_D)
        torch.minimum(mine.first_bad, theirs.first_bad, out=mine.first_bad)
        mine.count += theirs.count

    def spectrum(self, thresholds: Sequence[float] | None = None, options: object = None) -> Spectrum:
        """What is proved so far; the state stays usable for another pass.

        Args:
            thresholds: fractions that the upper sums must reach; None: those of the constructor.
            options: of the exact methods; there are none here.

        Raises:
            DataError: fewer than two samples were seen.
        """
        self.end_pass()
        if self._facts is None or self.count < 2:
            raise DataError(f"a covariance needs at least 2 samples, got {self.count}")
        unit = 1.0 / (self.staging.scale**2 * (self.count - 1))
        total = self._facts.total if self._ritz_facts is None else self._ritz_facts.total
        common: dict[str, Any] = {"dim": self.dim, "samples": self.count, "total_variance": total * unit}
        if total <= 0.0:
            return Spectrum(**common, eigenvalues=np.zeros(0), complete=True, proof="constant layer")
        limit = min(self.dim, self.count - 1)
        found = enclose(self._facts, self._ritz_facts, limit, max(thresholds or self.thresholds))
        return Spectrum(
            **common,
            eigenvalues=found.lower_K * unit,
            complete=found.complete,
            upper_sums=found.upper_sums * unit,
            proof="Frequent Directions" if self._ritz is None else "Frequent Directions + Rayleigh–Ritz",
        )

    def _flush(self) -> None:
        rows_ND = self.staging.staged()
        if min(self.staging.first_bad.tolist()) != kernels.NEVER:
            return  # the end of the pass says what came; until then nothing of it may reach the sketch
        if self._ritz is not None:
            self._ritz.add(rows_ND)
            return
        self.sketch.absorb(rows_ND)
        wanted = rows_to_stage(self.dim, self.sketch.filled, self.device)
        self.staging.wanted = min(self.staging.rows, wanted)

    def _begin_pass(self) -> None:
        if self._ritz is None:
            assert self._found is not None
            assert self._facts is not None
            q_LD, missed = self.sketch.basis_(self._found, self._basis_size())
            moved = 2 * self._facts.total**0.5 * self._reread + self._reread**2
            self._facts = replace(
                self._facts,
                rounding_norm=self._facts.rounding_norm + moved,
                rounding_trace=self._facts.rounding_trace + moved,
            )
            self._ritz = RitzPass(q_LD, missed + moved, self._found.mean_D)
            self._found = None
        else:
            assert self._ritz_facts is not None
            self._ritz = self._ritz.advance_(self._ritz_facts)
        self.staging.wanted = self.staging.rows
        # The same pilot and scale as before: the same rounded numbers.
        self.staging.count = self.staging.filled = self.staging.batches = 0
        self._ended = False

    def _basis_size(self) -> int:
        """Directions that the thresholds need, by the sketch's own values; all where nothing was shrunk."""
        assert self._facts is not None
        if self._facts.shrinkage <= self._facts.error:
            return self.rank
        values_M = self._facts.values_M
        needed = components_for(np.cumsum(values_M), max(self.thresholds) * self._facts.total)
        if needed is None:
            return self.rank
        allowed = _MISSED_SHARE * values_M[needed - 1] - self._facts.shrinkage
        return min(self.rank, max(needed + _LEAST_GUARD, int(np.count_nonzero(values_M > allowed))))

    def _sketch_facts(self, found: Decomposition) -> SketchFacts:
        sketch = self.sketch
        return SketchFacts(
            found.squares_M.cpu().numpy(),
            sketch.shrinkage,
            sketch.rounding_norm,
            sketch.rounding_trace,
            found.total,
            found.error * found.stack.height**0.5,
        )

    def _reopen(self) -> None:
        """Back to before the end of the first pass, with nothing staged."""
        self._ended, self.passes_done = False, 0
        self._found = self._facts = None
        self.count = 0
        self._flush()

    def _check_repeated(self, ritz: RitzPass) -> None:
        assert self._facts is not None
        allowed = 1e-6 * self._facts.total + 4 * self._facts.total**0.5 * self._reread + self._reread**2
        if ritz.count != self.count or abs(ritz.total - self._facts.total) > allowed:
            raise ActivationError(
                f"layer {self.layer}: pass {self.passes_done + 1} brought other data than the first "
                f"({ritz.count:,} and {self.count:,} samples): the data must repeat"
            )

    def _rounded_otherwise(self, ratio: float, shift_D: torch.Tensor) -> float:
        """A bound on ‖·‖_F of the change in my samples if they were staged with another pilot and scale."""
        unit = kernels.ROUNDOFF[self.rounding] + 2 * kernels.ROUNDOFF["fp32"]
        count, sketch = self.sketch.count, self.sketch
        mine = (sketch.total + count * float(sketch.mean_D.square().sum())) ** 0.5 * ratio
        theirs = (
            sketch.total * ratio**2 + count * float((sketch.mean_D * ratio + shift_D).square().sum())
        ) ** 0.5
        tiny = 2.0**-24 * (count * self.dim) ** 0.5 if self.rounding == "fp16" else 0.0  # fp16's subnormals
        return unit * (mine + theirs) + tiny * (1.0 + ratio)


def rows_to_stage(dim: int, rank: int, device: torch.device) -> int:
    """How many rows are best staged for a sketch that holds ``rank`` rows of ``dim`` features."""
    share = _STAGED_SHARE if dim >= _MANY_FEATURES * rank else 1.0
    return max(_LEAST_STAGED[device.type], int(share * rank))


def rank_to_close(spectrum: Spectrum, thresholds: Sequence[float], rank: int) -> int | None:
    """An estimate of the rank at which a sketch closes every threshold that it left open at ``rank``; None
    where it left none.

    Where the eigenvalues found do not reach a threshold, the others are taken to fall as a power of their
    index, with the exponent that uses up the rest of the trace.
    """
    still_open = [tau for tau in thresholds if not spectrum.components(tau).closed]
    if not still_open:
        return None
    target = max(still_open) * spectrum.total_variance
    values, limit = spectrum.eigenvalues, spectrum.rank_limit
    needed = components_for(np.cumsum(values), target)
    if needed is None:
        rest = spectrum.total_variance - float(values.sum())
        index = np.arange(len(values) + 1, limit + 1, dtype=np.float64)
        low, high = 0.0, 64.0  # a larger exponent leaves less
        for _ in range(40):
            middle = (low + high) / 2
            sums = np.cumsum(values[-1] * (index / len(values)) ** -middle)
            low, high = (middle, high) if len(sums) and sums[-1] > rest else (low, middle)
        sums *= rest / max(float(sums[-1]), np.finfo(np.float64).tiny) if len(sums) else 1.0
        needed = len(values) + (components_for(sums, target - float(values.sum())) or len(index))
    return int(min(limit, -(-max(2 * needed, 3 * rank // 2) // 64) * 64))
