"""What staged values, their sums and the buffers of the kernels are: dtypes, sizes and layouts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

#: Values reach so far to either side: they are 256·h + l with h and l of int8, and two of their products
#: have a sum in int32.
INT16_LIMIT = 127 * 256 + 127

# Rounding → the dtype that staged values have on the CPU and on CUDA, and the dtype in which they are summed.
# The CPU has no fast 16-bit products: it rounds to 16 bits and stores the result in float32, exactly.
# At int16 values are integers, whose sums float64 holds exactly.
SUM_DTYPES = {
    "fp64": torch.float64,
    "fp32": torch.float32,
    "fp16": torch.float32,
    "bf16": torch.float32,
    "int16": torch.float64,
}
_CUDA_STAGED = {"fp64": torch.float64, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

#: Unit roundoff of each rounding: a staged value is off by at most this share of itself.
ROUNDOFF = {"fp64": 2.0**-53, "fp32": 2.0**-24, "fp16": 2.0**-11, "bf16": 2.0**-8}

#: Numbers of a product that the CPU holds at once before it adds them.
PRODUCT_NUMBERS = 1 << 22

#: Terms of a float32 product at a time, where the CPU copies a factor that does not lie whole.
COPIED_TERMS = 1024

#: Integers up to 2⁵³ are exact in float64; on the way to a sum there may be three times as much.
LARGEST_SUM = 2.0**51

LINE = 64  # bytes of a cache line

#: Planes of int8 that values of 16 bits are taken apart to, or else they are copied, for so many of their
#: terms at a time that what is done with every product counts for little, or fewer where that would take more
#: bytes.
DIGITS = 3
_DIGIT_TERMS, _LEAST_DIGIT_TERMS, _DIGIT_BYTES = 8192, 2048, 1280 << 20

#: Rows and columns of a block of their products on the CPU, at the most: of planes, and of values as they
#: are, whose sums stay in the second-level cache.
HEIGHT, WIDTH, BLOCK = 1024, 512, 240

#: On a card: bytes of planes; numbers of products that are held at once, and of values that torch takes apart
#: at a time, in at most so many bytes for each; and of which rows are a multiple. All are guesses.
CARD_DIGIT_BYTES, CARD_PRODUCTS, CARD_NUMBERS, PAD = 2 << 30, 1 << 24, 1 << 22, 32
_CARD_NUMBER_BYTES = 32

#: ``first_bad`` entries as long as every value was finite.
NEVER = 2**31 - 1


class Sums(NamedTuple):
    """What staging adds up over all batches of a pass.

    Attributes:
        sum_D: (D,) float64: Σ of the rounded values.
        squares_D: (D,) float64: Σ of their squares.
        first_bad: (2,) int32: the first batch in which the activation held NaN or Inf, and the first in which
            rounding overflowed; NEVER where there was none.
        moved: () float64: Σ of the squared rounding errors, at int16; 0 at other roundings.
        farthest: () float64: the largest value that overflowed, at int16; 0 where none did.
    """

    sum_D: torch.Tensor
    squares_D: torch.Tensor
    first_bad: torch.Tensor
    moved: torch.Tensor
    farthest: torch.Tensor


def new_sums(columns: int, device: torch.device) -> Sums:
    """The sums before the first batch, for a staging buffer of so many columns."""
    return Sums(
        torch.zeros(columns, dtype=torch.float64, device=device),
        torch.zeros(columns, dtype=torch.float64, device=device),
        torch.full((2,), NEVER, dtype=torch.int32, device=device),
        torch.zeros((), dtype=torch.float64, device=device),
        torch.zeros((), dtype=torch.float64, device=device),
    )


def staged_dtype(rounding: str, device: torch.device) -> torch.dtype:
    """The dtype of the staging buffer for a rounding on a device."""
    if rounding == "int16":
        return torch.int16
    return _CUDA_STAGED[rounding] if device.type == "cuda" else SUM_DTYPES[rounding]


def staging_buffer(rounding: str, rows: int, columns: int, device: torch.device) -> torch.Tensor:
    """An empty one, (rows, columns)."""
    dtype = staged_dtype(rounding, device)
    width = row_bytes(2 * columns) // 2 if rounding == "int16" else columns
    return torch.empty(rows, width, dtype=dtype, device=device)[:, :columns]


def row_bytes(length: int) -> int:
    """How far rows of so many bytes are apart: an odd number of cache lines, since rows that lie a power of
    two apart push each other out of the cache."""
    return (-(-length // LINE) | 1) * LINE


def staged_bytes(rounding: str, rows: int, columns: int, device: torch.device) -> int:
    """Its bytes, at most: as many more for every column."""
    width = columns + LINE if rounding == "int16" else columns
    return rows * width * staged_dtype(rounding, device).itemsize


def digit_terms(order: int, most_bytes: int = _DIGIT_BYTES) -> int:
    """Terms of 16-bit values that are taken apart at a time, where sums have that order."""
    return min(_DIGIT_TERMS, max(_LEAST_DIGIT_TERMS, most_bytes // (DIGITS * order) // LINE * LINE))


def digit_bytes(rounding: str, order: int, terms: int, device: torch.device) -> int:
    """Bytes that so many terms of 16-bit values take while they are apart, and their products, at most."""
    if rounding != "int16":
        return 0
    if device.type == "cuda":
        step = min(terms, digit_terms(order, CARD_DIGIT_BYTES))
        planes = DIGITS * (order + 2 * PAD) * (step + 4 * PAD)
        products = 4 * min((order + PAD) ** 2, max(CARD_PRODUCTS, PAD * (order + PAD)))
        return planes + products + _CARD_NUMBER_BYTES * min(order * terms, max(CARD_NUMBERS, order))
    step = min(terms, digit_terms(order))
    products = max(12 * min(order, HEIGHT) * min(order, WIDTH), 8 * (BLOCK + LINE) ** 2)
    return DIGITS * (order + 2 * LINE) * (step + 2 * LINE) + products * torch.get_num_threads()


def product_bytes(rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> int:
    """Peak bytes beside the sums that adding a product of that size takes."""
    if device.type == "cuda":
        return 0
    products = min(rows * columns, max(PRODUCT_NUMBERS, rows**2)) * dtype.itemsize
    if dtype != torch.float32:
        return products
    # Factors that do not lie whole are copied: as many columns at a time as make such a product.
    return products + 4 * COPIED_TERMS * (rows + min(columns, PRODUCT_NUMBERS // max(1, rows)))


def vector_length(x_ND: torch.Tensor, *outs_ND: torch.Tensor) -> int:
    """How many numbers of a row a CUDA thread reads and writes at once: 8 of a 16-bit activation (16 bytes),
    else 4; 1 where rows do not divide into so many, or do not begin at a multiple of their bytes."""
    for length in (8, 4) if x_ND.element_size() == 2 else (4,):
        if x_ND.shape[1] % length == 0 and all(
            t.stride(0) % length == 0 and t.data_ptr() % (length * t.element_size()) == 0
            for t in (x_ND, *outs_ND)
        ):
            return length
    return 1


def flat_view(rows_ND: torch.Tensor) -> np.ndarray:
    """The memory from a matrix's first number to its last, row by row; columns are adjacent."""
    rows, columns = rows_ND.shape
    return rows_ND.as_strided(((rows - 1) * rows_ND.stride(0) + columns,), (1,)).numpy()


def contiguous_lines(x_NK: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """The matrix, or its transpose (true), or a copy, so that numbers of a row are adjacent."""
    turned = x_NK.shape[1] > 1 and x_NK.stride(1) != 1
    lines_LM = x_NK.mT if turned else x_NK
    if lines_LM.shape[1] > 1 and lines_LM.stride(1) != 1:
        lines_LM = lines_LM.contiguous()
    return lines_LM, turned
