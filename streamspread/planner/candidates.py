"""Every way to do one layer: what each method would need, in bytes and operations, within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from streamspread.accumulators.covariance import Covariance
from streamspread.accumulators.finish import default_max_block
from streamspread.accumulators.gram import Gram
from streamspread.accumulators.sketch import Sketch, rows_to_stage
from streamspread.errors import OptionError
from streamspread.linalg.eigenvalues import FULL_LIMIT
from streamspread.planner.plans import LayerPlan, LayerShape
from streamspread.system.memory import format_bytes

# Samples staged before a rank update, and rows of a panel. Every update reads and writes the whole triangle,
# so many samples are staged first; wider panels make larger products but waste half of each diagonal block.
_STAGING_ROWS = {"cpu": 1024, "cuda": 16384}
_PANEL_ROWS = {"cpu": 1024, "cuda": 2048}
# A gram tile holds N × tile features. A tile of this size keeps the products efficient; with a larger one
# memory would grow with N·D, which is what this program exists to avoid.
_TILE_BYTES = {"cpu": 1 << 30, "cuda": 4 << 30}
_LEAST_TILE = 64
_LEAST_STAGING = 128
_ALIGN = 64  # columns: keeps tiles aligned for wide loads

# The search for leading eigenvalues needs memory for the vectors of its largest block: halved until it fits.
_LEAST_BLOCK = 256

# Directions that a sketch keeps at the most where no number is asked for: the first that fits into its share
# of the budget.
_RANKS = (1024, 768, 512, 384, 256, 192, 128, 96, 64)
_LEAST_SKETCH_STAGING = 16
SKETCH_SHARE = 4  # layers that should fit into the budget together: else every layer takes passes of its own

# Rates relative to matrix products, measured: LAPACK's symmetric eigenvalues run at a quarter of the
# product's rate on two CPU cores (N = 5,000: 3.9 s against 0.6 s for as many operations).
_DENSE_SOLVE_FACTOR = 4.0
# All eigenvalues in place take so many times as long on two CPU cores as products of 4/3 n³ operations
# (n = 16,384: 66 s against 35 s).
_BAND_FACTOR = 2.0
# On an H100, 16-bit rank updates run at 620 TFLOP/s, a forward in float32 without TF32 at 28, and the
# float32 products of a search for eigenvalues and its proof at 43.
_FORWARD_FACTOR = {"cpu": 1.0, "cuda": 20.0}
_FLOAT32_FACTOR = {"cpu": 1.0, "cuda": 15.0}
# A sketch's products are made in float64: at half the rate of float32 on a CPU, at a twelfth of that of 16
# bits on an H100.
_FLOAT64_FACTOR = {"cpu": 2.0, "cuda": 12.0}


@dataclass(frozen=True)
class Setting:
    """What is the same for all layers. ``same_again``: whether the data repeats in the same order; ``share``:
    layers that should fit into the budget together."""

    samples: int | None
    budget: int
    device: torch.device
    rounding: str
    forward_bytes: int
    same_again: bool
    rank: int | str
    max_passes: int
    share: int
    proof: bool
    all_eigenvalues: bool
    resident_bytes: int = 0

    def peak(self, plans: Sequence[LayerPlan]) -> int:
        """Peak bytes of a pass with these layers: the data that stays and all states at once, and with them
        either the network's forward or, after the pass, one eigenvalue step after the other."""
        states = sum(plan.state_bytes for plan in plans)
        return self.resident_bytes + states + max(self.forward_bytes, *(plan.finish_bytes for plan in plans))

    @property
    def room(self) -> int:
        """Bytes of the budget beside the data that stays."""
        return self.budget - self.resident_bytes


def candidates(layer: LayerShape, setting: Setting, method: str) -> tuple[list[LayerPlan], list[str]]:
    """The methods that can do the layer, each in the largest form that fits the budget or else in its
    smallest; and the others, each with its reason.

    Raises:
        OptionError: the method asked for cannot do the layer whatever the budget.
    """
    plans: list[LayerPlan] = []
    impossible: list[str] = []
    plans.append(_covariance(layer, setting))
    if setting.samples is None:
        impossible.append("gram: the number of samples is not known before the pass")
    else:
        plans.append(_gram(layer, setting, setting.samples))
    if setting.all_eigenvalues:
        impossible.append("sketch: it finds the leading eigenvalues only, and all were asked for")
    else:
        plans.append(_sketch(layer, setting))
    asked = [plan for plan in plans if method in ("auto", plan.method)]
    if not asked:
        reason = next(reason for reason in impossible if reason.startswith(method))
        data = "give data that tells it, as a tensor, Dataset or DataLoader does, or " * (method == "gram")
        raise OptionError(f"layer {layer.name}: {reason}; {data}choose another method")
    impossible += [f"{plan.method}: {method} was asked for" for plan in plans if plan not in asked]
    return asked, impossible


def _covariance(layer: LayerShape, setting: Setting) -> LayerPlan:
    device = setting.device
    panel_rows = _PANEL_ROWS[device.type]
    staging_rows = min(_STAGING_ROWS[device.type], setting.samples or _STAGING_ROWS[device.type])

    max_block = default_max_block(layer.dim, device)

    def need() -> tuple[int, int]:
        return Covariance.nbytes(
            layer.dim,
            rounding=setting.rounding,
            device=device,
            staging_rows=staging_rows,
            panel_rows=panel_rows,
            max_block=max_block,
            all_eigenvalues=setting.all_eigenvalues,
            proof=setting.proof,
        )

    def too_large() -> bool:
        state, finish = need()
        return state + max(finish, setting.forward_bytes) > setting.room

    while max_block > _LEAST_BLOCK and too_large():
        max_block //= 2
    while staging_rows > _LEAST_STAGING and too_large():
        staging_rows //= 2
    state, finish = need()
    n = setting.samples or 50_000
    return LayerPlan(
        layer=layer.name,
        shape=layer.shape,
        dim=layer.dim,
        samples=setting.samples,
        method="covariance",
        rounding=setting.rounding,
        pass_indices=(0,),
        tile=layer.dim,
        staging_rows=staging_rows,
        panel_rows=panel_rows,
        max_block=max_block,
        state_bytes=state,
        finish_bytes=finish,
        operations=n * float(layer.dim) ** 2 + _solve_operations(layer.dim, max_block, setting),
        why=f"the triangle of {layer.dim:,}² and its staging take {format_bytes(state)}, in one pass",
        rejected=(),
    )


def _gram(layer: LayerShape, setting: Setting, samples: int) -> LayerPlan:
    device = setting.device
    panel_rows = _PANEL_ROWS[device.type]

    max_block = default_max_block(samples, device)

    def need(tile: int) -> tuple[int, int]:
        return Gram.nbytes(
            layer.dim,
            samples,
            tile=tile,
            rounding=setting.rounding,
            device=device,
            panel_rows=panel_rows,
            max_block=max_block,
            all_eigenvalues=setting.all_eigenvalues,
            proof=setting.proof,
        )

    least = min(_LEAST_TILE, layer.dim)
    while max_block > _LEAST_BLOCK and sum(need(least)) > setting.room:
        max_block //= 2
    tile = layer.dim
    if setting.same_again:
        per_feature = need(least)[0] - need(least - 1)[0] if least > 1 else need(1)[0]
        room = setting.room - setting.forward_bytes - (need(least)[0] - per_feature * least)
        most = min(room, _TILE_BYTES[device.type]) // per_feature
        passes = -(-layer.dim // max(least, most))
        if passes > 1:
            tile = -(-layer.dim // passes // _ALIGN) * _ALIGN
            # Rounded up to the alignment it may be too large, rounded down it may be none.
            tile = min(tile, max(least, most // _ALIGN * _ALIGN))
    passes = Gram.passes(layer.dim, tile)
    state, finish = need(tile)
    operations = float(samples) ** 2 * layer.dim + _solve_operations(samples, max_block, setting)
    operations += _FORWARD_FACTOR[device.type] * (passes - 1) * layer.operations * samples
    return LayerPlan(
        layer=layer.name,
        shape=layer.shape,
        dim=layer.dim,
        samples=samples,
        method="gram",
        rounding=setting.rounding,
        pass_indices=tuple(range(passes)),
        tile=tile,
        staging_rows=samples,
        panel_rows=panel_rows,
        max_block=max_block,
        state_bytes=state,
        finish_bytes=finish,
        operations=operations,
        why=f"inner products of {samples:,} samples from "
        f"{passes} tile{'s' * (passes > 1)} of {tile:,} features",
        rejected=(),
    )


def _sketch(layer: LayerShape, setting: Setting) -> LayerPlan:
    device, samples = setting.device, setting.samples
    limit = layer.dim if samples is None else max(1, min(layer.dim, samples - 1))
    adaptive = not isinstance(setting.rank, int)
    ranks = [min(limit, rank) for rank in (_RANKS if adaptive else (int(setting.rank),))]
    rank = staging = 0

    def need() -> tuple[int, int]:
        return Sketch.nbytes(
            layer.dim,
            rank=rank,
            rounding=setting.rounding,
            device=device,
            staging_rows=staging,
            max_passes=setting.max_passes,
        )

    def too_large(share: int) -> bool:
        state, finish = need()
        return state * share + max(finish, setting.forward_bytes) > setting.room

    for rank in ranks:
        staging = rows_to_stage(layer.dim, rank, device)
        staging = staging if samples is None else min(staging, samples)
        if not too_large(setting.share):
            break
    while staging > _LEAST_SKETCH_STAGING and too_large(1):
        staging //= 2
    state, finish = need()
    n = float(samples or 50_000)
    again = min(1, setting.max_passes - 1)  # a third pass is seldom needed
    # A buffer of r + r rows takes 8r·D operations a sample, a later pass over r directions 4r·D.
    products = (8.0 + 4.0 * again) * rank * layer.dim * n
    rate = 1.0 if setting.rounding == "fp64" else _FLOAT64_FACTOR[device.type]
    solves = n / rank * _DENSE_SOLVE_FACTOR * 4 * (2.0 * rank) ** 3
    forwards = _FORWARD_FACTOR[device.type] * again * layer.operations * n
    passes = f"{setting.max_passes} passes" if setting.max_passes > 1 else "one pass"
    return LayerPlan(
        layer=layer.name,
        shape=layer.shape,
        dim=layer.dim,
        samples=samples,
        method="sketch",
        rounding=setting.rounding,
        pass_indices=tuple(range(setting.max_passes)),
        tile=layer.dim,
        staging_rows=staging,
        panel_rows=0,
        max_block=0,
        state_bytes=state,
        finish_bytes=finish,
        operations=rate * products + solves + forwards,
        why=f"at most {rank:,} directions of {layer.dim:,}, in at most {passes}: a proved interval",
        rejected=(),
        rank=rank,
        adaptive=adaptive,
    )


def _solve_operations(n: int, max_block: int, setting: Setting) -> float:
    """Estimated operations of the eigenvalue step, as equivalents of matrix products."""
    kind = setting.device.type
    if n <= FULL_LIMIT[kind]:
        return _DENSE_SOLVE_FACTOR * 4 / 3 * float(n) ** 3
    # A block that memory keeps small often holds less than K, and then all eigenvalues are the proof.
    small = max_block <= _LEAST_BLOCK and max_block < default_max_block(n, setting.device)
    if setting.all_eigenvalues or (setting.proof and small):
        return _FLOAT32_FACTOR[kind] * _BAND_FACTOR * 4 / 3 * float(n) ** 3
    return _FLOAT32_FACTOR[kind] * (6 * 2.0 * 512 * float(n) ** 2 + setting.proof * float(n) ** 3 / 3)
