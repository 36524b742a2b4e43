"""The compiled loops of :mod:`streamspread.kernels.int16_gemm`: exact products of 16-bit integers, the
innermost loop in instructions that Numba's Python has no words for. All of it is in one file: Numba's cache
does not see when others change.

Processors of the x86 family multiply 16-bit integers and add the products of neighbours in int32, exactly,
by one instruction: ``vpmaddwd`` of SSE2, AVX2 and AVX-512, or ``vpdpwssd`` of VNNI, which adds them to a sum
too. LLVM finds them in what is written here, and takes what other processors have.

Rows lie in *panels*: of as many rows as a register has lanes, a pair of neighbouring terms of each, and then
the next pair. A *tile* of sums has some rows of one panel, and all of those of ``SIDE`` panels as columns, so
that it stays in registers.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")  # for which Numba makes code

#: Rows of a panel, rows of a tile, and panels that are its columns.
LANES = 16 if "+avx512bw" in _FEATURES else 8 if "+avx2" in _FEATURES else 4
TILE = max(4, LANES // 2)
SIDE = 3

#: Pairs of terms whose squares are summed at a time.
CHUNK = 32

_STRIP = 8  # chunks that all tiles of a block go through before the next: they stay in the cache
_MOST = 2.0**62 * (1 - 2.0**-20)  # of the product of two rows' sums of squares
_SQUARE = 16  # rows and columns that are added at a time: two cache lines, where they are copied to columns

_LONG, _SHORT = ir.IntType(64), ir.IntType(16)
_INT = ir.IntType(32)
_SUMS, _PAIRS = ir.VectorType(_INT, LANES), ir.VectorType(_SHORT, 2 * LANES)
_ANY = ir.Constant(_SUMS, ir.Undefined)


@intrinsic
def _add_tile(context: Any, x: Any, where: Any, pairs: Any, out: Any, place: Any, width: Any) -> Any:
    signature = types.void(x, where, pairs, out, place, width)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, where, pairs, out, place, width = arguments
        row, column, apart = cgutils.unpack_tuple(builder, where)
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, x).data
        held = cgutils.create_struct_proxy(signature.args[3])(context, builder, out).data
        sums = [[cgutils.alloca_once(builder, _SUMS) for _ in range(SIDE)] for _ in range(TILE)]
        for each in (each for of_row in sums for each in of_row):
            builder.store(ir.Constant(_SUMS, [0] * LANES), each)
        rows = builder.gep(data, [row])
        columns = [builder.gep(data, [_number(builder, column, each, apart)]) for each in range(SIDE)]
        with cgutils.for_range(builder, pairs) as loop:
            at = builder.mul(loop.index, _LONG(LANES))
            right = [_load(builder, builder.gep(panel, [at]), _PAIRS, 4) for panel in columns]
            for number, of_row in enumerate(sums):
                pair = builder.load(builder.gep(rows, [builder.add(at, _LONG(number))]))
                left = _in_all_lanes(builder, pair)
                for each, pairs_L in zip(of_row, right, strict=True):
                    added = builder.add(builder.load(each), _products(builder, left, pairs_L))
                    builder.store(added, each)
        for number, of_row in enumerate(sums):
            begin = builder.gep(held, [_number(builder, place, number, width)])
            for panel, each in enumerate(of_row):
                _add_to(builder, builder.gep(begin, [_LONG(panel * LANES)]), builder.load(each))
        return context.get_dummy_value()

    return signature, generate


#: ``add_tile(x, (row, column, apart), pairs, out, place, width)``, in compiled functions: add the products of
#: so many pairs, whose sums must be within int32, to a tile of ``out``.
#:
#: x: int32, each a pair, of panels that are ``apart`` numbers apart: the tile's first row begins at number
#: ``row``, its first panel of columns at number ``column``. out: int64; the tile begins at number ``place``,
#: and its rows are ``width`` numbers apart.
add_tile: Any = _add_tile


def _number(builder: Any, begin: Any, count: int, apart: Any) -> Any:
    return builder.add(begin, builder.mul(apart, _LONG(count)))


def _load(builder: Any, place: Any, kind: Any, align: int) -> Any:
    """A register full of numbers, which lie at a multiple of so many bytes."""
    loaded = builder.load(builder.bitcast(place, kind.as_pointer()))
    loaded.align = align
    return loaded


def _in_all_lanes(builder: Any, pair: Any) -> Any:
    alone = builder.insert_element(_ANY, pair, _INT(0))
    lanes = ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES)
    return builder.bitcast(builder.shuffle_vector(alone, _ANY, lanes), _PAIRS)


def _products(builder: Any, a: Any, b: Any) -> Any:
    """Of each pair the sum of its two products."""
    wide = ir.VectorType(_INT, 2 * LANES)
    products = builder.mul(builder.sext(a, wide), builder.sext(b, wide))
    of_pairs = (ir.Constant(_SUMS, list(range(first, 2 * LANES, 2))) for first in (0, 1))
    one, other = (builder.shuffle_vector(products, products, lanes) for lanes in of_pairs)
    return builder.add(one, other)


def _add_to(builder: Any, place: Any, sums: Any) -> None:
    kind = ir.VectorType(_LONG, LANES)
    after = builder.add(_load(builder, place, kind, 8), builder.sext(sums, kind))
    builder.store(after, builder.bitcast(place, kind.as_pointer())).align = 8


@numba.njit(inline="always")
def _pair(first: Any, second: Any) -> Any:
    return np.int32(np.uint32(np.uint16(first)) | (np.uint32(np.uint16(second)) << np.uint32(16)))


@numba.njit(parallel=True, cache=True)
def pack_rows(x: Any, stride: int, shape: Any, out: Any, squares: Any) -> None:
    """Copy rows to panels, and sum their squares. ``stride``: how far rows are apart; ``shape``: rows, terms,
    and pairs of a panel; ``squares``: (panels, chunks), of the row for which they are the most."""
    rows, terms, pairs = shape
    for panel in numba.prange((rows + LANES - 1) // LANES):
        for chunk in range(squares.shape[1]):
            begin, end = chunk * CHUNK, min(pairs, (chunk + 1) * CHUNK)
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
def pack_columns(x: Any, stride: int, shape: Any, out: Any, squares: Any) -> None:
    """The same of a matrix whose terms are ``stride`` numbers apart, and rows adjacent."""
    rows, terms, pairs = shape
    for chunk in numba.prange(squares.shape[1]):
        begin, end = chunk * CHUNK, min(pairs, (chunk + 1) * CHUNK)
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
            squares[panel, chunk] = np.max(total_L)


@numba.njit(nogil=True, cache=True)
def add_block(c: Any, panel: Any, block: Any, packed: Any, squares: Any, held: Any, last: bool) -> None:
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
        at, stop, step = start * CHUNK, min(pairs, chunk * CHUNK), pairs
        if chunk == start:  # not even one: two products at a time have room, whatever they are
            chunk += 1
            stop, step = min(pairs, chunk * CHUNK), 1
        while at < stop:
            count = min(step, stop - at)
            begin = at * LANES
            add_tile(x, (row + begin, column + begin, pairs * LANES), count, held, place, width)
            at += count
