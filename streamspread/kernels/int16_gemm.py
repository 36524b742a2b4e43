"""Exact products of 16-bit integers on the CPU, by instructions that multiply two of them at a time and add
the products in int32 (:mod:`streamspread.kernels.int16_microkernel`).

Sums in int32 are exact as long as none is beyond 2³¹. By Cauchy and Schwarz none is, over any terms, where
the product of both rows' sums of squares over these is below 2⁶². So each row's squares are summed for every
few terms, and a tile sums as many terms as that allows, adds its sums to int64, and begins anew. Values whose
root mean square is some hundred, as they are staged, go for thousands of terms.

Of a symmetric matrix what lies above the diagonal is copied. float64 sums take integers in exactly up to 2⁵³,
so no sum is ever rounded, and no order of adding makes a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from streamspread.kernels.formats import BLOCK, contiguous_lines, digit_terms, flat_view
from streamspread.kernels.int16_microkernel import (
    CHUNK,
    LANES,
    SIDE,
    TILE,
    add_block,
    pack_columns,
    pack_rows,
)
from streamspread.system.threads import Spare, one_by_one


def add_gram(
    panels: Iterable[tuple[int, int, torch.Tensor]],
    x_NK: torch.Tensor,
    progress: Callable[[float], None] = lambda done: None,
) -> None:
    """``P += x xᵀ`` in place, exactly.

    Args:
        panels: (first row, one past the last, panel), whose columns go from 0 to that: float64 integers,
            adjacent in a row. Columns from the first row on are symmetric.
        x_NK: int16, none larger than :data:`streamspread.kernels.formats.INT16_LIMIT`, in adjacent columns
            or adjacent rows.
        progress: is called with the share that is done.
    """
    held = [(flat_view(panel), (panel.stride(0), first), end) for first, end, panel in panels]
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
    spare = _spare()
    for begin in range(0, terms, step):
        packed, squares = _packed([x_NK[:count, begin : begin + step]], memory, width)
        add = partial(_add, packed, squares, spare, begin + step >= terms)
        for added, _ in zip(sizes, one_by_one(add, blocks), strict=True):
            progress((begin + added / sizes[-1] * min(step, terms - begin)) / terms)


def add_product(c_MN: torch.Tensor, a_MK: torch.Tensor, b_NK: torch.Tensor) -> None:
    """``c += a bᵀ`` in place, exactly: of float64 integers, adjacent in a row, and int16 as :func:`add_gram`
    takes it. It is a part of the Gram matrix of b's rows and a's below them."""
    (rows, terms), count = a_MK.shape, b_NK.shape[0]
    if not (rows and count and terms):
        return
    above = -(-count // LANES)  # panels
    first = above * LANES
    blocks = [
        (
            flat_view(c_MN),
            (c_MN.stride(0), first),
            (top, min(first + rows, top + BLOCK), left, min(count, left + BLOCK)),
        )
        for left in range(0, count, BLOCK)
        for top in range(first, first + rows, BLOCK)
    ]
    step = min(terms, digit_terms(first + rows))
    width = above + -(-rows // LANES) + SIDE - 1
    memory = np.empty(width * LANES * -(-step // 2), np.int32)
    spare = _spare()
    for begin in range(0, terms, step):
        parts = [x[:, begin : begin + step] for x in (b_NK, a_MK)]
        for _ in one_by_one(partial(_add, *_packed(parts, memory, width), spare, False), blocks):
            pass


def _spare() -> Spare[np.ndarray]:
    """Memory for a block's sums, for each thread."""
    return Spare(lambda: np.empty((BLOCK + TILE) * (BLOCK + SIDE * LANES), np.int64))


def _packed(
    parts: Sequence[torch.Tensor], memory: np.ndarray, width: int
) -> tuple[tuple[np.ndarray, int], np.ndarray]:
    """Panels with the pairs of each, and squares; each part of the rows begins a panel."""
    terms = parts[0].shape[1]
    pairs = -(-terms // 2)
    squares = np.zeros((width, -(-pairs // CHUNK)), np.int64)
    panel = 0
    for x_NT in parts:
        lines, turned = contiguous_lines(x_NT)
        pack = pack_columns if turned else pack_rows
        shape = (len(x_NT), terms, pairs)
        pack(flat_view(lines), lines.stride(0), shape, memory[panel * LANES * pairs :], squares[panel:])
        panel += -(-len(x_NT) // LANES)
    return (memory, pairs), squares


def _add(packed: Any, squares: Any, spare: Spare[np.ndarray], last: bool, where: Any) -> None:
    c, panel, block = where
    with spare.one() as memory:
        add_block(c, panel, block, packed, squares, memory, last)
