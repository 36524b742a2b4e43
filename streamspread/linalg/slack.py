"""Slack: how far computed sums of eigenvalues may lie from the true ones, since panels hold rounded sums."""

from __future__ import annotations

import numpy as np
import torch

from streamspread.linalg.panels import SymmetricPanels


def slack(
    matrix: SymmetricPanels, summed: float, computed_trace: float, trace: float, roundings: int = 1
) -> np.ndarray:
    """How far a sum of eigenvalues of the panels may lie (below, above) the true one: the largest of three.

    - Some units of rounding of what was ``summed``, which exceeds the trace where samples lay far from the
      shift.
    - What the shift itself adds, summed − trace. All its products share a sign, so each of n² entries errs by
      about √terms units of itself within a sum of products, and in the same direction every time where
      updates are alike. The eigenvalues of such errors are √n times smaller than all errors together, and n
      of them add up. Measured at orders of 60 to 1,600 and 16 to 3,125 updates: at most
      0.05·√n·√(terms + updates) units where updates are random, 0.03·√n·updates where all are the same.
    - What the ``computed_trace`` shows of a bias: see :func:`bias`.

    Args:
        matrix: its order, dtype and the numbers of its updates are read; it may be spent.
        summed: the trace of all that was summed: :meth:`SymmetricPanels.summed`.
        computed_trace: of the panels, or of the eigenvalues.
        trace: known better than from the panels.
        roundings: how many times panels were rounded: 1 for the sums, 1 more for a reduction in place.
    """
    # Sums of n terms, as in A·Q, err by some √n units, and those of updates by some √updates units.
    units = max(8.0, matrix.n**0.5 / 8, matrix.updates**0.5 / 4)
    rounded = units * max(trace, summed)
    of_shift = matrix.n**0.5 * (matrix.terms**0.5 + matrix.updates) / 16 * max(0.0, summed - trace)
    unit = torch.finfo(matrix.dtype).eps
    return np.maximum(roundings * unit * max(rounded, of_shift), bias(computed_trace, trace))


def bias(computed_trace: float, trace: float) -> np.ndarray:
    """(below, above) from the distance of the computed trace from the true one.

    Products that are cut off, as on tensor cores, lose a share of every coherent sum, so the loss of the
    trace tells about how much any sum of eigenvalues lost. Measured with models of tensor cores (4, 8 and 16
    products at a time, with no, one and two guard bits) at orders of 40 to 384 and 4,096 or 8,192 samples:
    from 0.00 to 1.31 of the trace's loss on layers of no1 and synthetic data, and from -0.06 to 2.67 where
    values have few significant bits, so that their squares lose less than other products do.
    """
    lost = trace - computed_trace
    return np.array([max(0.25 * lost, -3 * lost), max(3 * lost, -0.25 * lost)])


def lowered(values: np.ndarray, slack: float) -> np.ndarray:
    """Descending values whose every partial sum is lower by ``slack`` at least: it is subtracted from the
    first, and the others are cut to what is left of it."""
    return np.minimum(values, np.maximum(values[:1] - slack, 0.0))
