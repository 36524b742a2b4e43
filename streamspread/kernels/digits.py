"""Exact products of 16-bit integers on the CPU, by products of int8 matrices.

Staged values are two planes of int8, v = 256·h + l (:mod:`streamspread.kernels.integers`). They are taken
apart again, v = 128·a + b with a and b from −64 to 63, so that a + b is an int8 too. Then three products do,
after Karatsuba, where four were needed:

    v wᵀ = 2¹⁴·a aᵀ + 2⁷·(s sᵀ − a aᵀ − b bᵀ) + b bᵀ,    s = a + b.

Values beyond 14 bits are cut off there, and what was cut off is added in one by one. Where they are too many
for that, the planes themselves are multiplied, four products in one. Products of digits are exact in int32,
and float64 sums take them in exactly as long as none exceeds 2⁵³. So it is with all that is added on the way
to a sum where none on the diagonal ends above 2⁵¹: for x = y + r, of which y was left, x rᵀ, r yᵀ and y yᵀ
are each no larger (Cauchy and Schwarz). So no sum is ever rounded, and no order of adding makes a difference.

(Ozaki, Ogita, Oishi & Rump 2012, doi:10.1007/s11075-011-9478-1, split matrices so; on integers Ootomo, Ozaki
& Yokota 2024, doi:10.1177/10943420241239588; Karatsuba & Ofman 1962 multiply numbers of two digits.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import accumulate
from typing import Any

import numba
import numpy as np
import torch

from streamspread.kernels import DIGITS, HEIGHT, WIDTH, digit_terms, row_bytes
from streamspread.kernels.integers import flat
from streamspread.kernels.trial import seconds
from streamspread.system.switches import one_by_one

#: Values that two digits hold.
LEAST, MOST = -64 * 128 - 64, 63 * 128 + 63

_SQUARE = 256  # rows of a block of products on the diagonal
_TILE = 16  # rows of a block at a time: two cache lines, where they are copied to columns
#: Of values: what was cut off of so many takes a third of the time that the fourth product would.
MOST_CUT = 1 / 16_000
_TRIAL = (512, 1024, 1024)  # rows, order and terms of the update by which speed is measured


@numba.njit(inline="always")
def _held(high: Any, low: Any) -> Any:
    """A value, and what two digits hold of it."""
    value = np.int32(high) * np.int32(256) + np.int32(low)
    return value, min(max(value, np.int32(LEAST)), np.int32(MOST))


@numba.njit(parallel=True, cache=True)
def _split(high: Any, low: Any, stride: int, out: Any, shape: Any) -> Any:
    """How many values of each line were cut off. ``stride``: how far lines of planes are apart; ``out``: of
    three planes, a, s and b; ``shape``: lines, the length of one, and how far they are apart there."""
    lines, length, width = shape
    cut = np.zeros(lines, np.int64)
    for line in numba.prange(lines):
        high_M = high[line * stride : line * stride + length]
        low_M = low[line * stride : line * stride + length]
        a_M = out[line * width : line * width + length]
        s_M = out[(lines + line) * width : (lines + line) * width + length]
        b_M = out[(2 * lines + line) * width : (2 * lines + line) * width + length]
        beyond = np.int32(0)
        for m in range(length):
            value, held = _held(high_M[m], low_M[m])
            a = (held + np.int32(64)) >> np.int32(7)
            b = held - a * np.int32(128)
            a_M[m], s_M[m], b_M[m] = np.int8(a), np.int8(a + b), np.int8(b)
            beyond += np.int32(value != held)
        cut[line] = beyond
    return cut


@numba.njit(cache=True)
def _collect(high: Any, low: Any, stride: int, length: int, cut: Any) -> Any:
    """Lines, places in these and rests of the values that were cut off, as many of each as ``cut`` says."""
    count = cut.sum()
    lines, places, rests = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    found = 0
    for line in range(len(cut)):
        if cut[line]:
            for m in range(length):
                value, held = _held(high[line * stride + m], low[line * stride + m])
                if value != held:
                    lines[found], places[found], rests[found] = line, m, value - held
                    found += 1
    return lines, places, rests


@numba.njit(parallel=True, cache=True)
def _add_cut(c: Any, panel: Any, source: Any, turned: bool, cut: Any) -> None:
    """For x = y + r, of which y yᵀ is in: add x rᵀ and r yᵀ, a column and a row of c for each rest.
    ``turned``: a line is a term, of all rows."""
    (c_stride, first, end), (high, low, stride), (lines, places, rests) = panel, source, cut
    by_row, by_term = (1, stride) if turned else (stride, 1)
    rows, terms = (places, lines) if turned else (lines, places)
    for i in numba.prange(first, end):
        c_N = c[(i - first) * c_stride : (i - first) * c_stride + end]
        for each in range(len(rests)):
            n, term, rest = rows[each], terms[each] * by_term, np.float64(rests[each])
            if n < end:
                value, _ = _held(high[i * by_row + term], low[i * by_row + term])
                c_N[n] += rest * np.float64(value)
            if n == i:
                for j in range(end):
                    _, held = _held(high[j * by_row + term], low[j * by_row + term])
                    c_N[j] += rest * np.float64(held)


@numba.njit(nogil=True, cache=True)
def _add_three(c: Any, stride: int, block: int, mirror: int, products: Any) -> None:
    """Add a aᵀ, s sᵀ and b bᵀ, weighted, to a block of a matrix whose rows are ``stride`` numbers apart; the
    block begins at number ``block``, and its transpose is copied to number ``mirror`` and on, unless that is
    −1."""
    _, rows, columns = products.shape
    for part in range((rows + _TILE - 1) // _TILE):
        top, bottom = part * _TILE, min(rows, (part + 1) * _TILE)
        for i in range(top, bottom):
            c_C = c[block + i * stride : block + i * stride + columns]
            aa, ss, bb = products[0, i], products[1, i], products[2, i]
            for j in range(columns):
                high, low = np.int64(aa[j]), np.int64(bb[j])
                mixed = np.int64(ss[j]) - high - low
                c_C[j] += np.float64(high * 16384 + mixed * 128 + low)
        if mirror >= 0:
            _copy_turned(c, stride, block, mirror, (top, bottom, columns))


@numba.njit(nogil=True, cache=True)
def _add_four(c: Any, stride: int, block: int, mirror: int, products: Any) -> None:
    """The same of products of planes, high and low in turn in rows and columns."""
    rows, columns = len(products) // 2, products.shape[1] // 2
    for part in range((rows + _TILE - 1) // _TILE):
        top, bottom = part * _TILE, min(rows, (part + 1) * _TILE)
        for i in range(top, bottom):
            c_C = c[block + i * stride : block + i * stride + columns]
            high, low = products[2 * i], products[2 * i + 1]
            for j in range(columns):
                mixed = np.int64(high[2 * j + 1]) + np.int64(low[2 * j])
                c_C[j] += np.float64(np.int64(high[2 * j]) * 65536 + mixed * 256 + np.int64(low[2 * j + 1]))
        if mirror >= 0:
            _copy_turned(c, stride, block, mirror, (top, bottom, columns))


@numba.njit(inline="always")
def _copy_turned(c: Any, stride: int, block: int, mirror: int, part: Any) -> None:
    top, bottom, columns = part
    for j in range(columns):
        for i in range(top, bottom):
            c[mirror + j * stride + i] = c[block + i * stride + j]


def add_gram(
    panels: Iterable[tuple[int, int, torch.Tensor]],
    x_2NK: torch.Tensor,
    progress: Callable[[float], None] = lambda done: None,
) -> None:
    """``P += x xᵀ`` in place, for x = 256·x[0] + x[1], exactly.

    Args:
        panels: (first row, one past the last, panel), whose columns go from 0 to that: float64 integers,
            adjacent in a row. Columns from the first row on are symmetric.
        x_2NK: int8, in adjacent columns or adjacent rows.
        progress: is called with the share that is done.
    """
    held = [(flat(panel), (panel.stride(0), first, end)) for first, end, panel in panels]
    count, terms = max((end for _, (_, _, end) in held), default=0), x_2NK.shape[2]
    if not count:  # all panels are other ranks'
        return
    step = min(terms, digit_terms(count))
    memory = torch.empty(DIGITS * max(count * row_bytes(step), step * row_bytes(count)), dtype=torch.int8)
    blocks = [(panel, block) for panel in held for block in _blocks(*panel[1][1:])]
    numbers = 4 * min(count, HEIGHT) * min(count, WIDTH)  # of the products of a block
    memories = [torch.empty(numbers, dtype=torch.int32) for _ in range(torch.get_num_threads())]
    sizes = list(accumulate((bottom - top) * (right - left) for _, (top, bottom, left, right) in blocks))
    for begin in range(0, terms, step):
        part_2NT = x_2NK[:, :count, begin : begin + step]
        turned = part_2NT.shape[2] > 1 and part_2NT.stride(2) != 1
        lines_2LM = part_2NT.mT if turned else part_2NT
        if lines_2LM.shape[2] > 1 and lines_2LM.stride(2) != 1:
            lines_2LM = lines_2LM.contiguous()
        source = flat(lines_2LM[0]), flat(lines_2LM[1]), lines_2LM.stride(1)
        _, lines, length = lines_2LM.shape
        width = row_bytes(length)
        cut_L = _split(*source, memory.numpy(), (lines, length, width))
        few = cut_L.sum() <= MOST_CUT * lines * length
        if few:
            digits_3LM = memory[: 3 * lines * width].view(3, lines, width)[..., :length]
            add = partial(_add_threefold, digits_3LM.mT if turned else digits_3LM, memories)
        else:
            add = partial(_add_fourfold, _pairs(lines_2LM, turned, memory), memories)
        for added, _ in zip(sizes, one_by_one(add, blocks), strict=True):
            progress((begin + added / sizes[-1] * part_2NT.shape[2]) / terms)
        if few:
            cut = _collect(*source, length, cut_L)
            for panel in held:
                _add_cut(*panel, source, turned, cut)


def add_gram_rows(c_RN: torch.Tensor, x_2NK: torch.Tensor) -> None:
    """``c += (x xᵀ)[N − R:]`` in place: the last R rows of the Gram matrix, as :func:`add_gram`."""
    rows, count = c_RN.shape
    add_gram([(count - rows, count, c_RN)], x_2NK)


@functools.cache
def speed() -> float:
    """How many times as fast as float32 products this processor forms exact ones, measured once in some
    milliseconds on one thread; 0 where it cannot, or not exactly."""
    rows, count, terms = _TRIAL
    generator = torch.Generator().manual_seed(0)
    x_2NK = torch.randint(-128, 128, (count, 2, terms), dtype=torch.int8, generator=generator).transpose(0, 1)
    x_2NK[:, ::2, ::3], x_2NK[:, 1::2, ::3] = -128, 127  # extremes, at which some instructions saturate
    if not is_exact(*x_2NK[:, :32]):
        return 0.0
    x_2NK[0] >>= 3  # as values are as a rule: within two digits
    wide_RN, x_NK = torch.zeros(rows, count, dtype=torch.float64), x_2NK[0].float()
    c_RN = wide_RN.float()
    taken = seconds(lambda: add_gram_rows(wide_RN, x_2NK))
    from streamspread.kernels import cpu  # which imports this file

    return seconds(lambda: cpu.add_gram_rows(c_RN, x_NK)) / taken


def is_exact(a_BT: torch.Tensor, b_CT: torch.Tensor) -> bool:
    """Whether ``torch._int_mm`` is there and forms ``a @ bᵀ`` of these int8 matrices exactly."""
    try:
        product_BC = torch._int_mm(a_BT, b_CT.T)
    except (AttributeError, RuntimeError):  # a torch without it
        return False
    return torch.equal(product_BC.double(), a_BT.double() @ b_CT.double().T)


#: A panel's memory; how far its rows are apart, the first of them, and one past the last.
Panel = tuple[np.ndarray, tuple[int, int, int]]
Block = tuple[int, int, int, int]  # its first row and one past the last, and so its columns


def _add_threefold(
    digits_3NT: torch.Tensor, memories: list[torch.Tensor], where: tuple[Panel, Block]
) -> None:
    (c, (stride, first, _)), (top, bottom, left, right) = where
    memory = memories.pop()
    products = memory[: 3 * (bottom - top) * (right - left)].view(3, bottom - top, right - left)
    for product, digits_NT in zip(products, digits_3NT, strict=True):
        _multiply(product, digits_NT[top:bottom], digits_NT[left:right])
    _add_three(c, stride, *_places(first, stride, top, left), products.numpy())
    memories.append(memory)


def _add_fourfold(pairs_MT: torch.Tensor, memories: list[torch.Tensor], where: tuple[Panel, Block]) -> None:
    (c, (stride, first, _)), (top, bottom, left, right) = where
    memory, shape = memories.pop(), (2 * (bottom - top), 2 * (right - left))
    products = memory[: shape[0] * shape[1]].view(shape)
    _multiply(products, pairs_MT[2 * top : 2 * bottom], pairs_MT[2 * left : 2 * right])
    _add_four(c, stride, *_places(first, stride, top, left), products.numpy())
    memories.append(memory)


def _blocks(first: int, end: int) -> Iterator[Block]:
    """Blocks of rows of a symmetric matrix from number ``first`` on, but for what lies
    above the diagonal."""
    for top, bottom in _spans(first, end, HEIGHT):
        for left, right in _spans(0, first, WIDTH):
            yield top, bottom, left, right
    for top, bottom in _spans(first, end, _SQUARE):
        for left, right in (*_spans(first, top, WIDTH), (top, bottom)):
            yield top, bottom, left, right


def _places(first: int, stride: int, top: int, left: int) -> tuple[int, int]:
    """Numbers at which a block begins in the panel's memory, and its transpose, −1 for none."""
    mirror = (left - first) * stride + top if first <= left < top else -1
    return (top - first) * stride + left, mirror


def _spans(begin: int, end: int, size: int) -> list[tuple[int, int]]:
    return [(first, min(end, first + size)) for first in range(begin, end, size)]


def _multiply(out_BC: torch.Tensor, a_BT: torch.Tensor, b_CT: torch.Tensor) -> None:
    """``out = a @ bᵀ``. Single rows and columns may have any stride; torch 2.13 takes it for a distance, and
    then leaves the result as it was (https://github.com/pytorch/pytorch/issues/195066)."""
    if 1 in (*a_BT.shape, *b_CT.shape):
        torch.matmul(a_BT.int(), b_CT.int().T, out=out_BC)
    else:
        torch._int_mm(a_BT, b_CT.T, out=out_BC)


def _pairs(lines_2LM: torch.Tensor, turned: bool, memory: torch.Tensor) -> torch.Tensor:
    """(2·N, T): high and low of each row as one matrix, in that memory. ``turned``: lines are terms."""
    _, lines, length = lines_2LM.shape
    if turned:
        pairs_LM2 = memory[: 2 * lines * length].view(lines, length, 2).copy_(lines_2LM.permute(1, 2, 0))
        return pairs_LM2.flatten(1).T
    width = row_bytes(length)
    pairs_L2M = memory[: 2 * lines * width].view(lines, 2, width)[..., :length]
    pairs_L2M.copy_(lines_2LM.transpose(0, 1))
    return pairs_L2M.as_strided((2 * lines, length), (width, 1))
