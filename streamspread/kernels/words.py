"""Exact products of 16-bit integers on the CPU, by instructions that multiply two of them at a time and add
the products in int32 (:mod:`streamspread.kernels.pairs`).

Sums in int32 are exact as long as none is beyond 2³¹. By Cauchy and Schwarz none is, over any terms, where
the product of both rows' sums of squares over these is below 2⁶². So each row's squares are summed for every
few terms, and a tile sums as many terms as that allows, adds its sums to int64, and begins anew. Values whose
root mean square is some hundred, as they are staged, go for thousands of terms.

Of a symmetric matrix what lies above the diagonal is copied. float64 sums take integers in exactly up to 2⁵³,
so no sum is ever rounded, and no order of adding makes a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import accumulate
from typing import Any

import numba
import numpy as np
import torch

from streamspread.kernels import BLOCK, digit_terms
from streamspread.kernels.integers import flat, lying_in_lines
from streamspread.kernels.pairs import LANES, SIDE, TILE, add_tile
from streamspread.system.switches import one_by_one

_CHUNK = 32  # pairs of terms whose squares are summed at a time
_STRIP = 8  # chunks that all tiles of a block go through before the next: they stay in the cache
_MOST = 2.0**62 * (1 - 2.0**-20)  # of the product of two rows' sums of squares
_SQUARE = 16  # rows and columns that are added at a time: two cache lines, where they are copied to columns


@numba.njit(inline="always")
def _pair(first: Any, second: Any) -> Any:
    return np.int32(np.uint32(np.uint16(first)) | (np.uint32(np.uint16(second)) << np.uint32(16)))


@numba.njit(parallel=True, cache=True)
def _pack_rows(x: Any, stride: int, shape: Any, out: Any, squares: Any) -> None:
    """Copy rows to panels, and sum their squares. ``stride``: how far rows are apart; ``shape``: rows, terms,
    and pairs of a panel; ``squares``: (panels, chunks), of the row for which they are the most."""
    rows, terms, pairs = shape
    for panel in numba.prange((rows + LANES - 1) // LANES):
        for chunk in range(squares.shape[1]):
            begin, end = chunk * _CHUNK, min(pairs, (chunk + 1) * _CHUNK)
            most = np.int64(0)
            for lane in range(min(LANES, rows - panel * LANES)):
                start = (panel * LANES + lane) * stride + 2 * begin
                x_T = x[start : start + min(2 * (end - begin), terms - 2 * begin)]
                out_P = out[(panel * pairs + begin) * LANES + lane : (panel * pairs + end) * LANES]
                total = np.int64(0)
                for p in range(len(x_T) // 2):
                    out_P[p * LANES] = _pair(x_T[2 * p], x_T[2 * p + 1])
                if len(x_T) % 2:
                    out_P[len(x_T) // 2 * LANES] = _pair(x_T[len(x_T) - 1], np.int16(0))
                for t in range(len(x_T)):
                    total += np.int64(np.int32(x_T[t]) * np.int32(x_T[t]))
                most = max(most, total)
            squares[panel, chunk] = most


@numba.njit(parallel=True, cache=True)
def _pack_columns(x: Any, stride: int, shape: Any, out: Any, squares: Any) -> None:
    """The same of a matrix whose terms are ``stride`` numbers apart, and rows adjacent."""
    rows, terms, pairs = shape
    for chunk in numba.prange(squares.shape[1]):
        begin, end = chunk * _CHUNK, min(pairs, (chunk + 1) * _CHUNK)
        for panel in range((rows + LANES - 1) // LANES):
            lanes = min(LANES, rows - panel * LANES)
            total_L = np.zeros(LANES, np.int64)
            for p in range(begin, end):
                start = 2 * p * stride + panel * LANES
                first_L = x[start : start + lanes]
                out_L = out[(panel * pairs + p) * LANES : (panel * pairs + p) * LANES + lanes]
                if 2 * p + 1 < terms:
                    second_L = x[start + stride : start + stride + lanes]
                    for lane in range(lanes):
                        one, other = np.int32(first_L[lane]), np.int32(second_L[lane])
                        out_L[lane] = _pair(first_L[lane], second_L[lane])
                        total_L[lane] += np.int64(one * one) + np.int64(other * other)
                else:
                    for lane in range(lanes):
                        one = np.int32(first_L[lane])
                        out_L[lane] = _pair(first_L[lane], np.int16(0))
                        total_L[lane] += np.int64(one * one)
            squares[panel, chunk] = total_L.max()


@numba.njit(nogil=True, cache=True)
def _add_block(c: Any, panel: Any, block: Any, packed: Any, squares: Any, held: Any, last: bool) -> None:
    """Add products to what lies in a block, on the diagonal and below it.

    ``panel``: how far rows of c are apart, and its first row; ``block``: the first row and one past the last,
    and so columns; ``packed``: the panels, and pairs of each; ``held``: memory for the block's sums.
    ``last``: copy what is above the diagonal.
    """
    (stride, first), (top, bottom, left, right), (x, pairs) = panel, block, packed
    low, begin = top // TILE * TILE, left // LANES * LANES
    width = (right - begin + SIDE * LANES - 1) // (SIDE * LANES) * (SIDE * LANES)
    held[: (bottom - low + TILE - 1) // TILE * TILE * width] = 0
    chunks = squares.shape[1]
    for strip in range(0, chunks, _STRIP):
        end = min(chunks, strip + _STRIP)
        for j in range(begin, right, SIDE * LANES):
            for i in range(low, bottom, TILE):
                if i + TILE > j:  # else it lies above the diagonal
                    place = (i - low) * width + j - begin
                    _go_through(x, pairs, squares, (i, j), (strip, end), held, place, width)
    for i_0 in range(top, bottom, _SQUARE):
        for j_0 in range(left, min(right, i_0 + _SQUARE), _SQUARE):
            i_1, j_1 = min(bottom, i_0 + _SQUARE), min(right, j_0 + _SQUARE)
            for i in range(i_0, i_1):
                end = min(j_1, i + 1)
                c_C = c[(i - first) * stride + j_0 : (i - first) * stride + end]
                held_C = held[(i - low) * width + j_0 - begin : (i - low) * width + end - begin]
                for j in range(end - j_0):
                    c_C[j] += np.float64(held_C[j])
            if last:
                for j in range(max(first, j_0), j_1):
                    for i in range(max(i_0, j + 1), i_1):
                        c[(j - first) * stride + i] = c[(i - first) * stride + j]


@numba.njit(inline="always")
def _go_through(
    x: Any, pairs: int, squares: Any, tile: Any, span: Any, held: Any, place: int, width: int
) -> None:
    """Add the products of a tile over some chunks, as many at a time as int32 has room for."""
    (i, j), (chunk, end) = tile, span
    of_rows, of_columns = i // LANES, j // LANES
    row, column = of_rows * pairs * LANES + i % LANES, of_columns * pairs * LANES
    while chunk < end:
        start, mine, others = chunk, np.int64(0), np.int64(0)
        while chunk < end:
            mine += squares[of_rows, chunk]
            most = np.int64(0)
            for side in range(SIDE):
                most = max(most, squares[of_columns + side, chunk])
            others += most
            if np.float64(mine) * np.float64(others) >= _MOST:
                break
            chunk += 1
        at, stop, step = start * _CHUNK, min(pairs, chunk * _CHUNK), pairs
        if chunk == start:  # not even one: two products at a time have room, whatever they are
            chunk += 1
            stop, step = min(pairs, chunk * _CHUNK), 1
        while at < stop:
            count = min(step, stop - at)
            begin = at * LANES
            add_tile(x, (row + begin, column + begin, pairs * LANES), count, held, place, width)
            at += count


def add_gram(
    panels: Iterable[tuple[int, int, torch.Tensor]],
    x_NK: torch.Tensor,
    progress: Callable[[float], None] = lambda done: None,
) -> None:
    """``P += x xᵀ`` in place, exactly.

    Args:
        panels: (first row, one past the last, panel), whose columns go from 0 to that: float64 integers,
            adjacent in a row. Columns from the first row on are symmetric.
        x_NK: int16, none larger than :data:`streamspread.kernels.integers.LARGEST_VALUE`, in adjacent columns
            or adjacent rows.
        progress: is called with the share that is done.
    """
    held = [(flat(panel), (panel.stride(0), first), end) for first, end, panel in panels]
    count, terms = max((end for *_, end in held), default=0), x_NK.shape[1]
    if not count:  # all panels are other ranks'
        return
    blocks = [
        (c, where, (top, min(end, top + BLOCK), left, min(end, top + BLOCK, left + BLOCK)))
        for c, where, end in held
        for top in range(where[1], end, BLOCK)
        for left in range(0, min(end, top + BLOCK), BLOCK)
    ]
    sizes = list(accumulate((bottom - top) * (right - left) for *_, (top, bottom, left, right) in blocks))
    step = min(terms, digit_terms(count))
    width = -(-count // LANES) + SIDE - 1  # panels, the last of which a tile may read and does not use
    memory = np.empty(width * LANES * -(-step // 2), np.int32)
    memories = [
        np.empty((BLOCK + TILE) * (BLOCK + SIDE * LANES), np.int64) for _ in range(torch.get_num_threads())
    ]
    for begin in range(0, terms, step):
        packed, squares = _packed(x_NK[:count, begin : begin + step], memory, width)
        add = partial(_add, packed, squares, memories, begin + step >= terms)
        for added, _ in zip(sizes, one_by_one(add, blocks), strict=True):
            progress((begin + added / sizes[-1] * min(step, terms - begin)) / terms)


def _packed(x_NT: torch.Tensor, memory: np.ndarray, width: int) -> tuple[tuple[np.ndarray, int], np.ndarray]:
    """Panels with the pairs of each, and squares."""
    rows, terms = x_NT.shape
    pairs = -(-terms // 2)
    squares = np.zeros((width, -(-pairs // _CHUNK)), np.int64)
    lines, turned = lying_in_lines(x_NT)
    pack = _pack_columns if turned else _pack_rows
    pack(flat(lines), lines.stride(0), (rows, terms, pairs), memory, squares)
    return (memory, pairs), squares


def _add(packed: Any, squares: Any, memories: list[np.ndarray], last: bool, where: Any) -> None:
    memory = memories.pop()
    c, panel, block = where
    _add_block(c, panel, block, packed, squares, memory, last)
    memories.append(memory)
