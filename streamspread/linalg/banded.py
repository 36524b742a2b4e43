"""Triangles of band matrices in block columns, and their Cholesky factors: products of blocks throughout.

A block column holds the rows from its own first one to the last that is coupled with one of its numbers. So a
band takes its own length and breadth, and a matrix that is none half of its square. A Cholesky factor stays
within the band (Golub & Van Loan 2013, "Matrix Computations", 4.3). Its products with rows may be float32;
their errors are then measured while they are formed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch

from streamspread.linalg.probes import PROBES, norm_bound
from streamspread.linalg.products import dense_product

_LEAST_COLUMNS, _COLUMNS = 64, 256  # of a block: more make larger products, and more of them is 0
_SHARE = 4  # of a band's breadth: a block's columns


class Block(NamedTuple):
    """The columns from ``begin`` to ``stop``, in the rows from ``begin`` to ``end``."""

    begin: int
    stop: int
    end: int

    @property
    def numbers(self) -> int:
        return (self.stop - self.begin) * (self.end - self.begin)


@dataclass(frozen=True)
class Layout:
    """Where the lower triangle of a band matrix may have other numbers than 0: rows come in groups of
    ``grain``, and a group is coupled with itself and the next ``reach`` ones.

    Attributes:
        order: n, a multiple of ``grain``.
    """

    order: int
    grain: int
    reach: int

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """From the left to the right."""
        breadth = min(self.order, (self.reach + 1) * self.grain)
        columns = min(_COLUMNS, max(_LEAST_COLUMNS, breadth // _SHARE))
        if self.grain < columns:  # whole groups
            columns -= columns % self.grain
        found = []
        for begin in range(0, self.order, columns):
            stop = min(self.order, begin + columns)
            groups = math.ceil(stop / self.grain) + self.reach
            found.append(Block(begin, stop, min(self.order, groups * self.grain)))
        return tuple(found)

    @property
    def numbers(self) -> int:
        """That are held."""
        return sum(block.numbers for block in self.blocks)

    @property
    def factor_operations(self) -> float:
        """Of a Cholesky factorisation: n³/3 for a matrix that is no band."""
        return float(sum((block.end - block.begin) * block.numbers for block in self.blocks))


class Banded:
    """The lower triangle of a matrix (n, n), in the block columns of a layout. The blocks on the diagonal are
    whole.

    Attributes:
        flat: (layout.numbers,): one block after the other, each row by row.
    """

    def __init__(self, layout: Layout, flat: torch.Tensor) -> None:
        self.layout, self.flat = layout, flat
        parts = flat.split([block.numbers for block in layout.blocks])
        self._parts = [
            part.view(-1, block.stop - block.begin) for part, block in zip(parts, layout.blocks, strict=True)
        ]

    @classmethod
    def empty(cls, layout: Layout, device: torch.device) -> Banded:
        """With float64 numbers that are still to be written."""
        return cls(layout, torch.empty(layout.numbers, dtype=torch.float64, device=device))

    def parts(self) -> Iterator[tuple[Block, torch.Tensor]]:
        """Each block with its numbers (end − begin, stop − begin), which may be written to."""
        return zip(self.layout.blocks, self._parts, strict=True)

    def diagonal(self) -> torch.Tensor:
        """(n,), a copy."""
        return torch.cat([part_KB.diagonal() for part_KB in self._parts])

    def fill_diagonal_(self, value: float) -> None:
        for part_KB in self._parts:
            part_KB.diagonal().fill_(value)

    def divide_(self, unit_N: torch.Tensor) -> None:
        """Each number by the unit of its row and by that of its column."""
        for block, part_KB in self.parts():
            part_KB /= unit_N[block.begin : block.end, None]
            part_KB /= unit_N[block.begin : block.stop]

    def scale_rows_(self, size_N: torch.Tensor) -> None:
        for block, part_KB in self.parts():
            part_KB *= size_N[block.begin : block.end, None]

    def times_symmetric(self, x_MN: torch.Tensor) -> torch.Tensor:
        """(m, n): A·x for each row, for the symmetric A of which this is the triangle."""
        y_MN = torch.zeros_like(x_MN)
        for (begin, stop, end), part_KB in self.parts():
            y_MN[:, begin:stop] += x_MN[:, begin:end] @ part_KB
            y_MN[:, stop:end] += x_MN[:, begin:stop] @ part_KB[stop - begin :].T
        return y_MN

    def times(self, x_MN: torch.Tensor) -> torch.Tensor:
        """(m, n): L·x for each row, for the triangle L itself."""
        y_MN = torch.zeros_like(x_MN)
        for (begin, stop, end), part_KB in self.parts():
            y_MN[:, begin:end] += x_MN[:, begin:stop] @ part_KB.T
        return y_MN

    def transposed_times(self, x_MN: torch.Tensor) -> torch.Tensor:
        """(m, n): Lᵀ·x for each row, for the triangle L itself."""
        y_MN = torch.empty_like(x_MN)
        for (begin, stop, end), part_KB in self.parts():
            y_MN[:, begin:stop] = dense_product(x_MN[:, begin:end], part_KB)
        return y_MN

    def factorise_(self) -> bool:
        """A becomes the triangle L with LLᵀ = A, block column by block column; False where A is not positive
        definite to working precision, or not finite: what is left is then of no use."""
        for index, (block, part_KB) in enumerate(self.parts()):
            columns = block.stop - block.begin
            factor_BB, info = torch.linalg.cholesky_ex(part_KB[:columns])
            if int(info) or not bool(torch.isfinite(factor_BB).all()):
                return False
            part_KB[:columns] = factor_BB
            below_KB = part_KB[columns:]
            below_KB[:] = torch.linalg.solve_triangular(factor_BB.T, below_KB, upper=True, left=False)
            for later in range(index + 1, len(self._parts)):
                begin, stop, _ = self.layout.blocks[later]
                if begin >= block.end:
                    break
                rest_KB = below_KB[begin - block.stop :]
                reached = rest_KB[: stop - begin]
                self._parts[later][: len(rest_KB), : len(reached)].addmm_(rest_KB, reached.T, alpha=-1.0)
        return True


#: Σ of squared errors, as a share of that of the products' squared deviations, beyond which these are formed
#: in float64. Float32 products of a network's convolutions moved what they give by shares of 1e-14 to 2e-13,
#: and the factors of these by 4e-14 to 4e-13, as BLAS and oneDNN sum; what is said of it is 7 times as much.
MOST_MOVED = 1e-11

_COMBINATIONS = 1024  # of rows that are widened to float64 at a time
_BESIDE = 200.0  # operations' worth of time for each number that is moved, widened and written
_SEED = 0x5EED


class MeasuredProduct:
    """x ↦ Lᵀ·x of rows, in float32 where that moves them by no more than :data:`MOST_MOVED`.

    Beside each product y the numbers zᵀy for some random z are held against (Lz)ᵀx in float64. They
    differ by zᵀe for the error e, whatever made it: the rounding of x, of L or of a sum. Of some rows
    Σ‖e‖² exceeds what this says with a probability of :data:`streamspread.linalg.probes.FAILURE` at the
    most. Where a mean is far larger than what rows deviate from it by, or nearly all of them is
    multiplied by 0, products are float64's.

    Attributes:
        triangle: L, float64. ``quick``: the same rounded to float32.
    """

    def __init__(self, triangle: Banded) -> None:
        self.triangle, self.quick = triangle, Banded(triangle.layout, triangle.flat.float())
        generator = torch.Generator().manual_seed(_SEED)  # on the CPU: the same numbers on every device
        z_PN = torch.randn(PROBES, triangle.layout.order, generator=generator, dtype=torch.float64)
        z_PN = z_PN.to(triangle.flat.device)
        self._z_NP, self._image_NP = z_PN.T, triangle.times(z_PN).T

    @staticmethod
    def nbytes(order: int, numbers: int) -> int:
        """Bytes that it takes beside the triangle of so many numbers."""
        return 4 * numbers + 2 * 8 * PROBES * order

    @staticmethod
    def row_bytes(order: int) -> int:
        """Bytes of a row and of its product, in both dtypes."""
        return (2 * 8 + 2 * 4) * order

    @staticmethod
    def operations(order: int) -> float:
        """Of float64 for a row, by which its product is measured, and what else takes as long."""
        return (2.0 * 2.0 * PROBES + _BESIDE) * order

    def rows(self, x_MN: torch.Tensor) -> torch.Tensor:
        """(m, n) float64: Lᵀ·x for each row of any float dtype."""
        quick_MN = self.quick.transposed_times(x_MN.float())
        y_MN = torch.empty(x_MN.shape, dtype=torch.float64, device=x_MN.device)
        differs_MP = y_MN.new_zeros(len(x_MN), PROBES)
        squares = y_MN.new_zeros(())
        for begin in range(0, x_MN.shape[1], _COMBINATIONS):  # some columns of float64 at a time
            own = slice(begin, begin + _COMBINATIONS)
            wide_MC = y_MN[:, own].copy_(quick_MN[:, own])
            squares += (wide_MC - wide_MC.mean(0)).square_().sum()
            differs_MP += wide_MC @ self._z_NP[own] - x_MN[:, own].double() @ self._image_NP[own]
        if not norm_bound(differs_MP) ** 2 <= MOST_MOVED * float(squares):  # so put, NaN is none
            return self.triangle.transposed_times(x_MN.double())
        return y_MN
