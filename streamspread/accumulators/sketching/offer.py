"""What the quick form of a sketch costs, where it is offered, and which rank would close what is open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from streamspread.accumulators.base import Accumulator, Candidate, LayerShape, Setting
from streamspread.accumulators.sketching.iterating import FIRST
from streamspread.accumulators.spectrum import DENSE_SOLVE_FACTOR, Step
from streamspread.accumulators.staging import Staging
from streamspread.linalg.iteration import MOST_PASSES, VECTORS, Iteration
from streamspread.options import Options
from streamspread.results.spectrum import Spectrum, components_for


def rank_to_close(spectrum: Spectrum, thresholds: Sequence[float], rank: int) -> int | None:
    """An estimate of the rank at which a sketch closes every threshold that it left open at ``rank``; None
    where it left none.

    Where the eigenvalues do not reach a threshold, the others are taken to fall as a power of their index,
    with the exponent that uses up the rest of the trace.
    """
    still_open = [tau for tau in thresholds if not spectrum.components(tau).closed]
    if not still_open:
        return None
    target = max(still_open) * spectrum.total_variance
    values, limit = spectrum.eigenvalues, spectrum.ceiling
    # Before a second pass the sketch's last ones are 0, but for rounding.
    values = values[values > np.finfo(np.float64).eps * values.max(initial=0.0)]
    if not len(values):
        return limit
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


_MOST_RANK = 1024
# Samples from which it is worth while; directions that it finds as a rule up to a threshold, and the largest
# threshold at which K is seldom beyond it; passes that it takes; and how many times as long its products take
# as those of rank updates, since they are long and thin.
_LEAST_SAMPLES = 4 * FIRST
_USUAL_RANK, _USUAL_THRESHOLD, _LARGEST_THRESHOLD = 768, 0.8, 0.9
_USUAL_PASSES, _SLOWER = 2, 1.2


def most_passes(options: Options) -> int:
    """Of the quick form."""
    return min(options.max_passes, MOST_PASSES)


def quick(sketch: Callable[..., Accumulator], layer: LayerShape, setting: Setting) -> Candidate | None:
    """The quick form, where it may close K: of exact sums on one CPU that are read again, for as many
    directions as it usually finds, and samples enough beside those that it begins with."""
    dim, samples, options = layer.dim, setting.samples, setting.options
    passes, threshold = most_passes(options), max(options.thresholds)
    suited = setting.rounding == "int16" and setting.device.type == "cpu" and setting.same_again
    alone = setting.ranks.size == setting.shares == 1 and not setting.exact
    wanted = options.rank == "auto" and not setting.directions and threshold <= _LARGEST_THRESHOLD
    enough = passes >= _USUAL_PASSES and (samples is None or samples >= _LEAST_SAMPLES)
    if not (suited and alone and wanted and enough):
        return None
    rank = min(_MOST_RANK, dim)
    state = Iteration.nbytes(dim, rank, FIRST)
    state += Staging.nbytes(dim, FIRST, setting.rounding, setting.device) + 8 * dim
    state += 6 * 8 * FIRST**2  # inner products, and what finds their directions
    step = 10 * 8 * (2 * rank) ** 2
    if state + max(step, setting.forward_bytes) > setting.room:
        return None
    n, constants = float(setting.expected), setting.profile
    size = min(dim, _USUAL_RANK if threshold <= _USUAL_THRESHOLD else rank)
    rows = size + 2 * VECTORS
    integers = float(FIRST) ** 2 * dim + _USUAL_PASSES * _SLOWER * 4 * rows * dim * n
    wide = _USUAL_PASSES * 10 * float(size) ** 2 * dim
    last = constants.float64_cost * wide + DENSE_SOLVE_FACTOR * 4 / 3 * float(FIRST) ** 3
    forwards = constants.forward_cost * (_USUAL_PASSES - 1) * layer.operations * n
    return Candidate(
        method="sketch",
        passes=passes,
        usual_passes=_USUAL_PASSES,
        state_bytes=state,
        finish_bytes=step,
        operations=setting.sum_cost * integers + last + forwards,
        exact=False,
        closes=True,
        order=0,
        why=f"up to {rank:,} directions of {dim:,}, begun with those of {FIRST:,} samples: K proved in "
        f"{_USUAL_PASSES} passes as a rule, or the layer is summed again",
        step=last,
        make=partial(
            sketch,
            dim,
            rank=rank,
            precision=setting.precision(layer.name),
            device=setting.device,
            staging_rows=FIRST if samples is None else min(FIRST, samples),
            step=Step(rank, constants),
            until=options,
        ),
        rounding=setting.rounding,
    )
