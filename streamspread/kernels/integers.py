"""Exact integer sums on the CPU, where it multiplies int8 matrices faster than float32 ones.

A value is held in fixed point of 16 bits, as two planes of int8: x = 256·h + l. Products of planes are exact
in int32, and float64 sums take them in exactly as long as none exceeds 2⁵³. So no sum is ever rounded, and no
order of adding makes a difference. (Ozaki, Ogita, Oishi & Rump 2012, doi:10.1007/s11075-011-9478-1, split
matrices so; on integers Ootomo, Ozaki & Yokota 2024, doi:10.1177/10943420241239588.)
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
import torch

from streamspread import kernels

#: Values reach so far to either side: h and l then fit into int8.
LARGEST_VALUE = 127 * 256 + 127

_COLUMNS = 512  # that a thread stages at a time
_HEIGHT, _WIDTH = 1024, 512  # of a block of products, at the most; taller ones reorder less for each product
_TERMS = 1 << 16  # of a product in int32: 2¹⁶ · 2¹⁴ is below 2³¹
_TILE = 16  # rows of a block that a thread takes: two cache lines, where they are copied to columns
_TRIAL = (512, 1024, 1024)  # rows, order and terms of the update by which speed is measured


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
def _add(c: Any, stride: int, block: int, mirror: int, products: Any) -> None:
    """Add products to a block of a matrix whose rows are ``stride`` numbers apart; the block begins at number
    ``block``, and its transpose is copied to number ``mirror`` and on, unless that is −1."""
    _, rows, columns = products.shape
    for part in numba.prange((rows + _TILE - 1) // _TILE):
        top, bottom = part * _TILE, min(rows, (part + 1) * _TILE)
        for i in range(top, bottom):
            c_C = c[block + i * stride : block + i * stride + columns]
            hh, hl, lh, ll = products[0, i], products[1, i], products[2, i], products[3, i]
            for j in range(columns):
                mixed = np.float64(hl[j]) + np.float64(lh[j])
                c_C[j] += np.float64(hh[j]) * 65536.0 + mixed * 256.0 + np.float64(ll[j])
        if mirror >= 0:
            for j in range(columns):
                for i in range(top, bottom):
                    c[mirror + j * stride + i] = c[block + i * stride + j]


@numba.njit(parallel=True, cache=True)
def _add_pairs(c: Any, stride: int, block: int, mirror: int, products: Any) -> None:
    """The same of products whose rows and columns are high and low in turn."""
    rows, columns = len(products) // 2, products.shape[1] // 2
    for part in numba.prange((rows + _TILE - 1) // _TILE):
        top, bottom = part * _TILE, min(rows, (part + 1) * _TILE)
        for i in range(top, bottom):
            c_C = c[block + i * stride : block + i * stride + columns]
            high, low = products[2 * i], products[2 * i + 1]
            for j in range(columns):
                mixed = np.float64(high[2 * j + 1]) + np.float64(low[2 * j])
                c_C[j] += np.float64(high[2 * j]) * 65536.0 + mixed * 256.0 + np.float64(low[2 * j + 1])
        if mirror >= 0:
            for j in range(columns):
                for i in range(top, bottom):
                    c[mirror + j * stride + i] = c[block + i * stride + j]


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


def add_gram_rows(c_RN: torch.Tensor, x_2NK: torch.Tensor) -> None:
    """``c += (x xᵀ)[N − R:]`` in place: the last R rows of the Gram matrix of x = 256·x[0] + x[1], exactly.

    Args:
        c_RN: float64 integers, in adjacent columns; the last R are symmetric.
        x_2NK: int8, in adjacent columns or adjacent rows.
    """
    (rows, count), stride = c_RN.shape, c_RN.stride(0)
    c, first = flat(c_RN), count - rows
    memory = torch.empty(4 * min(rows, _HEIGHT) * min(count, _WIDTH), dtype=torch.int32)
    for begin in range(0, x_2NK.shape[2], _TERMS):
        x_2NT = x_2NK[:, :, begin : begin + _TERMS]
        pairs_MT = _in_turn(x_2NT)
        for top, bottom, left, right in _blocks(first, count):
            block = (top - first) * stride + left
            mirror = (left - first) * stride + top if first <= left < top else -1
            if pairs_MT is None or top == left:  # three products do there
                a_2BT = x_2NT[:, top:bottom]
                b_2CT = a_2BT if top == left else x_2NT[:, left:right]
                _add(c, stride, block, mirror, _products(a_2BT, b_2CT, memory))
            else:
                shape = 2 * (bottom - top), 2 * (right - left)
                products = memory[: shape[0] * shape[1]].view(shape)
                _multiply(products, pairs_MT[2 * top : 2 * bottom], pairs_MT[2 * left : 2 * right])
                _add_pairs(c, stride, block, mirror, products.numpy())


def _blocks(first: int, count: int) -> Iterator[tuple[int, int, int, int]]:
    """(top, bottom, left, right) of the last rows of a symmetric matrix, from number ``first``, but for what
    lies above the diagonal."""
    for top, bottom in _spans(first, count, _HEIGHT):
        for left, right in _spans(0, first, _WIDTH):
            yield top, bottom, left, right
    for top, bottom in _spans(first, count, _WIDTH):
        for left, right in (*_spans(first, top, _WIDTH), (top, bottom)):
            yield top, bottom, left, right


def _in_turn(x_2NT: torch.Tensor) -> torch.Tensor | None:
    """(2·N, T): high and low of each row as one matrix, where they lie so. One product of all is faster than
    four, each of which reorders a factor."""
    (_, rows, terms), (plane, row, term) = x_2NT.shape, x_2NT.stride()
    return x_2NT.as_strided((2 * rows, terms), (plane, 1)) if term == 1 and row == 2 * plane else None


def flat(rows_ND: torch.Tensor) -> np.ndarray:
    """The memory from a matrix's first number to its last, row by row; columns are adjacent."""
    rows, columns = rows_ND.shape
    return rows_ND.as_strided(((rows - 1) * rows_ND.stride(0) + columns,), (1,)).numpy()


def _spans(begin: int, end: int, size: int) -> list[tuple[int, int]]:
    return [(first, min(end, first + size)) for first in range(begin, end, size)]


def add_weighted(weighted_D: torch.Tensor, x_2ND: torch.Tensor) -> torch.Tensor:
    """``weighted += Σ‖x‖²·x`` in place over staged rows x; returns ‖x‖² of each, (N,) float64."""
    squares_N = torch.empty(x_2ND.shape[1], dtype=torch.float64)
    high, low = flat(x_2ND[0]), flat(x_2ND[1])
    _weigh(high, low, x_2ND.stride(1), squares_N.numpy(), weighted_D.numpy())
    return squares_N


def _products(a_2BT: torch.Tensor, b_2CT: torch.Tensor, memory: torch.Tensor) -> np.ndarray:
    """hhᵀ, hlᵀ, lhᵀ and llᵀ, (4, B, C) int32; of a matrix with itself two are each other's transpose."""
    rows, columns = a_2BT.shape[1], b_2CT.shape[1]
    products = memory[: 4 * rows * columns].view(4, rows, columns)
    _multiply(products[0], a_2BT[0], b_2CT[0])
    _multiply(products[1], a_2BT[0], b_2CT[1])
    if a_2BT is b_2CT:
        products[2] = products[1].T
    else:
        _multiply(products[2], a_2BT[1], b_2CT[0])
    _multiply(products[3], a_2BT[1], b_2CT[1])
    return products.numpy()


def _multiply(out_BC: torch.Tensor, a_BT: torch.Tensor, b_CT: torch.Tensor) -> None:
    """``out = a @ bᵀ``. Single rows and columns may have any stride; torch 2.13 takes it for a distance, and
    then leaves the result as it was (https://github.com/pytorch/pytorch/issues/195066)."""
    if 1 in (*a_BT.shape, *b_CT.shape):
        torch.matmul(a_BT.int(), b_CT.int().T, out=out_BC)
    else:
        torch._int_mm(a_BT, b_CT.T, out=out_BC)


@functools.cache
def speed() -> float:
    """How many times as fast as float32 products this processor forms exact ones, measured once in some
    milliseconds; 0 where it cannot, or not exactly.

    On one thread and in the processor's time, so that it says the same whatever else the machine does: what
    is chosen by it must not change from run to run.
    """
    rows, count, terms = _TRIAL
    generator = torch.Generator().manual_seed(0)
    x_2NK = torch.randint(-128, 128, (count, 2, terms), dtype=torch.int8, generator=generator).transpose(0, 1)
    x_2NK[:, ::2, ::3], x_2NK[:, 1::2, ::3] = -128, 127  # extremes, at which some instructions saturate
    small = slice(0, 32)
    try:
        exact = torch._int_mm(x_2NK[0, small], x_2NK[1, small].T)
    except (AttributeError, RuntimeError):  # a torch without it
        return 0.0
    if not torch.equal(exact.double(), x_2NK[0, small].double() @ x_2NK[1, small].double().T):
        return 0.0
    wide_RN, x_NK = torch.zeros(rows, count, dtype=torch.float64), x_2NK[0].float()
    c_RN = wide_RN.float()
    taken = _seconds(lambda: add_gram_rows(wide_RN, x_2NK))
    from streamspread.kernels import cpu  # which imports this file

    return _seconds(lambda: cpu.add_gram_rows(c_RN, x_NK)) / taken


def _seconds(call: Callable[[], Any]) -> float:
    """The shortest of four times on one thread, after one that is not counted."""
    threads = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        taken = []
        for _ in range(5):
            began = time.process_time()
            call()
            taken.append(time.process_time() - began)
    finally:
        torch.set_num_threads(threads[0])
        numba.set_num_threads(threads[1])
    return min(taken[1:])
