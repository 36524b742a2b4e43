"""Products as tensor cores add them up: cut off, not rounded.

After F. A. Khattak & M. Mikaitis, "Accurate models of NVIDIA tensor cores", arXiv:2512.07004, and M. Fasi et
al., "Numerical behavior of NVIDIA tensor cores", PeerJ CS 7:e330 (2021): a block of products and the sum so
far are aligned to the largest of them, cut off some bits below float32's last place, and added up exactly;
the result is cut off to float32.
"""

import math

import numba
import numpy as np

#: (products added at once, bits kept below float32's last place): what the first such cores and an H100 are
#: taken to do. The numbers have not been checked on a card.
MODELS = {"V100": (4, 0), "H100": (16, 2)}


@numba.njit(cache=True)
def gram(x_ND, terms, width, guard):
    """(D, D) float64 holding float32 sums: xᵀx in products of ``terms`` samples, each added in float32.

    x_ND is float64 and holds values of 16 bits, so that products of two are exact.
    """
    rows, columns = x_ND.shape
    sums = np.zeros((columns, columns))
    for i in range(columns):
        for j in range(i + 1):
            total = np.float32(0.0)
            for begin in range(0, rows, terms):
                inner = 0.0
                for block in range(begin, min(rows, begin + terms), width):
                    stop = min(rows, begin + terms, block + width)
                    inner = _added(inner, x_ND[block:stop, i] * x_ND[block:stop, j], guard)
                total += np.float32(inner)
            sums[i, j] = sums[j, i] = total
    return sums


@numba.njit(cache=True)
def _added(total, products, guard):
    largest = max(abs(total), np.abs(products).max())
    if largest == 0.0:
        return total
    unit = math.ldexp(1.0, math.frexp(largest)[1] - 24 - guard)
    total = math.trunc(total / unit) * 1.0
    for product in products:
        total += math.trunc(product / unit)
    total *= unit
    unit = math.ldexp(1.0, math.frexp(total)[1] - 24)
    return math.trunc(total / unit) * unit
