"""Products with a triangle in float32, whose errors are measured while they are formed."""

from __future__ import annotations

import torch

from streamspread.linalg.banded import Banded
from streamspread.linalg.probes import PROBES, norm_bound

#: Σ of squared errors, as a share of that of the products' squared deviations, beyond which these are formed
#: in float64. Float32 products of a network's convolutions moved what they give by shares of 1e-14 to 2e-13,
#: and the factors of these by 4e-14 to 4e-13, as BLAS and oneDNN sum; what is said of it is 7 times as much.
MOST_MOVED = 1e-11

_COLUMNS = 1024  # of rows that are widened to float64 at a time
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
        for begin in range(0, x_MN.shape[1], _COLUMNS):  # some columns of float64 at a time
            own = slice(begin, begin + _COLUMNS)
            wide_MC = y_MN[:, own].copy_(quick_MN[:, own])
            squares += (wide_MC - wide_MC.mean(0)).square_().sum()
            differs_MP += wide_MC @ self._z_NP[own] - x_MN[:, own].double() @ self._image_NP[own]
        if not norm_bound(differs_MP) ** 2 <= MOST_MOVED * float(squares):  # so put, NaN is none
            return self.triangle.transposed_times(x_MN.double())
        return y_MN
