"""Sums along eigenvectors: lower bounds on leading sums that are sharper than a norm of the error gives.

For any k orthonormal vectors V, tr(VᵀCV) is at most λ₁ + … + λ_k (Ky Fan 1949). With the eigenvectors of the
rounded A = C + E it is Σθ − tr(VᵀEV), and for a projector V Vᵀ = Π the mean of zᵀΠE·z over normal z is that
trace (Hutchinson 1990), from the same probes that measure ‖E‖. Errors average out in a trace, so it is far
below √k·‖E‖. Eigenvectors cost more than eigenvalues: this is for a K that nothing else closes.
"""

from __future__ import annotations

import math

import numpy as np

from streamspread.linalg.chunks import UNIT
from streamspread.linalg.leading import dense_pairs
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.probes import FAILURE, PROBES, norm_bound


def sums_along_eigenvectors(matrix: SymmetricPanels, most: int, squares: float) -> np.ndarray:
    """(most,) float64: lower bounds of λ₁ + … + λ_k of the exact matrix, k = 1 … ``most``; all of them fail
    with a probability of at most :data:`streamspread.linalg.probes.FAILURE`, beside that of the norm.

    On the CPU it takes a dense float64 matrix and ``most`` vectors. ``squares``: ‖A‖²_F.
    """
    values_K, vectors_NK = dense_pairs(matrix, most)
    error_NM, hidden = matrix.error_products()
    seen_KM = (vectors_NK.T @ matrix.probes.measuring) * (vectors_NK.T @ error_NM)
    trace_K = seen_KM.mean(1).cumsum(0).cpu().numpy()
    # Laurent & Massart 2000 (doi:10.1214/aos/1015957395), lemma 1, for M vectors and quadratic forms of any
    # sign: the mean lies 2‖ΠE‖_F√(t/M) + 2‖ΠE‖t/M below the trace with a probability of at most exp(−t).
    t = math.log(most / FAILURE) / PROBES
    off = (2 * math.sqrt(t) + 2 * t) * (norm_bound(error_NM) + hidden)
    # What float64 rounds, of the probes' products and of the eigenvectors.
    off += 2 * matrix.n**0.5 * hidden + 2 * UNIT * matrix.n * (most * squares) ** 0.5
    return np.cumsum(values_K) - trace_K - off
