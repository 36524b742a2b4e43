"""What a plan is: how each layer is done, which layers share a pass, and all of them; frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamspread.accumulators.base import Candidate, LayerShape
from streamspread.results.base import Shown
from streamspread.system.memory import format_bytes

if TYPE_CHECKING:
    from streamspread.planner.outlook import Outlook


@dataclass(frozen=True)
class LayerPlan:
    """How one layer is analysed.

    Attributes:
        of: the layer. ``candidate``: the way that was chosen, with what it costs.
        samples: N, or None where only a pass can tell. ``rounding``: fp16, bf16, fp32, fp64 or int16.
        pass_indices: the passes (from 0) in which it takes part.
        rejected: the other methods, each with its reason.
    """

    of: LayerShape
    candidate: Candidate
    samples: int | None
    rounding: str
    pass_indices: tuple[int, ...]
    rejected: tuple[str, ...] = ()

    @property
    def layer(self) -> str:
        """The layer's name."""
        return self.of.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of.shape

    @property
    def dim(self) -> int:
        return self.of.dim

    @property
    def directions(self) -> int:
        """How many there can be, however many samples come: D, or the dimension of a smaller activation."""
        return min(self.dim, self.of.source_dim or self.dim)

    @property
    def ceiling(self) -> int:
        """What no K can exceed: ``directions``, or N − 1 where that is less."""
        return self.directions if self.samples is None else min(self.directions, self.samples - 1)

    @property
    def method(self) -> str:
        return self.candidate.method

    @property
    def summed_dim(self) -> int | None:
        """Numbers of a row that is summed, where these are those of the layer's narrow side."""
        return self.candidate.summed_dim

    @property
    def sizes(self) -> Mapping[str, Any]:
        """The sizes that the method chose, by name."""
        return self.candidate.make.keywords

    @property
    def passes(self) -> int:
        return len(self.pass_indices)

    @property
    def usual_indices(self) -> tuple[int, ...]:
        """The passes that it takes as a rule."""
        return self.pass_indices[: self.candidate.usual_passes]

    @property
    def state_bytes(self) -> int:
        return self.candidate.state_bytes

    @property
    def finish_bytes(self) -> int:
        return self.candidate.finish_bytes

    @property
    def operations(self) -> float:
        return self.candidate.operations

    @property
    def why(self) -> str:
        """The choice in a sentence."""
        return self.candidate.why

    @property
    def bytes(self) -> int:
        """Peak bytes of this layer alone."""
        return self.state_bytes + self.finish_bytes


@dataclass(frozen=True)
class PassPlan:
    """One run of the data through the network: its layers, the deepest of them, and its peak bytes."""

    index: int
    layers: tuple[str, ...]
    deepest: str
    bytes: int


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """What would run: layers in network order, passes in order, and the most bytes in use at once; how long
    it will take, where that was asked for; ``rounding``: that was planned with; ``ranks``: how many processes
    share it; ``called``: what samples are, in a word."""

    layers: tuple[LayerPlan, ...]
    passes: tuple[PassPlan, ...]
    device: str
    budget: int
    batch_size: int
    samples: int | None
    rounding: str = ""
    ranks: int = 1
    outlook: Outlook | None = None
    called: str = "samples"

    printer = "print_plan"

    def __repr__(self) -> str:
        peak, budget = format_bytes(self.peak_bytes), format_bytes(self.budget)
        return f"Plan(layers: {len(self.layers)}, passes: {len(self.passes)}, peak {peak} of {budget})"

    @property
    def sent_bytes(self) -> float:
        """That each process is sent by the others."""
        return sum(row.candidate.travels.to_each(self.ranks) for row in self.layers)

    @property
    def peak_bytes(self) -> int:
        return max(p.bytes for p in self.passes)
