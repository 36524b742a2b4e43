"""Activations as integers of 16 bits on the CPU: values in fixed point, whose products are exact
(:mod:`streamspread.kernels.exact`)."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import torch

from streamspread import kernels

#: Values reach so far to either side: they are 256·h + l with h and l of int8, and two of their products
#: have a sum in int32.
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
def _stage(x: Any, strides: Any, shift: Any, units: Any, out: Any, sums: Any, squares: Any) -> Any:
    """The sum of squared rounding errors, and whether a value lay out of reach: not 0.

    ``x``, ``out``: rows one after the other, at distances of ``strides``, so that their columns are
    known to be adjacent: vector instructions need that. ``units``: the scale, and how far values reach.
    """
    scale, reach = units
    x_stride, out_stride = strides
    columns = len(shift)
    rows = (len(out) - columns) // out_stride + 1
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
            out_C = out[n * out_stride + begin : n * out_stride + end]
            any_beyond = np.int32(0)
            for d in range(end - begin):
                value, left, beyond = _fixed(x_C[d], scale, shift_C[d], reach)
                out_C[d] = np.int16(value)
                sum_C[d] += value
                square_C[d] += np.float64(value) * np.float64(value)
                error_C[d] += left * left
                any_beyond |= beyond
            outside[block] += any_beyond
        for d in range(end - begin):
            errors[block] += error_C[d]
    return errors.sum(), outside.sum()


@numba.njit(parallel=True, cache=True)
def _weigh(x: Any, stride: int, squares: Any, weighted: Any) -> None:
    rows, columns = len(squares), len(weighted)
    for n in numba.prange(rows):
        x_D = x[n * stride : n * stride + columns]
        total = np.int64(0)
        for d in range(columns):
            value = np.int32(x_D[d])
            total += np.int64(value * value)
        squares[n] = total
    for block in numba.prange((columns + _COLUMNS - 1) // _COLUMNS):
        begin, end = block * _COLUMNS, min(columns, (block + 1) * _COLUMNS)
        weighted_C = weighted[begin:end]
        for n in range(rows):
            x_C = x[n * stride + begin : n * stride + end]
            for d in range(end - begin):
                weighted_C[d] += squares[n] * np.float64(x_C[d])


def stage(
    x_ND: torch.Tensor,
    shift_D: torch.Tensor,
    scale: float,
    out_ND: torch.Tensor,
    sums: kernels.Sums,
    batch: int,
) -> None:
    """Write round(x·scale) − shift·scale, and add its sums; as
    :func:`streamspread.kernels.cpu.stage`.

    A value's place on the grid of whole units does not depend on the shift, so a shift is an integer too.

    Args:
        shift_D: float64, multiples of 1/scale; float32 numbers, unless the activation is float64.
        out_ND: (N, D) int16.
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
    x, out = flat(x_ND), flat(out_ND)
    strides = x_ND.stride(0), out_ND.stride(0)
    units = x.dtype.type(scale), x.dtype.type(LARGEST_VALUE)
    error, outside = _stage(x, strides, shift.numpy(), units, out, sums.sum_D.numpy(), sums.squares_D.numpy())
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


def lying_in_lines(x_NK: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """The matrix, or its transpose (true), or a copy, so that numbers of a row are adjacent."""
    turned = x_NK.shape[1] > 1 and x_NK.stride(1) != 1
    lines_LM = x_NK.mT if turned else x_NK
    if lines_LM.shape[1] > 1 and lines_LM.stride(1) != 1:
        lines_LM = lines_LM.contiguous()
    return lines_LM, turned


def add_weighted(weighted_D: torch.Tensor, x_ND: torch.Tensor) -> torch.Tensor:
    """``weighted += Σ‖x‖²·x`` in place over staged rows x; returns ‖x‖² of each, (N,) float64."""
    squares_N = torch.empty(len(x_ND), dtype=torch.float64)
    _weigh(flat(x_ND), x_ND.stride(0), squares_N.numpy(), weighted_D.numpy())
    return squares_N
