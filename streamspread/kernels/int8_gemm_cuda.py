"""Exact products of 16-bit integers by torch alone, for CUDA; the arithmetic is that of
:mod:`streamspread.kernels.int8_gemm`.

On a card ``torch._int_mm`` is cuBLASLt's. It takes more than 16 rows, and multiples of 8 columns and terms
(``_int_mm_out_cuda`` in torch's ``aten/src/ATen/native/cuda/Blas.cpp``), and int8 is best off where terms are
adjacent in both factors. So planes lie that way, with zeros and unused rows around them, and rows begin at
cache lines. Blocks on the diagonal are formed whole. It has not been run on a card.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator

import torch

from streamspread.kernels import formats, int8_gemm
from streamspread.kernels.formats import PAD, digit_terms
from streamspread.kernels.int8_gemm import LEAST, MOST

#: Products of planes: which stand on either side, and the weight with which each is added. Three of the
#: digits a and b and their sum s, v vᵀ = (2¹⁴ − 2⁷)·a aᵀ + 2⁷·s sᵀ + (1 − 2⁷)·b bᵀ; or four of the halves.
_THREE = ((0, 0, 16256), (1, 1, 128), (2, 2, -127))
_FOUR = ((0, 0, 65536), (0, 1, 256), (1, 0, 256), (1, 1, 1))

Panel = tuple[int, int, torch.Tensor]


def add_gram(
    panels: Iterable[Panel], x_NK: torch.Tensor, progress: Callable[[float], None] = lambda done: None
) -> None:
    """``P += x xᵀ`` in place, exactly; as :func:`streamspread.kernels.int8_gemm.add_gram`, but for int16 in
    any layout. Waits for the device twice or so for some thousand terms: how values are taken apart depends
    on them."""
    held = list(panels)
    count, terms = max((end for _, end, _ in held), default=0), x_NK.shape[1]
    if not count:  # all panels are other ranks'
        return
    step = min(terms, digit_terms(count, formats.CARD_DIGIT_BYTES))
    for begin in range(0, terms, step):
        part_NT = x_NK[:count, begin : begin + step]
        planes_PNT, beyond = _digits(part_NT)
        few = beyond <= int8_gemm.MOST_CUT * part_NT.numel()
        if not few:
            del planes_PNT  # before there are others
            planes_PNT = _halves(part_NT)
        for panel in held:
            _add_products(panel, planes_PNT, _THREE if few else _FOUR)
        if few and beyond:
            cut = _collect(part_NT)
            for panel in held:
                _add_cut(panel, part_NT, *cut)
        progress(min(1.0, (begin + step) / terms))


def add_gram_rows(c_RN: torch.Tensor, x_NK: torch.Tensor) -> None:
    """``c += (x xᵀ)[N − R:]`` in place: the last R rows of the Gram matrix, as :func:`add_gram`."""
    rows, count = c_RN.shape
    add_gram([(count - rows, count, c_RN)], x_NK)


def add_weighted(weighted_D: torch.Tensor, x_ND: torch.Tensor) -> torch.Tensor:
    """``weighted += Σ‖x‖²·x`` in place over staged rows x; returns ‖x‖² of each, (N,) float64, exactly."""
    squares_N = torch.empty(len(x_ND), dtype=torch.float64, device=x_ND.device)
    for some in _parts(*x_ND.shape):
        x_SD = x_ND[some].double()
        squares_N[some] = x_SD.square().sum(1)
        weighted_D += squares_N[some] @ x_SD
    return squares_N


@functools.cache
def exact_on(device: torch.device) -> bool:
    """Whether the device multiplies int8 matrices exactly, at extremes and in sums as long as they get."""
    generator = torch.Generator().manual_seed(0)
    planes = torch.randint(-128, 128, (2, 2 * PAD, digit_terms(1)), dtype=torch.int8, generator=generator)
    planes[:, 0], planes[:, 1], planes[0, 2], planes[1, 2] = -128, 127, -128, 127
    try:
        a_BT, b_CT = planes.to(device)
    except (AssertionError, RuntimeError):  # no such device, or no CUDA in this torch
        return False
    return int8_gemm.is_exact(a_BT, b_CT)


def _parts(lines: int, length: int) -> Iterator[slice]:
    """So many lines at a time as torch makes of them in one go."""
    height = max(1, formats.CARD_NUMBERS // length)
    return (slice(begin, min(lines, begin + height)) for begin in range(0, lines, height))


def _whole(x_NT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values as int32, and what two digits hold of them."""
    value = x_NT.int()
    return value, value.clamp(LEAST, MOST)


def _empty(planes: int, like_NT: torch.Tensor) -> torch.Tensor:
    """Planes for those values, (planes, more than N, T or more), 0 in all terms that are not theirs."""
    rows, terms = like_NT.shape
    width = _padded(terms, 4 * PAD)
    made = torch.empty(planes, _padded(rows, PAD) + PAD, width, dtype=torch.int8, device=like_NT.device)
    made[..., terms:] = 0
    return made


def _digits(part_NT: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Planes of the digits a, their sums s, and b; and how many values were cut off."""
    rows, terms = part_NT.shape
    planes = _empty(3, part_NT)
    beyond = torch.zeros((), dtype=torch.int64, device=part_NT.device)
    for some in _parts(rows, terms):
        value, held = _whole(part_NT[some])
        beyond += (value != held).sum()
        a = (held + 64) >> 7
        b = held.sub_(a, alpha=128)
        for plane, digit in zip(planes, (a, a + b, b), strict=True):
            plane[some, :terms] = digit
    return planes, int(beyond)


def _halves(part_NT: torch.Tensor) -> torch.Tensor:
    """Planes of the high and the low bytes, both of numbers with a sign."""
    rows, terms = part_NT.shape
    planes = _empty(2, part_NT)
    for some in _parts(rows, terms):
        low = part_NT[some].to(torch.int8)
        planes[1, some, :terms] = low
        planes[0, some, :terms] = part_NT[some].int().sub_(low) >> 8
    return planes


def _add_products(panel: Panel, planes_PNT: torch.Tensor, sides: tuple[tuple[int, int, int], ...]) -> None:
    """Add products of planes, weighted: integers in float64, so that no order makes a difference."""
    first, end, c = panel
    height = _padded(end - first, PAD)
    width = max(PAD, formats.CARD_PRODUCTS // height // PAD * PAD)
    memory = torch.empty(height * min(width, _padded(end, PAD)), dtype=torch.int32, device=c.device)
    for left in range(0, end, width):
        right = min(end, left + width)
        columns = _padded(right - left, PAD)
        product = memory[: height * columns].view(height, columns)
        for one, other, weight in sides:
            a_BT = planes_PNT[one, first : first + height]
            torch._int_mm(a_BT, planes_PNT[other, left : left + columns].T, out=product)
            c[:, left:right].add_(product[: end - first, : right - left], alpha=weight)


def _collect(part_NT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows in order (on the CPU), terms and rests of the values that were cut off."""
    rows, terms = part_NT.shape
    found = []
    for some in _parts(rows, terms):
        value, held = _whole(part_NT[some])
        rest = value.sub_(held)
        n_E, term_E = rest.nonzero(as_tuple=True)
        found.append((n_E + some.start, term_E, rest[n_E, term_E].double()))
    n_E, term_E, rest_E = (torch.cat(each) for each in zip(*found, strict=True))
    return n_E.cpu(), term_E, rest_E


def _add_cut(
    panel: Panel, part_NT: torch.Tensor, n_E: torch.Tensor, term_E: torch.Tensor, rest_E: torch.Tensor
) -> None:
    """For x = y + r, of which y yᵀ is in: add x rᵀ and r yᵀ, a column and a row for each rest."""
    first, end, c = panel
    # Rows are in order: of those before the panel's end each has a column here, the last of them a row too.
    above, here = torch.searchsorted(n_E, torch.tensor([first, end])).tolist()
    for some in _parts(here, end):
        place_S, term_S, rest_S = n_E[some].to(c.device), term_E[some], rest_E[some]
        x_NS = part_NT[:end, term_S].double()
        c.index_add_(1, place_S, x_NS[first:] * rest_S)
        own = slice(max(0, above - some.start), None)
        y_NS = x_NS[:, own].clamp_(LEAST, MOST)
        c.index_add_(0, place_S[own] - first, (y_NS * rest_S[own]).T)


def _padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit
