"""What a plan is: a layer's method, a pass's layers, and all of them; frozen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerShape:
    """What the planner knows of a layer: name, one sample's shape, D, operations of the forward up to it."""

    name: str
    shape: tuple[int, ...]
    dim: int
    operations: float


@dataclass(frozen=True)
class LayerPlan:
    """How one layer is analysed.

    Attributes:
        pass_indices: the passes (from 0) in which it takes part.
        tile: features a pass takes (gram), or D.
        staging_rows, panel_rows: sizes of the accumulator. max_block: of the search for leading eigenvalues.
        rank: directions that a sketch keeps at the most; ``adaptive``: fewer where the thresholds need fewer.
        state_bytes: while data streams; ``finish_bytes``: in addition, in the eigenvalue step.
        operations: estimated, of sums and eigenvalues and of the forwards that only this layer needs.
        why: the choice in a sentence. ``rejected``: the other methods, each with its reason.
    """

    layer: str
    shape: tuple[int, ...]
    dim: int
    samples: int | None
    method: str
    rounding: str
    pass_indices: tuple[int, ...]
    tile: int
    staging_rows: int
    panel_rows: int
    max_block: int
    state_bytes: int
    finish_bytes: int
    operations: float
    why: str
    rejected: tuple[str, ...]
    rank: int = 0
    adaptive: bool = False

    @property
    def passes(self) -> int:
        return len(self.pass_indices)

    @property
    def order(self) -> int:
        """Of the matrix whose eigenvalues are found; 0 for a sketch, which has none."""
        if self.method == "sketch":
            return 0
        return (self.samples or 0) if self.method == "gram" else self.dim

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


@dataclass(frozen=True)
class Plan:
    """What would run: layers in network order, passes in order, and the most bytes in use at once."""

    layers: tuple[LayerPlan, ...]
    passes: tuple[PassPlan, ...]
    device: str
    budget: int
    batch_size: int
    samples: int | None

    @property
    def peak_bytes(self) -> int:
        return max(p.bytes for p in self.passes)
