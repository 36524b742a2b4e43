"""The points of curves: thresholds τ, and the share of the variance over the number of components."""

from __future__ import annotations

import numpy as np

from streamspread.results.spectrum import Spectrum

#: τ of the curves over it.
GRID = tuple(round(0.05 + 0.01 * step, 2) for step in range(95))  # 0.05 … 0.99


def scree_points(layer: Spectrum, points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of a scree curve: the share of the variance that the k leading components hold, over k.

    Args:
        points: about how many; they are evenly spread in log k.

    Returns:
        k (int), and the lower and the upper bound of the share (float64, 0 to 1); the bounds are the same
        where the spectrum is complete. All are empty for a constant layer.
    """
    if layer.total_variance <= 0 or not len(layer.eigenvalues):
        return np.zeros(0, int), np.zeros(0), np.zeros(0)
    sums = np.cumsum(layer.eigenvalues)
    k = np.unique(np.geomspace(1, len(sums), points).round().astype(int))
    low = np.minimum(sums[k - 1] / layer.total_variance, 1.0)
    high = low if layer.complete else layer.upper_sums[k - 1] / layer.total_variance
    return k, low, np.minimum(high, 1.0)
