"""The contract of an accumulator: what it would cost, how it takes batches, what its state consists of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Any, ClassVar, Self

import torch

from streamspread.accumulators.costs import NOTHING, LayerShape, Travels
from streamspread.accumulators.staging import Precision
from streamspread.errors import OptionError
from streamspread.options import METHODS, Options
from streamspread.ranks import ALONE, Ranks
from streamspread.results.spectrum import Spectrum
from streamspread.results.views import WHOLE
from streamspread.streams.labels import Labels
from streamspread.system.devices import Profile, profile
from streamspread.system.registry import Registry

#: Squared rounding errors at int16, as a share of T, beyond which it is not taken where it was not asked for.
MOST_MOVED = 1e-6

_SAMPLES = 50_000  # where their number is not known
_COARSE = 1e-3  # beyond which a smaller unit is tried where it was: of which deviations are less than ten


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is the same for all layers of a run, or what :meth:`of_layer` makes of it.

    Attributes:
        samples: N, or None where only a pass over the data can tell.
        budget: bytes on the device. ``resident_bytes``: of the data set, where it lies there all the time.
        forward_bytes: what the network itself needs for a batch.
        rounding: fp16, bf16, fp32, fp64 or int16.
        repeatable: whether the data can be read more than once; ``ordered``: in the same order each time.
        layers: how many there are.
        labels: the samples' classes, where they are asked for.
        eigenvalues: whether they are wanted of the sums; without, the sums are only read.
        profile: of the device.
        part: what comes at a time of a layer, in a word.
        ranks: that share the run. ``shares``: among how many its memory and work are divided: the ranks, or
            those that began it, where it is resumed. ``itemsize``: bytes of each number that goes between
            them.
        exact: whether the layers were unfit for another method once: one that may be, as :class:`Unfit` says,
            does not offer itself, and ``auto`` takes an exact one wherever one fits the budget.
    """

    samples: int | None
    budget: int
    device: torch.device
    rounding: str
    options: Options
    batch_size: int = 256
    forward_bytes: int = 0
    resident_bytes: int = 0
    repeatable: bool = True
    ordered: bool = True
    layers: int = 1
    labels: Labels | None = None
    eigenvalues: bool = True
    profile: Profile
    part: str = "batch"
    ranks: Ranks = ALONE
    shares: int = 1
    itemsize: int = 4
    exact: bool = False

    def of_layer(self, layer: LayerShape) -> tuple[LayerShape, Setting]:
        """The layer and its setting, with counts and operations of its own samples. Where images differ in
        how many these are, neither their number nor their classes are known beforehand."""
        if layer.view == WHOLE:
            return layer, self
        samples = None if self.samples is None or layer.uneven else self.samples * layer.places
        labels = None if layer.uneven else self.labels
        per_sample = replace(layer, operations=layer.operations / layer.places)
        return per_sample, replace(self, samples=samples, labels=labels, part="slice")

    @staticmethod
    def of(device: torch.device, options: Options | None = None, **others: Any) -> Setting:
        """A setting with the device's own profile."""
        return Setting(device=device, options=options or Options(), **{"profile": profile(device), **others})

    def precision(self, layer: str) -> Precision:
        """Of the values of the layer of that name."""
        most = _COARSE if self.options.rounding == "int16" else MOST_MOVED
        return Precision(self.rounding, layer, most_moved=most, part=self.part)

    @property
    def sum_cost(self) -> float:
        """Time of an operation of a rank update, relative to one at the usual precision."""
        return self.profile.int16_cost if self.rounding == "int16" else 1.0

    @property
    def expected(self) -> int:
        """N, or what is taken for it where it is not known."""
        return self.samples or _SAMPLES

    @property
    def same_again(self) -> bool:
        """Whether a second pass brings the same samples in the same order."""
        return self.repeatable and self.ordered

    @property
    def classes(self) -> int:
        """How many classes the samples are told apart by, 0 where they are not."""
        return 0 if self.labels is None else len(self.labels.names)

    @property
    def directions(self) -> int:
        """How many eigenvectors are wanted, 0 for none."""
        return (self.options.directions or 0) if self.eigenvalues else 0

    @property
    def room(self) -> int:
        """Bytes of the budget beside the data that stays."""
        return self.budget - self.resident_bytes


@dataclass(frozen=True)
class Candidate:
    """One way to do a layer: what it would cost, and how to begin.

    Attributes:
        passes: how often the data goes through the network for it, at the most. ``usual_passes``: as a rule,
            which is what ``operations`` count; None: as often.
        state_bytes: while data streams; ``finish_bytes``: in addition, in the eigenvalue step.
        operations: estimated, of sums and eigenvalues and of the forwards that only this layer needs.
        exact: whether it sums the covariance itself, so that any threshold can be had.
        closes: whether it closes K of the thresholds asked for, or is :class:`Unfit`.
        order: of the matrix whose eigenvalues are computed; 0 where there is none.
        why: the choice in a sentence.
        step: how many of the operations are those of the eigenvalue step.
        estimates: whether K beyond the samples is estimated too.
        make: gives the accumulator; its keywords are the sizes that were chosen.
        summed_dim: numbers of a row that it takes, where these are not the layer's own but its narrow side's.
        making_rows: how many of the operations make the rows of a narrow side, and first what makes these.
        quick_rows: whether these are made in float32, and their errors measured.
        sums_after: whether its sums are formed after each pass, of what was staged.
        rounding: of the values, where it is not the setting's.
        scores: whether the samples' scores come with its directions.
        scoring: whether the last of its passes is one for scores alone.
        travels: what goes between the ranks for it, in all passes.
    """

    method: str
    passes: int
    state_bytes: int
    finish_bytes: int
    operations: float
    exact: bool
    order: int
    why: str
    make: partial[Any]
    step: float = 0.0
    estimates: bool = False
    summed_dim: int | None = None
    making_rows: float = 0.0
    quick_rows: bool = False
    sums_after: bool = False
    rounding: str = ""
    scores: bool = False
    scoring: bool = False
    travels: Travels = NOTHING
    usual_passes: int | None = None
    closes: bool = False

    @property
    def label(self) -> str:
        """The method, and the side where it is the narrow one."""
        return self.method if self.summed_dim is None else f"{self.method} of {self.summed_dim:,}"


@dataclass(frozen=True)
class Impossible:
    """Why a method cannot do a layer whatever the budget, and what would let it."""

    why: str
    remedy: str = ""


class Unfit(Exception):
    """An accumulator will not close what was asked for, and another method must sum the layer. The message
    says why, in a clause: K is more than its 1,024 directions can tell."""


class Combine(Enum):
    """How a part of two states over different samples becomes one."""

    SUM = "sum"
    MIN = "minimum"
    MAX = "maximum"
    SAME = "same"  # both have it alike
    OWN = "own"  # not number by number: the accumulator's own ``merge`` does it


@dataclass(frozen=True)
class Part:
    """A named part of a state: a reference to a live tensor, or a number as a tensor of its own."""

    tensor: torch.Tensor
    combine: Combine


class Accumulator(ABC):
    """Running state over the samples of one layer.

    Batches come by :meth:`update`, and :meth:`end_pass` ends a run of the data. A state that was taken by
    :meth:`state` and given to a new accumulator of the same sizes by :meth:`load_state` goes on to the same
    bits. Several ranks call the same methods at the same places, and what the first decides holds for all.
    """

    method: ClassVar[str]
    dim: int
    #: With several ranks: the columns that each of them is given, from its bound to the next one; None: all
    #: columns to all.
    bounds: Sequence[int] | None = None
    places: int = 1  #: Samples that each image is; who has more of them says so before the first batch.

    @classmethod
    @abstractmethod
    def candidate(cls, layer: LayerShape, setting: Setting) -> Candidate | Impossible:
        """What it would cost, in the largest form that fits the budget or else in its smallest; nothing is
        allocated."""

    @property
    @abstractmethod
    def samples(self) -> int:
        """Samples so far."""

    @abstractmethod
    def update(self, x_ND: torch.Tensor) -> None:
        """Add a batch (n, D): any float dtype, on the accumulator's device, its features in one order."""

    @abstractmethod
    def end_pass(self, progress: Callable[[float], None] | None = None) -> None:
        """Take in what is still staged, and check that everything in this pass was finite; ``progress`` is
        called with the share of the work that is done.

        Raises:
            ActivationError: NaN or Inf came, or not what the first pass brought.
            Overflow: rounding overflowed, or a sum.
            Unfit: as it says, on all ranks; never where it was offered in a setting that is ``exact``.
        """

    def satisfied(self, options: Options) -> bool:
        """Whether another pass would be for nothing, though one was planned."""
        return False

    @abstractmethod
    def spectrum(self, options: Options, progress: Callable[[float], None] | None = None) -> Spectrum:
        """What is known of the eigenvalues; ``progress`` is called with the share of the work that is done.

        Raises:
            DataError: fewer than two samples were seen.
        """

    @abstractmethod
    def state(self) -> dict[str, Part]:
        """All that the accumulator knows; of several ranks each has a state, as
        :mod:`streamspread.system.tensors` says, and all ask for it at the same place."""

    @abstractmethod
    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state; what is given is copied."""

    def merge(self, other: Self) -> None:
        """Add another state over other samples of the same layer; ``other`` is used up.

        Raises:
            OptionError: states that cannot be added.
        """
        self.check_alike(other)
        if not other.samples:
            return
        if not self.samples:
            self.load_state({name: part.tensor for name, part in other.state().items()})
            return
        self.align(other)
        mine, theirs = self.state(), other.state()
        self.load_state({name: _combined(part, theirs[name].tensor) for name, part in mine.items()})

    def check_alike(self, other: Self) -> None:
        """Raise OptionError unless the other state is of the same layer and sizes."""
        if self.sizes() != other.sizes():
            raise OptionError(f"only states of one layer merge: {self.sizes()}, got {other.sizes()}")

    @abstractmethod
    def sizes(self) -> str:
        """What two states that merge have alike, in words."""

    def align(self, other: Self) -> None:
        """Bring both states to the same units, with nothing staged, before their parts are combined."""
        return None

    def advice(self, spectrum: Spectrum, options: Options) -> str | None:
        """What would close the intervals that are left open; None where there is nothing to say."""
        return None


#: The accumulators by name: the option ``method`` takes these names, and so it holds the registry.
ACCUMULATORS: Registry[type[Accumulator]] = METHODS


def _combined(part: Part, other: torch.Tensor) -> torch.Tensor:
    """Both as one, in the memory of the first."""
    mine = part.tensor
    match part.combine:
        case Combine.SUM:
            return mine.add_(other)
        case Combine.MIN:
            return torch.minimum(mine, other, out=mine)
        case Combine.MAX:
            return torch.maximum(mine, other, out=mine)
        case Combine.SAME:
            return mine
    raise OptionError("these states do not combine number by number")
