"""Which rank would close what a sketch left open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
