"""Slack: how far computed sums of eigenvalues may lie from those of the exact matrix.

Two things are between them: the panels hold rounded sums, by how much is measured (``error_norm``); and
eigenvalues are computed with rounding of their own. In float64 that is next to nothing. Where float32
products are part of it, some units of rounding are allowed for: that is experience, not proof.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streamspread.linalg.chunks import UNIT
from streamspread.linalg.panels import SymmetricPanels

_FLOAT32 = 2.0**-23


class Slack(NamedTuple):
    """How far the sum of the k leading eigenvalues may be off: √k·``norm`` + ``flat``, to either side.

    norm: a bound on ‖A − C‖_F for the matrix A that was solved and the exact one. ``flat``: of any sum, by
    how its eigenvalues were computed.
    """

    norm: float
    flat: float

    def of(self, count: int) -> np.ndarray:
        """(count,) float64: for k = 1 … ``count``."""
        return np.sqrt(np.arange(1, count + 1)) * self.norm + self.flat

    def at(self, k: int) -> float:
        """For one k."""
        return float(np.sqrt(k)) * self.norm + self.flat


def float64_slack(matrix: SymmetricPanels, squares: float) -> Slack:
    """Of eigenvalues that a backward stable solver computed in float64: they are those of a matrix that is
    off by some n units of rounding (LAPACK Users' Guide, section 4.7). ``squares``: ‖A‖²_F."""
    return Slack(matrix.error_norm() + 2 * UNIT * matrix.n * squares**0.5, 0.0)


def float32_slack(matrix: SymmetricPanels, summed: float) -> Slack:
    """Of eigenvalues for which float32 products were computed: sums of n terms err by about √n units.

    Eight units of what was ``summed`` at the least: measured at orders of 60 to 16,384, sums of eigenvalues
    err by less than three of T. Of float64 panels it is as many units as the order.
    """
    if matrix.dtype.itemsize == 8:  # so many units are nothing, and 22 have been met at order 159
        return Slack(matrix.error_norm(), max(64.0, matrix.n) * 2 * UNIT * summed)
    # A copy of exact sums was rounded once: by half a unit of its norm, which the trace exceeds.
    norm = _FLOAT32 / 2 * summed if matrix.exact else matrix.error_norm()
    return Slack(norm, max(8.0, matrix.n**0.5 / 8) * _FLOAT32 * summed)
