"""How wide the tiles of a gram are, and what its inner products cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from streamspread.accumulators.base import Impossible, Setting
from streamspread.accumulators.classes import ClassSums
from streamspread.accumulators.costs import LayerShape, Travels
from streamspread.accumulators.directions import Turning
from streamspread.accumulators.spectrum import (
    LEAST_BLOCK,
    largest_block,
    step_bytes,
    step_operations,
    step_travels,
)
from streamspread.accumulators.staging import Staging
from streamspread.kernels import formats
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.probes import CALIBRATION, PROBES, Probes

_LEAST_TILE = 64
_ALIGN = 64  # columns: keeps tiles aligned for wide loads


class TilePlan(NamedTuple):
    """The tiles of a gram, and what they cost, as :class:`streamspread.accumulators.base.Candidate` has it.

    tile: features of one. ``passes``: over the data, with that for directions, where these are wanted.
    ``max_block``: vectors of the largest search. ``solve_operations``: those of the eigenvalue step.
    """

    samples: int
    tile: int
    passes: int
    max_block: int
    state_bytes: int
    finish_bytes: int
    operations: float
    solve_operations: float
    travels: Travels
    why: str


def plan_tiles(layer: LayerShape, setting: Setting) -> TilePlan | Impossible:
    """The widest tiles that fit. Of several ranks each has tiles of its own shard of the features, and all
    panels until these are added up."""
    if setting.samples is None:
        return Impossible(
            "the number of samples is not known before the pass",
            "give data that tells it, as a tensor, Dataset or DataLoader does, or ",
        )
    dim, samples, constants = layer.dim, setting.samples, setting.profile
    share = -(-dim // setting.shares)  # of each rank
    count = min(setting.directions, dim, samples - 1)
    if count > 0 and not setting.same_again:
        return Impossible(
            "its directions take one more pass, and the data can be read once",
            "give data that can be read again, or ",
        )
    max_block = largest_block(samples, constants)
    panels = SymmetricPanels.nbytes(
        samples, constants.panel_rows, formats.SUM_DTYPES[setting.rounding]
    ) + Probes.nbytes(samples)
    turning = Turning.nbytes(samples, dim, count, setting.batch_size) if count > 0 else 0

    @cache
    def need(tile: int, max_block: int) -> tuple[int, int]:
        staging = _staging_bytes(samples, min(tile, share), share, setting)
        step = step_bytes(samples, constants.panel_rows, 2 * max(1, setting.classes), max_block, setting)
        # The tile is freed when the step begins.
        return panels + staging + turning, max(0, step - staging)

    least = min(_LEAST_TILE, share)
    while max_block > LEAST_BLOCK and sum(need(least, max_block)) > setting.room:
        max_block //= 2
    # The eigenvalue step takes its memory after the last tile, which may have as much.
    largest = max(constants.tile_bytes, need(least, max_block)[1])
    tile = (
        _tile(share, lambda tile: need(tile, max_block)[0], largest, setting) if setting.same_again else share
    )
    passes, more = -(-share // min(tile, share)), int(count > 0)
    state, step = need(tile, max_block)
    last = step_operations(samples, max_block, setting)
    operations = setting.sum_cost * float(samples) ** 2 * share + last
    operations += constants.float64_cost * 2.0 * samples * float(share) * max(0, count)
    forwards = (passes - 1 + more) * layer.operations * samples / setting.shares
    travels = step_travels(samples, max_block, setting)
    if setting.shares > 1:
        columns = float(passes + more) * samples * dim * setting.itemsize
        travels = travels.more(Travels(columns=columns, sums=_reduced_bytes(samples, setting)))
    why = f"inner products of {samples:,} samples from {passes} tile{'s' * (passes > 1)} of {tile:,} features"
    return TilePlan(
        samples=samples,
        tile=tile,
        passes=passes + more,
        max_block=max_block,
        state_bytes=state,
        finish_bytes=step,
        operations=operations + constants.forward_cost * forwards,
        solve_operations=last,
        travels=travels,
        why=why + more * ", and a pass for its directions",
    )


def _staging_bytes(samples: int, tile: int, share: int, setting: Setting) -> int:
    """Bytes of a tile and of adding it. ``share``: the columns of a rank, of which exact products are formed
    in as many parts as their memory allows."""
    dtype, rows = formats.SUM_DTYPES[setting.rounding], min(setting.profile.panel_rows, samples)
    staging = Staging.nbytes(tile, samples, setting.rounding, setting.device)
    staging += ClassSums.nbytes(setting.classes, tile)
    staging += formats.product_bytes(rows, samples, dtype, setting.device)
    return staging + formats.digit_bytes(setting.rounding, samples, share, setting.device)


def _reduced_bytes(samples: int, setting: Setting) -> float:
    """Bytes of what is summed over ranks: the panels, each at its owner alone, so half as often; the exact
    diagonal and, where sums are rounded, what measures them. Of panels that stay distributed, parts are read
    twice, by one rank."""
    beside = 1 + (0 if setting.rounding == "int16" else PROBES + CALIBRATION)
    panels = formats.SUM_DTYPES[setting.rounding].itemsize * float(samples) ** 2 / 2
    parts = panels * (setting.options.estimate and samples > setting.profile.dense_limit)
    return panels / 2 + 8.0 * (samples * beside + setting.classes**2) + parts


def _tile(share: int, need: Callable[[int], int], largest: int, setting: Setting) -> int:
    """How many of a rank's ``share`` of the features make a tile: so that the fewest passes are about alike,
    of those that fit. ``need``: bytes of the state with a tile of so many; ``largest``: of a tile."""
    least = min(_LEAST_TILE, share)
    per_feature = need(least) - need(least - 1) if least > 1 else need(1)
    room = setting.room - setting.forward_bytes - (need(least) - per_feature * least)
    most = min(room, largest) // per_feature
    passes = -(-share // max(least, most))
    if passes == 1:
        return share
    even = -(-share // passes // _ALIGN) * _ALIGN
    # Rounded up to the alignment it may be too large, rounded down it may be none.
    return min(even, max(least, most // _ALIGN * _ALIGN))
