"""Exact products of 16-bit integers on the CPU, by products of int8 matrices.

Values are taken apart, v = 128·a + b with a and b from −64 to 63, so that a + b is an int8 too. Then three
products do, after Karatsuba, where four were needed:

    v wᵀ = 2¹⁴·a aᵀ + 2⁷·(s sᵀ − a aᵀ − b bᵀ) + b bᵀ,    s = a + b.

Values beyond 14 bits are cut off there, and what was cut off is added in one by one; where they are too many
for that, :mod:`streamspread.kernels.int16_gemm` does it all. Products of digits are exact in int32, and
float64 sums take them in exactly as long as none exceeds 2⁵³. So it is with all that is added on the way
to a sum where none on the diagonal ends above 2⁵¹: for x = y + r, of which y was left, x rᵀ, r yᵀ and y yᵀ
are each no larger (Cauchy and Schwarz). So no sum is ever rounded, and no order of adding makes a difference.

(Ozaki, Ogita, Oishi & Rump 2012, doi:10.1007/s11075-011-9478-1, split matrices so; on integers Ootomo, Ozaki
& Yokota 2024, doi:10.1177/10943420241239588; Karatsuba & Ofman 1962 multiply numbers of two digits.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import accumulate
from typing import Any

import numba
import numpy as np
import torch

from streamspread.kernels import int16_gemm
from streamspread.kernels.formats import (
    DIGITS,
    HEIGHT,
    WIDTH,
    contiguous_lines,
    digit_terms,
    flat_view,
    row_bytes,
)
from streamspread.system.threads import Spare, one_by_one

#: Values that two digits hold.
LEAST, MOST = -64 * 128 - 64, 63 * 128 + 63

_SQUARE = 256  # rows of a block of products on the diagonal
_TILE = 16  # rows of a block at a time: two cache lines, where they are copied to columns
#: Of values: what was cut off of so many takes a third of a product's time.
MOST_CUT = 1 / 16_000


@numba.njit(inline="always")
def _held(number: Any) -> Any:
    """A value, and what two digits hold of it."""
    value = np.int32(number)
    return value, min(max(value, np.int32(LEAST)), np.int32(MOST))


@numba.njit(parallel=True, cache=True)
def _split(x: Any, stride: int, out: Any, shape: Any) -> Any:
    """How many values of each line were cut off. ``stride``: how far lines are apart; ``out``: memory of
    three planes, a, s and b; ``shape``: lines, the length of one, and how far they are apart there."""
    lines, length, width = shape
    cut = np.zeros(lines, np.int64)
    for line in numba.prange(lines):
        x_M = x[line * stride : line * stride + length]
        a_M = out[line * width : line * width + length]
        s_M = out[(lines + line) * width : (lines + line) * width + length]
        b_M = out[(2 * lines + line) * width : (2 * lines + line) * width + length]
        beyond = np.int32(0)
        for m in range(length):
            value, held = _held(x_M[m])
            a = (held + np.int32(64)) >> np.int32(7)
            b = held - a * np.int32(128)
            a_M[m], s_M[m], b_M[m] = np.int8(a), np.int8(a + b), np.int8(b)
            beyond += np.int32(value != held)
        cut[line] = beyond
    return cut


@numba.njit(cache=True)
def _collect(x: Any, stride: int, length: int, cut: Any) -> Any:
    """Lines, places in these and rests of the values that were cut off, as many of each as ``cut`` says."""
    count = cut.sum()
    lines, places, rests = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    found = 0
    for line in range(len(cut)):
        if cut[line]:
            for m in range(length):
                value, held = _held(x[line * stride + m])
                if value != held:
                    lines[found], places[found], rests[found] = line, m, value - held
                    found += 1
    return lines, places, rests


@numba.njit(parallel=True, cache=True)
def _add_cut(c: Any, panel: Any, source: Any, turned: bool, cut: Any) -> None:
    """For x = y + r, of which y yᵀ is in: add x rᵀ and r yᵀ, a column and a row of c for each rest.
    ``turned``: a line is a term, of all rows."""
    (c_stride, first, end), (x, stride), (lines, places, rests) = panel, source, cut
    by_row, by_term = (1, stride) if turned else (stride, 1)
    rows, terms = (places, lines) if turned else (lines, places)
    for i in numba.prange(first, end):
        c_N = c[(i - first) * c_stride : (i - first) * c_stride + end]
        for each in range(len(rests)):
            n, term, rest = rows[each], terms[each] * by_term, np.float64(rests[each])
            if n < end:
                value, _ = _held(x[i * by_row + term])
                c_N[n] += rest * np.float64(value)
            if n == i:
                for j in range(end):
                    _, held = _held(x[j * by_row + term])
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


@numba.njit(inline="always")
def _copy_turned(c: Any, stride: int, block: int, mirror: int, part: Any) -> None:
    top, bottom, columns = part
    for j in range(columns):
        for i in range(top, bottom):
            c[mirror + j * stride + i] = c[block + i * stride + j]


def add_gram(
    panels: Iterable[tuple[int, int, torch.Tensor]],
    x_NK: torch.Tensor,
    progress: Callable[[float], None] = lambda done: None,
) -> None:
    """``P += x xᵀ`` in place, exactly: as :func:`streamspread.kernels.int16_gemm.add_gram`, which see."""
    panels = list(panels)
    held = [(flat_view(panel), (panel.stride(0), first, end)) for first, end, panel in panels]
    count, terms = max((end for _, (_, _, end) in held), default=0), x_NK.shape[1]
    if not count:  # all panels are other ranks'
        return
    step = min(terms, digit_terms(count))
    size, memory = DIGITS * max(count * row_bytes(step), step * row_bytes(count)), None
    blocks = [(panel, block) for panel in held for block in _blocks(*panel[1][1:])]
    numbers = DIGITS * min(count, HEIGHT) * min(count, WIDTH)  # of the products of a block
    spare = Spare(lambda: torch.empty(numbers, dtype=torch.int32))
    sizes = list(accumulate((bottom - top) * (right - left) for _, (top, bottom, left, right) in blocks))
    for begin in range(0, terms, step):
        part_NT = x_NK[:count, begin : begin + step]
        lines_LM, turned = contiguous_lines(part_NT)
        source = flat_view(lines_LM), lines_LM.stride(0)
        lines, length = lines_LM.shape
        width = row_bytes(length)
        memory = torch.empty(size, dtype=torch.int8) if memory is None else memory
        cut_L = _split(*source, memory.numpy(), (lines, length, width))
        if cut_L.sum() > MOST_CUT * lines * length:
            memory = None  # before they have memory of their own
            int16_gemm.add_gram(panels, part_NT)
            progress(min(1.0, (begin + step) / terms))
            continue
        digits_3LM = memory[: DIGITS * lines * width].view(DIGITS, lines, width)[..., :length]
        add = partial(_add, digits_3LM.mT if turned else digits_3LM, spare)
        for added, _ in zip(sizes, one_by_one(add, blocks), strict=True):
            progress((begin + added / sizes[-1] * part_NT.shape[1]) / terms)
        del add, digits_3LM  # which hold the memory too
        cut = _collect(*source, length, cut_L)
        for panel in held:
            _add_cut(*panel, source, turned, cut)


def are_exact() -> bool:
    """Whether int8 matrices are multiplied exactly, also at extremes, at which some instructions saturate."""
    generator = torch.Generator().manual_seed(0)
    x_2NK = torch.randint(-128, 128, (2, 32, 1024), dtype=torch.int8, generator=generator)
    x_2NK[:, ::2, ::3], x_2NK[:, 1::2, ::3] = -128, 127
    return is_exact(*x_2NK)


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


def _add(digits_3NT: torch.Tensor, spare: Spare[torch.Tensor], where: tuple[Panel, Block]) -> None:
    (c, (stride, first, _)), (top, bottom, left, right) = where
    with spare.one() as memory:
        products = memory[: DIGITS * (bottom - top) * (right - left)].view(DIGITS, bottom - top, right - left)
        for product, digits_NT in zip(products, digits_3NT, strict=True):
            _multiply(product, digits_NT[top:bottom], digits_NT[left:right])
        _add_three(c, stride, *_places(first, stride, top, left), products.numpy())


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
