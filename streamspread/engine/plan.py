"""What a plan is: how each layer is done and which share a pass; and how long it takes on a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from streamspread.accumulators.base import Candidate, LayerShape
from streamspread.accumulators.costs import Wire
from streamspread.results.base import Shown
from streamspread.system.devices import Profile
from streamspread.system.memory import format_bytes


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


_STAGED = 250.0  # operations' worth of time for each number that is staged, on two cores of an AMD EPYC
# An exact update of order n takes as long as one of n + 400 that has no diagonal: blocks lie across that, and
# small ones are slower (n = 1,000 … 10,000: 1.5 … 1.0 times as long as without).
_EDGE = 400


@dataclass(frozen=True)
class Pace:
    """What a machine was measured to do.

    Attributes:
        products: operations a second, of products at the device's usual precision.
        forward: seconds that a sample takes through the whole network, in a batch of others.
        operations: that the network takes for a sample.
        exact: how many times as fast as these products exact rank updates are, where a plan has such.
        wire: between the ranks that share the analysis; None where there is one.
    """

    products: float
    forward: float
    operations: float
    exact: float | None = None
    wire: Wire | None = None


@dataclass(frozen=True)
class Outlook:
    """The seconds that a plan will take, as far as the pace tells.

    Attributes:
        layers: of each layer's own sums and eigenvalues, with what travels for it. ``forwards``: of all
            passes through the network.
        samples: N.
        wire: what travels between processes, of each layer; of one process nothing does.
        outweighed: the layers for which more time goes by on the wire than is taken by the sums.
    """

    layers: Mapping[str, float]
    forwards: float
    samples: int
    wire: Mapping[str, float] = field(default_factory=dict)
    outweighed: tuple[str, ...] = ()

    @property
    def waits(self) -> float:
        """Seconds on the wire, in all."""
        return sum(self.wire.values())

    @property
    def seconds(self) -> float:
        """In all."""
        return self.forwards + sum(self.layers.values())


def outlook(plan: Plan, pace: Pace, profile: Profile) -> Outlook | None:
    """What the plan will take; None where the number of samples is not known."""
    samples = plan.samples
    if samples is None:
        return None
    rows = {row.layer: row for row in plan.layers}
    through = (reach / (pace.operations or 1.0) for reach in _reaches(plan))
    own = {row.layer: _told(row, plan, pace, profile) / pace.products for row in plan.layers}
    between = pace.wire
    wire = {n: one.candidate.travels.seconds(between) for n, one in rows.items()} if between else {}
    sums = {n: own[n] - profile.search_cost * rows[n].candidate.step / pace.products for n in wire}
    return Outlook(
        layers={name: seconds + wire.get(name, 0.0) for name, seconds in own.items()},
        forwards=samples * pace.forward * sum(min(1.0, part) for part in through) / plan.ranks,
        samples=samples,
        wire=wire,
        outweighed=tuple(name for name, seconds in wire.items() if seconds > sums[name]),
    )


def work(plan: Plan, profile: Profile) -> float:
    """Operations of a plan, as equivalents of products at the device's usual precision: of sums, eigenvalues
    and every pass through the network, which the layers in it share."""
    samples = plan.samples or 1
    own = sum(_own(row, plan, profile) for row in plan.layers)
    return own + profile.forward_cost * samples * sum(_reaches(plan)) / plan.ranks


class PassWork(NamedTuple):
    """The work of a pass, in the order in which it is done.

    streamed: while data stream. ``products``, ``steps``: by layer, of inner products after that, and of the
    eigenvalue steps of those that end with it.
    """

    streamed: float
    products: dict[str, float]
    steps: dict[str, float]

    @property
    def all(self) -> float:
        return self.streamed + sum(self.products.values()) + sum(self.steps.values())


def parts(plan: Plan, profile: Profile) -> list[PassWork]:
    """The work of each pass of a plan, as :func:`work` counts it."""
    samples = plan.samples or 1
    rows = {row.layer: row for row in plan.layers}
    steps = {name: profile.search_cost * row.candidate.step for name, row in rows.items()}
    sums = {name: max(0.0, _own(row, plan, profile) - steps[name]) for name, row in rows.items()}
    found = []
    for step, reach in zip(plan.passes, _reaches(plan), strict=True):
        there = [name for name in step.layers if step.index in rows[name].usual_indices]
        own = {layer: sums[layer] / len(rows[layer].usual_indices) for layer in there}
        after = {layer: own.pop(layer) for layer in there if rows[layer].candidate.sums_after}
        ending = [layer for layer in there if rows[layer].usual_indices[-1] == step.index]
        streamed = profile.forward_cost * samples * reach / plan.ranks + sum(own.values())
        found.append(PassWork(streamed, after, {layer: steps[layer] for layer in ending}))
    return found


def _told(row: LayerPlan, plan: Plan, pace: Pace, profile: Profile) -> float:
    """As :func:`_own`, with exact sums as long as they take, not as was assumed to choose."""
    own = _own(row, plan, profile)
    if row.rounding != "int16":
        return own
    speed = pace.exact or 1.0 / profile.int16_cost
    sums = max(
        0.0, row.operations - _again(row, plan, profile) - row.candidate.step - row.candidate.making_rows
    )
    order = row.candidate.order
    edge = 1.0 + _EDGE / max(_EDGE, order) if order else 1.0
    return own + sums * (edge / (profile.int16_cost * speed) - 1.0)


def _again(row: LayerPlan, plan: Plan, profile: Profile) -> float:
    """Operations of the forwards that a layer's further passes take, of those that are usual."""
    return (
        profile.forward_cost
        * (len(row.usual_indices) - 1)
        * row.of.operations
        * (plan.samples or 1)
        / plan.ranks
    )


def _reaches(plan: Plan) -> list[float]:
    """Of each pass, the operations of the forward up to the deepest layer that takes it as a rule."""
    return [
        max((_reach(row) for row in plan.layers if step.index in row.usual_indices), default=0.0)
        for step in plan.passes
    ]


def _reach(row: LayerPlan) -> float:
    """Operations of the forward up to where the layer is watched."""
    narrow = row.of.narrow if row.summed_dim is not None else None
    return row.of.operations - (narrow.operations if narrow is not None else 0.0)


def _own(row: LayerPlan, plan: Plan, profile: Profile) -> float:
    """Operations of a layer's sums and eigenvalues: without those of the forwards that its passes take, and
    with what staging takes."""
    samples, dim = plan.samples or 1, row.summed_dim or row.dim
    longer = (profile.search_cost - 1.0) * row.candidate.step
    columns = dim / plan.ranks if row.candidate.travels.columns else dim  # that are staged here
    return (
        max(0.0, row.operations - _again(row, plan, profile))
        + longer
        + _STAGED * samples * row.of.places * columns
    )
