"""The stages of a sketch: before any sample, in and after the first pass, in and after a later one.

Each is a type that has what that stage knows, and turns into the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from streamspread import kernels
from streamspread.accumulators.staging import Origin, Precision, Staging, origin_of
from streamspread.errors import ActivationError, DataError, OptionError
from streamspread.linalg.frequent_directions import FrequentDirections
from streamspread.linalg.ritz import RitzPass
from streamspread.linalg.states import as_tensor
from streamspread.results.enclosure import RitzFacts, SketchFacts, enclose
from streamspread.results.spectrum import Spectrum, components_for
from streamspread.system.devices import Profile

# The basis of the second pass goes beyond K: by a few directions at least, and until what it misses is so
# small a share of the K-th eigenvalue.
_LEAST_GUARD = 16
_MISSED_SHARE = 0.6
# Rows staged before the sketch takes them in, for each row it holds: for n new rows and r old ones a sample
# costs (3r²/n + 4r + n)·D products, least at n = √3·r. With few features the eigenvalues of (r + n)²
# numbers cost more than the products, and n = r is better.
_STAGED_SHARE = 1.75
_MANY_FEATURES = 24  # for each row of the sketch

Tensors = Mapping[str, torch.Tensor]


class Sizes(NamedTuple):
    """What stays the same over all stages. ``threshold``: the largest that is asked for. ``enough``: the
    share of the trace that the rows must hold where fewer than ``rank`` may do; None: all are kept."""

    dim: int
    rank: int
    threshold: float
    staging_rows: int
    precision: Precision
    device: torch.device
    profile: Profile
    enough: float | None


class Stage(Protocol):
    """What every stage can be asked."""

    @property
    def passes_done(self) -> int: ...
    @property
    def samples(self) -> int: ...
    def begun(self, x_ND: torch.Tensor) -> Running:
        """The stage that takes batches: this one, or the one that the batch begins."""

    def ended(self) -> Stage:
        """The stage after the pass: this one where no pass is running."""

    def first_pass(self) -> First | Waiting:
        """Back to before the end of the first pass. Raises OptionError where that is over."""

    def spectrum(self, threshold: float) -> Spectrum:
        """What is proved so far, with upper sums that reach the threshold."""

    def state(self) -> dict[str, torch.Tensor]: ...


class Running(Stage, Protocol):
    """A stage in a pass."""

    def add(self, x_ND: torch.Tensor) -> None: ...


def rows_to_stage(dim: int, rank: int, profile: Profile) -> int:
    """How many rows are best staged for a sketch that holds ``rank`` rows of ``dim`` features."""
    share = _STAGED_SHARE if dim >= _MANY_FEATURES * rank else 1.0
    return max(profile.least_staged, int(share * rank))


class Waiting:
    """Before the first batch, which gives the origin."""

    passes_done = samples = 0

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes

    def begun(self, x_ND: torch.Tensor) -> First:
        return First(self.sizes, origin_of(x_ND, self.sizes.precision))

    def ended(self) -> Waiting:
        return self

    def first_pass(self) -> Waiting:
        return self

    def spectrum(self, threshold: float) -> Spectrum:
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
        self.sketch = FrequentDirections(sizes.dim, sizes.rank, dtype, sizes.device, sizes.enough)
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
        if _finite(self.staging):
            self.sketch.absorb(rows_ND)
            wanted = rows_to_stage(self.sizes.dim, self.sketch.filled, self.sizes.profile)
            self.staging.wanted = min(self.staging.rows, wanted)

    def ended(self) -> Sketched:
        self.staging.check()
        return Sketched(self)

    def first_pass(self) -> First:
        self.flush()
        return self

    def spectrum(self, threshold: float) -> Spectrum:
        return self.ended().spectrum(threshold)

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
        unit = kernels.ROUNDOFF[rounding] + 2 * kernels.ROUNDOFF["fp32"]
        count, moved_D = sketch.count, sketch.mean_D * ratio
        if shift_D is not None:
            moved_D = moved_D + shift_D
        now = (sketch.total + count * float(sketch.mean_D.square().sum())) ** 0.5 * ratio
        then = (sketch.total * ratio**2 + count * float(moved_D.square().sum())) ** 0.5
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
        if bool(shift_D.any()):
            self.reread += other.rounded_otherwise(1.0, shift_D)
        self.reread += other.reread
        self.sketch.merge(other.sketch, 1.0, shift_D)
        torch.minimum(mine.sums.first_bad, theirs.sums.first_bad, out=mine.sums.first_bad)
        mine.count += theirs.count

    def state(self) -> dict[str, torch.Tensor]:
        staging = self.staging
        return {
            "stage": as_tensor(1),
            **_staging_state(staging),
            "reread": as_tensor(self.reread),
            **{f"sketch.{name}": tensor for name, tensor in self.sketch.state().items()},
        }

    @staticmethod
    def loaded(sizes: Sizes, tensors: Tensors) -> First:
        first = First(sizes, _origin(tensors))
        _load_staging(first.staging, tensors)
        first.reread = float(tensors["reread"])
        first.sketch.load_state(_below("sketch.", tensors))
        return first


class Sketched:
    """After the first pass: the sketch with what was left in the buffer, which needs no shrinking, and what
    both prove."""

    passes_done = 1

    def __init__(self, first: First) -> None:
        self.first, self.staging = first, first.staging
        self.decomposition = first.sketch.decompose(first.staging.buffer_ND[: first.staging.filled])
        sketch, found = first.sketch, self.decomposition
        self.samples = found.count
        self.facts = SketchFacts(
            found.squares_M.cpu().numpy(),
            sketch.shrinkage,
            sketch.rounding_norm,
            sketch.rounding_trace,
            found.total,
            found.error * found.stack.height**0.5,
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
        ritz = RitzPass(q_LD, missed + moved, self.decomposition.mean_D)
        first.staging.restart()
        return Refining(first.sizes, first.staging, facts, ritz, Earlier(self.samples, 1, first.reread))

    def ended(self) -> Sketched:
        return self

    def first_pass(self) -> First:
        return self.first.first_pass()

    def spectrum(self, threshold: float) -> Spectrum:
        return _spectrum(self.first.sizes, self.facts, None, self, threshold)

    def state(self) -> dict[str, torch.Tensor]:
        return self.first.state() | {"stage": as_tensor(2)}

    def _directions(self) -> int:
        """That the thresholds need, by the sketch's own values; all where nothing was shrunk."""
        rank, facts = self.first.sizes.rank, self.facts
        if facts.shrinkage <= facts.error:
            return rank
        values_M = facts.values_M
        needed = components_for(np.cumsum(values_M), self.first.sizes.threshold * facts.total)
        if needed is None:
            return rank
        allowed = _MISSED_SHARE * values_M[needed - 1] - facts.shrinkage
        return min(rank, max(needed + _LEAST_GUARD, int(np.count_nonzero(values_M > allowed))))


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
        self.staging.check()
        self._flush()
        self._check_repeated()
        return Refined(self)

    def first_pass(self) -> First:
        raise OptionError("sketches merge in their first pass: these have begun a second one")

    def spectrum(self, threshold: float) -> Spectrum:
        return self.ended().spectrum(threshold)

    def state(self) -> dict[str, torch.Tensor]:
        facts = {
            name: torch.from_numpy(value) if isinstance(value, np.ndarray) else as_tensor(value)
            for name, value in vars(self.facts).items()
        }
        return {
            "stage": as_tensor(3),
            **_staging_state(self.staging),
            **{f"earlier.{name}": as_tensor(value) for name, value in self.earlier._asdict().items()},
            **{f"facts.{name}": tensor for name, tensor in facts.items()},
            **{f"ritz.{name}": tensor for name, tensor in self.ritz.state().items()},
        }

    @staticmethod
    def loaded(sizes: Sizes, tensors: Tensors) -> Refining:
        staging = Staging(_origin(tensors), sizes.staging_rows, sizes.precision)
        _load_staging(staging, tensors)
        values = _below("facts.", tensors)
        numbers = {name: float(tensor) for name, tensor in values.items() if tensor.ndim == 0}
        facts = SketchFacts(values_M=values["values_M"].clone().numpy(), **numbers)
        earlier, sums = _below("earlier.", tensors), _below("ritz.", tensors)
        before = Earlier(int(earlier["samples"]), int(earlier["passes"]), float(earlier["reread"]))
        ritz = RitzPass(sums["q"].clone(), float(sums["missed"]), sums["mean"].clone())
        ritz.load_state(sums)
        return Refining(sizes, staging, facts, ritz, before)

    def _flush(self) -> None:
        rows_ND = self.staging.staged()
        if _finite(self.staging):
            self.ritz.add(rows_ND)

    def _check_repeated(self) -> None:
        total, reread = self.facts.total, self.earlier.reread
        allowed = 1e-6 * total + 4 * total**0.5 * reread + reread**2
        if self.ritz.count != self.samples or abs(self.ritz.total - total) > allowed:
            raise ActivationError(
                f"layer {self.sizes.precision.layer}: pass {self.passes_done + 1} brought other data than "
                f"the first ({self.ritz.count:,} and {self.samples:,} samples): the data must repeat"
            )


class Refined:
    """After a later pass."""

    def __init__(self, pass_: Refining) -> None:
        self.pass_, self.samples, self.staging = pass_, pass_.samples, pass_.staging
        self.passes_done = pass_.passes_done + 1
        self.solution = pass_.ritz.solve()

    def begun(self, x_ND: torch.Tensor) -> Refining:
        last = self.pass_
        last.staging.restart()
        earlier = last.earlier._replace(passes=self.passes_done)
        return Refining(last.sizes, last.staging, last.facts, last.ritz.advance_(self.solution), earlier)

    def ended(self) -> Refined:
        return self

    def first_pass(self) -> First:
        return self.pass_.first_pass()

    def spectrum(self, threshold: float) -> Spectrum:
        return _spectrum(self.pass_.sizes, self.pass_.facts, self.solution.facts, self, threshold)

    def state(self) -> dict[str, torch.Tensor]:
        return self.pass_.state() | {"stage": as_tensor(4)}


def loaded(sizes: Sizes, tensors: Tensors) -> Stage:
    """The stage that gave such a state."""
    match int(tensors["stage"]):
        case 1:
            return First.loaded(sizes, tensors)
        case 2:
            return Sketched(First.loaded(sizes, tensors))
        case 3:
            return Refining.loaded(sizes, tensors)
        case 4:
            return Refined(Refining.loaded(sizes, tensors))
    return Waiting(sizes)


def _spectrum(
    sizes: Sizes, facts: SketchFacts, ritz: RitzFacts | None, stage: Sketched | Refined, threshold: float
) -> Spectrum:
    if stage.samples < 2:
        raise DataError(f"a covariance needs at least 2 samples, got {stage.samples}")
    unit = 1.0 / (stage.staging.origin.scale**2 * (stage.samples - 1))
    total = facts.total if ritz is None else ritz.total
    common: dict[str, Any] = {"dim": sizes.dim, "samples": stage.samples, "total_variance": total * unit}
    if total <= 0.0:
        return Spectrum(**common, eigenvalues=np.zeros(0), complete=True, proof="constant layer")
    enclosure = enclose(facts, ritz, min(sizes.dim, stage.samples - 1), threshold)
    return Spectrum(
        **common,
        eigenvalues=enclosure.lower_K * unit,
        complete=enclosure.complete,
        upper_sums=enclosure.upper_sums * unit,
        proof="Frequent Directions" if ritz is None else "Frequent Directions + Rayleigh–Ritz",
    )


def _finite(staging: Staging) -> bool:
    """Whether all came finite; the end of the pass says what did not, and until then none of it may go on."""
    return min(staging.sums.first_bad.tolist()) == kernels.NEVER


def _origin(tensors: Tensors) -> Origin:
    return Origin(tensors["shift"].clone(), float(tensors["scale"]))


def _staging_state(staging: Staging) -> dict[str, torch.Tensor]:
    return {
        "rows": staging.buffer_ND[: staging.filled],
        "shift": staging.origin.shift_D,
        "scale": as_tensor(staging.origin.scale),
        "count": as_tensor(staging.count),
        "wanted": as_tensor(staging.wanted),
        "batches": as_tensor(staging.batches),
        **staging.sums._asdict(),
    }


def _load_staging(staging: Staging, tensors: Tensors) -> None:
    staging.filled = len(tensors["rows"])
    staging.buffer_ND[: staging.filled] = tensors["rows"]
    for name in ("count", "wanted", "batches"):
        setattr(staging, name, int(tensors[name]))
    for name, sums in staging.sums._asdict().items():
        sums.copy_(tensors[name])


def _below(prefix: str, tensors: Tensors) -> dict[str, torch.Tensor]:
    """The parts whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
