"""What inner products would cost, and how wide their tiles are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from streamspread.accumulators.base import Candidate, Impossible, LayerShape, Setting
from streamspread.accumulators.exact import (
    LEAST_BLOCK,
    Step,
    largest_block,
    step_bytes,
    step_operations,
    step_travels,
)
from streamspread.accumulators.travels import Travels
from streamspread.accumulators.turning import Turning
from streamspread.kernels.formats import SUM_DTYPES, digit_bytes
from streamspread.linalg.probes import CALIBRATION, PROBES

if TYPE_CHECKING:
    from streamspread.accumulators.methods.gram import Gram

_LEAST_TILE = 64
_ALIGN = 64  # columns: keeps tiles aligned for wide loads


def gram_candidate(gram: type[Gram], layer: LayerShape, setting: Setting) -> Candidate | Impossible:
    """As :meth:`streamspread.accumulators.base.Accumulator.candidate`. Of several ranks each has tiles of its
    own share of the features, and all panels until these are added up."""
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
    panel_rows = constants.panel_rows
    max_block = largest_block(samples, constants)

    digits = digit_bytes(setting.rounding, samples, share, setting.device)

    def need(tile: int) -> tuple[int, int]:
        panels, staging = gram.nbytes(samples, min(tile, share), panel_rows, setting)
        staging += digits  # whatever the tile: at most
        step = step_bytes(samples, panel_rows, 2 * max(1, setting.classes), max_block, setting)
        turning = Turning.nbytes(samples, dim, count, setting.batch_size) if count > 0 else 0
        # The tile is gone when the step begins.
        return panels + staging + turning, max(0, step - staging)

    least = min(_LEAST_TILE, share)
    while max_block > LEAST_BLOCK and sum(need(least)) > setting.room:
        max_block //= 2
    # The eigenvalue step takes its memory after the last tile, which may have as much.
    largest = max(constants.tile_bytes, need(least)[1])
    tile = _tile(share, lambda tile: need(tile)[0], largest, setting) if setting.same_again else share
    passes = -(-share // min(tile, share))
    state, step = need(tile)
    operations = setting.sum_cost * float(samples) ** 2 * share
    last = step_operations(samples, max_block, setting)
    operations += last
    if count > 0:
        operations += constants.float64_cost * 2.0 * samples * float(share) * count
    more = int(count > 0)
    ranks = setting.shares
    operations += constants.forward_cost * (passes - 1 + more) * layer.operations * samples / ranks
    travels = step_travels(samples, max_block, setting)
    if ranks > 1:
        columns = float(passes + more) * samples * dim * setting.itemsize
        travels = travels.more(Travels(columns=columns, sums=_joined(samples, setting)))
    return Candidate(
        method=gram.method,
        passes=passes + more,
        state_bytes=state,
        finish_bytes=step,
        operations=operations,
        exact=True,
        sums_after=True,
        order=samples,
        why=f"inner products of {samples:,} samples from "
        f"{passes} tile{'s' * (passes > 1)} of {tile:,} features" + more * ", and a pass for its directions",
        step=last,
        travels=travels,
        estimates=setting.options.estimate,
        scores=True,
        make=partial(
            gram,
            dim,
            samples,
            tile=tile,
            precision=setting.precision(layer.name),
            device=setting.device,
            panel_rows=panel_rows,
            step=Step(max_block, constants, directions=setting.directions, ranks=setting.ranks),
            labels=setting.labels,
        ),
    )


def _joined(samples: int, setting: Setting) -> float:
    """Bytes of what is summed over ranks: the panels, each at its owner alone, so half as often; the exact
    diagonal and, where sums are rounded, what measures them. Of panels that stay dealt, parts are read twice,
    by one rank."""
    beside = 1 + (0 if setting.rounding == "int16" else PROBES + CALIBRATION)
    panels = SUM_DTYPES[setting.rounding].itemsize * float(samples) ** 2 / 2
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
