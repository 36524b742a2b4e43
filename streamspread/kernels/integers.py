"""Activations as integers of 16 bits on the CPU, where it multiplies int8 matrices faster than float32 ones.

A value is held in fixed point, as two planes of int8: x = 256·h + l. Their products are those of
:mod:`streamspread.kernels.digits`.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import torch

from streamspread import kernels

#: Values reach so far to either side: h and l then fit into int8.
LARGEST_VALUE = 127 * 256 + 127

_COLUMNS = 512  # that a thread stages at a time


@numba.njit(inline="always")
def _fixed(value: Any, scale: Any, shift: Any, reach: Any) -> Any:
    """A value in whole units from the shift, what rounding left, and whether it lies out of reach."""
    scaled = value * scale
    whole = np.rint(scaled)
    moved = whole - shift
    held = min(max(moved, -reach), reach)
    return np.int32(held), scaled - whole, np.int32(held != moved)


@numba.njit(parallel=True, cache=True)
def _stage(x: Any, strides: Any, shift: Any, units: Any, high: Any, low: Any, sums: Any, squares: Any) -> Any:
    """The sum of squared rounding errors, and whether a value lay out of reach: not 0.

    ``x``, ``high``, ``low``: rows one after the other, at distances of ``strides``, so that their columns are
    known to be adjacent: vector instructions need that. ``units``: the scale, and how far values reach.
    """
    scale, reach = units
    x_stride, out_stride = strides
    columns = len(shift)
    rows = (len(high) - columns) // out_stride + 1
    blocks = (columns + _COLUMNS - 1) // _COLUMNS
    errors = np.zeros(blocks)
    outside = np.zeros(blocks, np.int64)
    for block in numba.prange(blocks):
        begin = block * _COLUMNS
        end = min(columns, begin + _COLUMNS)
        shift_C, sum_C, square_C = shift[begin:end], sums[begin:end], squares[begin:end]
        error_C = np.zeros(end - begin, x.dtype)
        for n in range(rows):
            x_C = x[n * x_stride + begin : n * x_stride + end]
            high_C = high[n * out_stride + begin : n * out_stride + end]
            low_C = low[n * out_stride + begin : n * out_stride + end]
            out = np.int32(0)
            for d in range(end - begin):
                value, left, beyond = _fixed(x_C[d], scale, shift_C[d], reach)
                high_C[d] = np.int8((value + np.int32(128)) >> np.int32(8))
                low_C[d] = np.int8(value)  # its last eight bits, as a signed number
                sum_C[d] += value
                square_C[d] += np.float64(value) * np.float64(value)
                error_C[d] += left * left
                out |= beyond
            outside[block] += out
        for d in range(end - begin):
            errors[block] += error_C[d]
    return errors.sum(), outside.sum()


@numba.njit(parallel=True, cache=True)
def _weigh(high: Any, low: Any, stride: int, squares: Any, weighted: Any) -> None:
    rows, columns = len(squares), len(weighted)
    for n in numba.prange(rows):
        high_D = high[n * stride : n * stride + columns]
        low_D = low[n * stride : n * stride + columns]
        total = np.int64(0)
        for d in range(columns):
            value = np.int32(high_D[d]) * np.int32(256) + np.int32(low_D[d])
            total += np.int64(value * value)
        squares[n] = total
    for block in numba.prange((columns + _COLUMNS - 1) // _COLUMNS):
        begin, end = block * _COLUMNS, min(columns, (block + 1) * _COLUMNS)
        weighted_C = weighted[begin:end]
        for n in range(rows):
            high_C = high[n * stride + begin : n * stride + end]
            low_C = low[n * stride + begin : n * stride + end]
            for d in range(end - begin):
                value = np.int32(high_C[d]) * np.int32(256) + np.int32(low_C[d])
                weighted_C[d] += squares[n] * np.float64(value)


def stage(
    x_ND: torch.Tensor,
    shift_D: torch.Tensor,
    scale: float,
    out_2ND: torch.Tensor,
    sums: kernels.Sums,
    batch: int,
) -> None:
    """Write round(x·scale) − shift·scale as two planes, and add its sums; as
    :func:`streamspread.kernels.cpu.stage`.

    A value's place on the grid of whole units does not depend on the shift, so a shift is an integer too.

    Args:
        shift_D: float64, multiples of 1/scale; float32 numbers, unless the activation is float64.
        out_2ND: (2, N, D) int8: high and low.
        sums: added to: Σ and Σ² are exact. Values out of reach count as an overflow.
    """
    if x_ND.dtype in (torch.float16, torch.bfloat16):
        x_ND = x_ND.float()
    whole_D = shift_D * scale
    shift = whole_D.to(x_ND.dtype)
    if not (math.ldexp(1.0, -126) <= scale <= math.ldexp(1.0, 126) and torch.equal(shift.double(), whole_D)):
        x_ND, shift = x_ND.double(), whole_D
    if x_ND.shape[1] > 1 and x_ND.stride(1) != 1:
        x_ND = x_ND.contiguous()
    x, high, low = (flat(rows_ND) for rows_ND in (x_ND, out_2ND[0], out_2ND[1]))
    strides = x_ND.stride(0), out_2ND.stride(1)
    units = x.dtype.type(scale), x.dtype.type(LARGEST_VALUE)
    error, outside = _stage(
        x, strides, shift.numpy(), units, high, low, sums.sum_D.numpy(), sums.squares_D.numpy()
    )
    sums.moved.add_(error)
    if outside:
        # Rare path: was the activation itself NaN or Inf, or is the unit too small for it?
        farthest = (x_ND.double() * scale - whole_D).abs().max()
        index = 1 if torch.isfinite(x_ND).all() else 0
        sums.first_bad[index] = min(int(sums.first_bad[index]), batch)
        sums.farthest.copy_(torch.maximum(sums.farthest, farthest))


def flat(rows_ND: torch.Tensor) -> np.ndarray:
    """The memory from a matrix's first number to its last, row by row; columns are adjacent."""
    rows, columns = rows_ND.shape
    return rows_ND.as_strided(((rows - 1) * rows_ND.stride(0) + columns,), (1,)).numpy()


def add_weighted(weighted_D: torch.Tensor, x_2ND: torch.Tensor) -> torch.Tensor:
    """``weighted += Σ‖x‖²·x`` in place over staged rows x; returns ‖x‖² of each, (N,) float64."""
    squares_N = torch.empty(x_2ND.shape[1], dtype=torch.float64)
    high, low = flat(x_2ND[0]), flat(x_2ND[1])
    _weigh(high, low, x_2ND.stride(1), squares_N.numpy(), weighted_D.numpy())
    return squares_N
