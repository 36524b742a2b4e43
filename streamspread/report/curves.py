"""What curves are drawn from: thresholds, and the share of the variance over the number of components."""

from __future__ import annotations

import numpy as np

from streamspread.results.spectrum import LayerSpectrum

#: τ of the curves over it.
GRID = tuple(round(0.05 + 0.01 * step, 2) for step in range(95))  # 0.05 … 0.99


def scree_points(layer: LayerSpectrum, points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """k, about ``points`` of them evenly spread in the logarithm, and bounds of the share of the variance
    that the k leading components hold; equal where the spectrum is complete, empty where it is constant."""
    if layer.total_variance <= 0 or not len(layer.eigenvalues):
        return np.zeros(0, int), np.zeros(0), np.zeros(0)
    sums = np.cumsum(layer.eigenvalues)
    k = np.unique(np.geomspace(1, len(sums), points).round().astype(int))
    low = np.minimum(sums[k - 1] / layer.total_variance, 1.0)
    high = low if layer.complete else layer.upper_sums[k - 1] / layer.total_variance
    return k, low, np.minimum(high, 1.0)
