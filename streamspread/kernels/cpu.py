"""The kernels on the CPU: Numba for the elementwise pass, and the choice of what forms products.

Products of floats are BLAS's or oneDNN's (:mod:`streamspread.kernels.blas`). Exact products of 16-bit
integers are those of pairs (:mod:`streamspread.kernels.int16_gemm`), or of int8 matrices where the processor
multiplies whole ones faster (:mod:`streamspread.kernels.int8_gemm`). Which are faster is measured, once.

NumPy's OpenBLAS has products of a matrix with its own transpose: on two cores of an AMD EPYC it adds rank
updates to row panels at 51–54 GFLOP/s in float64 (N = 5,000, counting the triangle), torch's MKL at 42–49. In
float32 oneDNN is faster there (:mod:`streamspread.kernels.blas`): on one core 224 GFLOP/s of inner
products against 124, 171 of a covariance, whose factors are copied, against 117.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numba
import numpy as np
import torch

from streamspread.kernels import blas, formats, int8_gemm, int16_gemm
from streamspread.kernels.timing import seconds

_BLOCK = 512  # columns a thread owns at a time: their sums and squares stay in the first-level cache
_TRIAL = (512, 1024, 1024)  # rows, order and terms of the update by which speed is measured
_ROUNDINGS = {"fp64": 0, "fp32": 0, "fp16": 1, "bf16": 2}


@numba.njit(inline="always")
def _to_bfloat16(value: Any) -> Any:
    """Round a float32 to 8 significant bits, ties to even."""
    bits = np.float32(value).view(np.uint32)
    up = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return np.uint32(np.uint32(bits + up) & np.uint32(0xFFFF0000)).view(np.float32)


@numba.njit(inline="always")
def _to_float16(value: Any) -> Any:
    """Round a float32 to float16's values, ties to even; beyond its range: infinity."""
    value = np.float32(value)
    if abs(value) < np.float32(2.0**-14):  # subnormal: multiples of 2⁻²⁴, float32's spacing near 0.75
        return (value + np.float32(0.75)) - np.float32(0.75)
    if abs(value) >= np.float32(65520.0):
        return np.float32(np.inf) if value > 0 else np.float32(-np.inf)
    bits = value.view(np.uint32)
    up = np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))
    return np.uint32(np.uint32(bits + up) & np.uint32(0xFFFFE000)).view(np.float32)


@numba.njit(parallel=True, cache=True)
def _stage(x: Any, stride: int, origin: Any, rounding: int, out: Any, sums: Any, squares: Any) -> None:
    """``x``: rows one after the other, at a distance of ``stride``, so that their columns are known to be
    adjacent: vector instructions need that. ``origin``: shift and scale."""
    shift, scale = origin
    rows, columns = out.shape
    blocks = (columns + _BLOCK - 1) // _BLOCK
    for block in numba.prange(blocks):
        begin = block * _BLOCK
        end = min(columns, begin + _BLOCK)
        shift_C, sum_C, square_C = shift[begin:end], sums[begin:end], squares[begin:end]
        for n in range(rows):
            x_C, out_C = x[n * stride + begin : n * stride + end], out[n, begin:end]
            for d in range(end - begin):
                value = (x_C[d] - shift_C[d]) * scale
                if rounding == 1:
                    value = _to_float16(value)
                elif rounding == 2:
                    value = _to_bfloat16(value)
                out_C[d] = value
                sum_C[d] += value
                square_C[d] += np.float64(value) * np.float64(value)


def stage(
    x_ND: torch.Tensor,
    shift_D: torch.Tensor,
    scale: float,
    rounding: str,
    out_ND: torch.Tensor,
    sums: formats.Sums,
    batch: int,
) -> None:
    """Shift, scale and round a batch into the staging buffer, and add its sums.

    Args:
        x_ND: (N, D) activation, any float dtype; rows may be strided (a window of columns).
        shift_D: (D,) subtracted from every row, in the dtype of ``out_ND``.
        scale: a power of two.
        rounding: fp64, fp32, fp16, bf16 or int16.
        out_ND: (N, D) float32 or float64, written: round((x − shift)·scale); at int16 see
            :func:`_stage_whole`.
        sums: added to; ``first_bad`` is lowered to ``batch`` where the activation or its rounded values are
            not finite.
        batch: the number of this batch in the pass.
    """
    if rounding == "int16":
        _stage_whole(x_ND, shift_D, scale, out_ND, sums, batch)
        return
    activation_ND = x_ND
    if x_ND.dtype in (torch.float16, torch.bfloat16):
        x_ND = x_ND.float()
    elif x_ND.dtype == torch.float64 and out_ND.dtype == torch.float32:
        # Shift and scale in float64 first: the shift may be much larger than what is left after it, and both
        # may lie beyond float32's range.
        x_ND = (x_ND - shift_D.double()).mul_(scale).float()
        shift_D, scale = torch.zeros_like(shift_D), 1.0
    if x_ND.shape[1] > 1 and x_ND.stride(1) != 1:
        x_ND = x_ND.contiguous()
    out = out_ND.numpy()
    _stage(
        formats.flat_view(x_ND),
        x_ND.stride(0),
        (shift_D.numpy(), out.dtype.type(scale)),
        _ROUNDINGS[rounding],
        out,
        sums.sum_D.numpy(),
        sums.squares_D.numpy(),
    )
    if not torch.isfinite(sums.squares_D).all():
        # Rare path: was the activation itself NaN or Inf, or did rounding overflow?
        index = 1 if torch.isfinite(activation_ND).all() else 0
        sums.first_bad[index] = min(int(sums.first_bad[index]), batch)


@numba.njit(inline="always")
def _fixed(value: Any, scale: Any, shift: Any, reach: Any) -> Any:
    """A value in whole units from the shift, what rounding left, and whether it lies out of reach."""
    scaled = value * scale
    whole = np.rint(scaled)
    moved = whole - shift
    held = min(max(moved, -reach), reach)
    return np.int32(held), scaled - whole, np.int32(held != moved)


@numba.njit(parallel=True, cache=True)
def _stage_int16(x: Any, strides: Any, shift: Any, units: Any, out: Any, sums: Any, squares: Any) -> Any:
    """The sum of squared rounding errors, and whether a value lay out of reach: not 0.

    ``x``, ``out``: rows one after the other, at distances of ``strides``, so that their columns are
    known to be adjacent: vector instructions need that. ``units``: the scale, and how far values reach.
    """
    scale, reach = units
    x_stride, out_stride = strides
    columns = len(shift)
    rows = (len(out) - columns) // out_stride + 1
    blocks = (columns + _BLOCK - 1) // _BLOCK
    errors = np.zeros(blocks)
    outside = np.zeros(blocks, np.int64)
    for block in numba.prange(blocks):
        begin = block * _BLOCK
        end = min(columns, begin + _BLOCK)
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
    for block in numba.prange((columns + _BLOCK - 1) // _BLOCK):
        begin, end = block * _BLOCK, min(columns, (block + 1) * _BLOCK)
        weighted_C = weighted[begin:end]
        for n in range(rows):
            x_C = x[n * stride + begin : n * stride + end]
            for d in range(end - begin):
                weighted_C[d] += squares[n] * np.float64(x_C[d])


def _stage_whole(
    x_ND: torch.Tensor,
    shift_D: torch.Tensor,
    scale: float,
    out_ND: torch.Tensor,
    sums: formats.Sums,
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
    x, out = formats.flat_view(x_ND), formats.flat_view(out_ND)
    strides = x_ND.stride(0), out_ND.stride(0)
    units = x.dtype.type(scale), x.dtype.type(formats.INT16_LIMIT)
    held = sums.sum_D.numpy(), sums.squares_D.numpy()
    error, outside = _stage_int16(x, strides, shift.numpy(), units, out, *held)
    sums.moved.add_(error)
    if outside:
        # Rare path: was the activation itself NaN or Inf, or is the unit too small for it?
        farthest = (x_ND.double() * scale - whole_D).abs().max()
        index = 1 if torch.isfinite(x_ND).all() else 0
        sums.first_bad[index] = min(int(sums.first_bad[index]), batch)
        sums.farthest.copy_(torch.maximum(sums.farthest, farthest))


def add_weighted(weighted_D: torch.Tensor, x_ND: torch.Tensor) -> torch.Tensor:
    """``weighted += Σ‖x‖²·x`` in place over staged rows x; returns ‖x‖² of each, (N,) float64."""
    squares_N = torch.empty(len(x_ND), dtype=torch.float64)
    _weigh(formats.flat_view(x_ND), x_ND.stride(0), squares_N.numpy(), weighted_D.numpy())
    return squares_N


def add_gram(
    panels: Iterable[tuple[int, int, torch.Tensor]],
    x_NK: torch.Tensor,
    progress: Callable[[float], None] = lambda done: None,
) -> None:
    """``P += x xᵀ`` in place, exactly: as :func:`streamspread.kernels.int16_gemm.add_gram`, which see."""
    module = int8_gemm if _speeds()[1] > _speeds()[0] else int16_gemm
    module.add_gram(panels, x_NK, progress)


def add_product(
    c_MN: torch.Tensor, a_MK: torch.Tensor, b_KN: torch.Tensor, *, terms: int | None = None
) -> None:
    """``c += a @ b`` in place, all of one dtype (float32 or float64). The library orders the terms, so
    ``terms`` has no effect."""
    blas.add_product(c_MN, a_MK, b_KN)


def add_gram_rows(c_RN: torch.Tensor, x_NK: torch.Tensor, *, terms: int | None = None) -> None:
    """``c += (x xᵀ)[N − R:]`` in place: the last R rows of the Gram matrix, exactly where x is int16."""
    rows, count = c_RN.shape
    if x_NK.dtype == torch.int16:
        add_gram([(count - rows, count, c_RN)], x_NK)
    else:
        blas.add_gram_rows(c_RN, x_NK)


def exact_speed() -> float:
    """How many times as fast as float32 products this processor forms exact ones."""
    return max(_speeds())


@functools.cache
def _speeds() -> tuple[float, float]:
    """Those of pairs and of int8 matrices, the latter 0 where there are none or not exact: measured in some
    tenths of a second on one thread, and some seconds where they must be compiled first."""
    rows, count, terms = _TRIAL
    generator = torch.Generator().manual_seed(0)
    x_NK = torch.randint(-512, 512, (count, terms), dtype=torch.int16, generator=generator)
    wide_RN, float_NK = torch.zeros(rows, count, dtype=torch.float64), x_NK.float()
    c_RN = wide_RN.float()
    usual = seconds(lambda: blas.add_gram_rows(c_RN, float_NK))
    panels = [(count - rows, count, wide_RN)]
    by_words = usual / seconds(lambda: int16_gemm.add_gram(panels, x_NK))
    if not int8_gemm.are_exact():
        return by_words, 0.0
    return by_words, usual / seconds(lambda: int8_gemm.add_gram(panels, x_NK))
