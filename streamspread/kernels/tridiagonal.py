"""From a band matrix to a tridiagonal one, on the CPU (Numba) for bands from any device: they are small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

_SWEEPS = 4  # that a thread chases at once, close behind each other, so that their numbers stay in its cache
_STEPS = 16  # of a sweep in a tile; at least 3 for each sweep, or tiles of one wave would overlap
_TINY = 1e-290  # squares below it have lost digits
_WAVES = 64  # between two calls of `progress`


def tridiagonal(
    band_ND: np.ndarray, bandwidth: int, progress: Callable[[float], None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The diagonal (n,) and subdiagonal (n − 1,) of a tridiagonal matrix with the same eigenvalues.

    Householder reflections clear one column of the band after another, and chase what each of them fills in
    down the band (Bischof, Lang & Sun 2000, "A framework for symmetric band reduction", §3). Sweeps that
    follow each other at a distance touch different numbers, so they run in parallel: in waves of tiles whose
    order does not depend on the number of threads.

    Args:
        band_ND: (n, 2·bandwidth) float64, the largest about 1, overwritten: entry (j, d) is A[j + d, j]; the
            columns beyond ``bandwidth`` are 0 and make room for what is filled in.
        bandwidth: subdiagonals, 1 or more.
        progress: called with the share that is done.
    """
    n = len(band_ND)
    sweeps = max(0, n - 2) if bandwidth > 1 else 0
    groups = -(-sweeps // _SWEEPS)
    waves = max(0, 2 * groups - 1)  # group g begins in wave 2g; the last one has one tile, and ends last
    for wave in range(0, waves, _WAVES):
        _chase(band_ND, bandwidth, sweeps, wave, min(waves, wave + _WAVES))
        if progress is not None:
            done = min(1.0, (wave + _WAVES) / waves)
            progress(1.0 - (1.0 - done) ** 2)  # the later a sweep begins, the shorter it is
    return band_ND[:, 0].copy(), band_ND[: n - 1, 1].copy()


@numba.njit(cache=True)
def _tiles(n: int, bandwidth: int, group: int) -> int:
    """How many tiles a group of sweeps has: its first sweep's steps, and three for each that follows."""
    return ((n - 2 - group * _SWEEPS) // bandwidth + 1 + 3 * (_SWEEPS - 1)) // _STEPS + 1


@numba.njit(parallel=True, cache=True)
def _chase(band: Any, bandwidth: int, sweeps: int, begin: int, end: int) -> None:
    groups = (sweeps + _SWEEPS - 1) // _SWEEPS
    for wave in range(begin, end):
        # Group g is at its tile wave − 2g: the one behind it is two tiles, more than all its sweeps, back.
        for g in numba.prange(min(groups, wave // 2 + 1)):
            tile = wave - 2 * g
            if tile < _tiles(band.shape[0], bandwidth, g):
                work = np.empty(2 * bandwidth)
                for step in range(tile * _STEPS, (tile + 1) * _STEPS):
                    for i in range(_SWEEPS):
                        sweep = g * _SWEEPS + i
                        if step >= 3 * i and sweep < sweeps:
                            _reflect(band, bandwidth, sweep, step - 3 * i, work[:bandwidth], work[bandwidth:])


@numba.njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _reflect(band: Any, bandwidth: int, sweep: int, step: int, v: Any, w: Any) -> None:
    """One reflection of rows first … first + size: clears a column below its first entry in these rows."""
    n = band.shape[0]
    first = sweep + 1 + step * bandwidth
    size = min(bandwidth, n - first)
    if size < 2:
        return
    column = sweep if step == 0 else first - bandwidth
    x = band[column, first - column : first - column + size]
    square = 0.0
    for i in range(1, size):
        square += x[i] * x[i]
    if square < _TINY:  # too small to count beside 1, and to be squared
        x[1:] = 0.0
        return
    norm = np.sqrt(x[0] * x[0] + square)
    beta = -norm if x[0] > 0.0 else norm
    tau = (beta - x[0]) / beta
    over = 1.0 / (x[0] - beta)
    v[0] = 1.0
    x[0] = beta
    for i in range(1, size):
        v[i] = x[i] * over
        x[i] = 0.0
    # From the left: the other columns in which these rows have something left of the diagonal block.
    for q in range(column + 1, first):
        y = band[q, first - q : first - q + size]
        s = 0.0
        for i in range(size):
            s += v[i] * y[i]
        s *= tau
        for i in range(size):
            y[i] -= s * v[i]
    # From both sides: the diagonal block D becomes D − v wᵀ − w vᵀ.
    for i in range(size):
        w[i] = 0.0
    for p in range(size):
        y = band[first + p, : size - p]
        s = y[0] * v[p]
        for i in range(1, size - p):
            s += y[i] * v[p + i]
            w[p + i] += y[i] * v[p]
        w[p] += s
    s = 0.0
    for i in range(size):
        w[i] *= tau
        s += w[i] * v[i]
    s *= 0.5 * tau
    for i in range(size):
        w[i] -= s * v[i]
    for p in range(size):
        y = band[first + p, : size - p]
        for i in range(size - p):
            y[i] -= v[p + i] * w[p] + w[p + i] * v[p]
    # From the right: the rows below, which this fills in.
    below = min(bandwidth, n - first - bandwidth)
    if below < 1:
        return
    for i in range(below):
        w[i] = 0.0
    for p in range(size):
        y = band[first + p, bandwidth - p : bandwidth - p + below]
        for i in range(below):
            w[i] += y[i] * v[p]
    for p in range(size):
        y = band[first + p, bandwidth - p : bandwidth - p + below]
        s = tau * v[p]
        for i in range(below):
            y[i] -= s * w[i]
