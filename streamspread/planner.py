"""Shapes and a budget in, a plan out: which method for which layer, in which pass, in how many bytes, and why. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from streamspread.accumulators.covariance import Covariance
from streamspread.accumulators.gram import Gram
from streamspread.errors import BudgetError, DataError, OptionError
from streamspread.linalg.eigenvalues import FULL_LIMIT
from streamspread.memory import format_bytes

METHODS = ("auto", "covariance", "gram")
ROUNDINGS = ("auto", "fp16", "bf16", "fp32", "fp64")

# Samples staged before a rank update, and rows of a panel. Every update reads and writes the whole triangle, so many
# samples are staged first; wider panels make larger products but waste half of each diagonal block.
_STAGING_ROWS = {"cpu": 1024, "cuda": 8192}
_PANEL_ROWS = {"cpu": 512, "cuda": 2048}
# A gram tile holds N × tile features. A tile of this size keeps the products efficient; with a larger one memory
# would grow with N·D, which is what this program exists to avoid.
_TILE_BYTES = {"cpu": 1 << 30, "cuda": 4 << 30}
_LEAST_TILE = 64
_ALIGN = 64  # columns: keeps tiles aligned for wide loads

# Rates relative to matrix products, measured: LAPACK's symmetric eigenvalues run at a quarter of the product's rate
# on two CPU cores (N = 5,000: 3.9 s against 0.6 s for as many operations).
_DENSE_SOLVE_FACTOR = 4.0


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
        staging_rows, panel_rows: sizes of the accumulator.
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
    state_bytes: int
    finish_bytes: int
    operations: float
    why: str
    rejected: tuple[str, ...]

    @property
    def passes(self) -> int:
        return len(self.pass_indices)

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
    """What would run: layers in network order, passes in order, and the most bytes that will be in use at once."""

    layers: tuple[LayerPlan, ...]
    passes: tuple[PassPlan, ...]
    device: str
    budget: int
    batch_size: int
    samples: int | None

    @property
    def peak_bytes(self) -> int:
        return max(p.bytes for p in self.passes)


def make_plan(
    layers: Sequence[LayerShape],
    samples: int | None,
    *,
    budget: int,
    device: torch.device,
    rounding: str,
    method: str = "auto",
    batch_size: int = 256,
    forward_bytes: int = 0,
    repeatable: bool = True,
    ordered: bool = True,
) -> Plan:
    """Choose a method and passes for every layer so that no pass needs more than the budget.

    Args:
        layers: in network order.
        samples: N, or None where only a pass over the data can tell: then only one-pass methods can be had.
        budget: bytes on the device.
        rounding: fp16, bf16, fp32 or fp64.
        method: auto, or one method for all layers.
        forward_bytes: what the network itself needs for a batch.
        repeatable: whether the data can be read more than once; ``ordered``: whether in the same order each time.

    Raises:
        BudgetError: a layer fits by no method; the message names the smallest budget that would do.
        OptionError: an unknown method or rounding.
        DataError: the layers need several passes together, and the data can be read once.
    """
    if method not in METHODS:
        raise OptionError(f"method {method!r} is unknown: choose from {', '.join(METHODS)}")
    if rounding not in ROUNDINGS:
        raise OptionError(f"rounding {rounding!r} is unknown: choose from {', '.join(ROUNDINGS)}")
    room = budget - forward_bytes
    chosen = [
        _choose(layer, samples, room, budget, device, rounding, method, repeatable and ordered) for layer in layers
    ]
    plan = _pack(chosen, layers, samples, budget, device, batch_size, forward_bytes)
    if len(plan.passes) > 1 and not repeatable:
        raise DataError(
            f"{len(plan.passes)} passes are needed and the data is a one-shot iterator: give a callable that "
            "returns a fresh iterator, ask for fewer layers, or raise --memory"
        )
    return plan


def _choose(
    layer: LayerShape,
    samples: int | None,
    room: int,
    budget: int,
    device: torch.device,
    rounding: str,
    method: str,
    same_again: bool,
) -> LayerPlan:
    candidates = [_covariance(layer, samples, room, device, rounding)]
    rejected: list[str] = []
    if samples is None:
        rejected.append("gram: the number of samples is not known before the pass")
    else:
        candidates.append(_gram(layer, samples, room, device, rounding))
    fitting = []
    for plan in candidates:
        if method not in ("auto", plan.method):
            rejected.append(f"{plan.method}: {method} was asked for")
        elif plan.bytes > room:
            rejected.append(f"{plan.method}: needs {format_bytes(plan.bytes + budget - room)}")
        elif not same_again and plan.tile < plan.dim:
            rejected.append(f"{plan.method}: needs {plan.passes} passes over the same samples in the same order")
        else:
            fitting.append(plan)
    if not fitting:
        asked = [p for p in candidates if method in ("auto", p.method)]
        if not asked:
            raise OptionError(
                f"layer {layer.name}: {rejected[0]}; give the data as a tensor, Dataset or DataLoader, or name N"
            )
        least = min(p.bytes for p in asked) + budget - room
        raise BudgetError(
            f"layer {layer.name} (D = {layer.dim:,}, N = {samples or 'unknown'}) fits by no method into "
            f"{format_bytes(budget)}: the smallest budget that would do is {format_bytes(math.ceil(least * 1.01))} "
            f"({'; '.join(rejected)})"
        )
    best = min(fitting, key=lambda p: p.operations)
    rejected += [f"{p.method}: {p.operations / best.operations:.1f}× the work" for p in fitting if p is not best]
    return replace(best, rejected=tuple(rejected))


def _covariance(
    layer: LayerShape, samples: int | None, room: int, device: torch.device, rounding: str
) -> LayerPlan:
    panel_rows = _PANEL_ROWS[device.type]
    staging_rows = min(_STAGING_ROWS[device.type], samples or _STAGING_ROWS[device.type])

    def need(rows: int) -> tuple[int, int]:
        return Covariance.nbytes(
            layer.dim, rounding=rounding, device=device, staging_rows=rows, panel_rows=panel_rows
        )

    while staging_rows > 128 and sum(need(staging_rows)) > room:
        staging_rows //= 2
    state, finish = need(staging_rows)
    n = samples or 50_000
    return LayerPlan(
        layer=layer.name,
        shape=layer.shape,
        dim=layer.dim,
        samples=samples,
        method="covariance",
        rounding=rounding,
        pass_indices=(0,),
        tile=layer.dim,
        staging_rows=staging_rows,
        panel_rows=panel_rows,
        state_bytes=state,
        finish_bytes=finish,
        operations=n * float(layer.dim) ** 2 + _solve_operations(layer.dim, device),
        why=f"the triangle of {layer.dim:,}² takes {format_bytes(state)}, in one pass",
        rejected=(),
    )


def _gram(
    layer: LayerShape, samples: int, room: int, device: torch.device, rounding: str
) -> LayerPlan:
    panel_rows = _PANEL_ROWS[device.type]

    def need(tile: int) -> tuple[int, int]:
        return Gram.nbytes(
            layer.dim, samples, tile=tile, rounding=rounding, device=device, panel_rows=panel_rows
        )

    least = min(_LEAST_TILE, layer.dim)
    per_column = max(1, need(2 * least)[0] - need(least)[0]) / least if layer.dim >= 2 * least else samples * 8
    fixed = sum(need(least)) - per_column * least
    most = int(min(room - fixed, _TILE_BYTES[device.type]) / per_column)
    passes = -(-layer.dim // max(least, most))
    tile = min(layer.dim, -(-layer.dim // passes // _ALIGN) * _ALIGN) if passes > 1 else layer.dim
    passes = -(-layer.dim // tile)
    state, finish = need(tile)
    operations = float(samples) ** 2 * layer.dim + _solve_operations(samples, device)
    operations += (passes - 1) * layer.operations * samples
    return LayerPlan(
        layer=layer.name,
        shape=layer.shape,
        dim=layer.dim,
        samples=samples,
        method="gram",
        rounding=rounding,
        pass_indices=tuple(range(passes)),
        tile=tile,
        staging_rows=samples,
        panel_rows=panel_rows,
        state_bytes=state,
        finish_bytes=finish,
        operations=operations,
        why=f"inner products of {samples:,} samples from {passes} tile{'s' * (passes > 1)} of {tile:,} features",
        rejected=(),
    )


def _solve_operations(n: int, device: torch.device) -> float:
    """Estimated operations of the eigenvalue step, as equivalents of matrix products."""
    if n <= FULL_LIMIT[device.type]:
        return _DENSE_SOLVE_FACTOR * 4 / 3 * float(n) ** 3
    return 6 * 2.0 * 512 * float(n) ** 2 + float(n) ** 3 / 3


def _pack(
    chosen: Sequence[LayerPlan],
    layers: Sequence[LayerShape],
    samples: int | None,
    budget: int,
    device: torch.device,
    batch_size: int,
    forward_bytes: int,
) -> Plan:
    """Put each layer into the earliest passes that have room, in network order, so that shallow layers share the
    shallow passes and a pass is cut off as early as its layers allow."""
    members: list[list[LayerPlan]] = []

    def fits(index: int, plan: LayerPlan) -> bool:
        return index >= len(members) or _pass_bytes([*members[index], plan]) + forward_bytes <= budget

    placed = []
    for plan in chosen:
        start = 0
        while not all(fits(start + k, plan) for k in range(plan.passes)):
            start += 1
        indices = tuple(range(start, start + plan.passes))
        placed.append(replace(plan, pass_indices=indices))
        for index in indices:
            if index == len(members):
                members.append([])
            members[index].append(plan)
    order = {layer.name: position for position, layer in enumerate(layers)}
    passes = tuple(
        PassPlan(
            index=index,
            layers=tuple(p.layer for p in group),
            deepest=max((p.layer for p in group), key=order.__getitem__),
            bytes=_pass_bytes(group) + forward_bytes,
        )
        for index, group in enumerate(members)
    )
    return Plan(tuple(placed), passes, str(device), budget, batch_size, samples)


def _pass_bytes(group: Sequence[LayerPlan]) -> int:
    """All states at once, and one eigenvalue step after the other."""
    return sum(p.state_bytes for p in group) + max(p.finish_bytes for p in group)
