"""Linear CKA as its definitions have it: dense, in float64, from stored features."""

import numpy as np

from streamspread.results.similarity import Grams, LayerGram


def reference(x_ND, y_NE):
    """(CKA, debiased CKA) of features in float64; NaN where one of them is 0/0, the latter also of fewer than
    four samples.

    As it is defined: ‖YᵀX‖²/(‖XᵀX‖‖YᵀY‖) of centred features (Kornblith et al. 2019, equation 3). Debiased:
    from HSIC₁ of inner products without their diagonals (Song et al. 2012, equation 5).
    """
    x_ND, y_NE = (z - z.mean(0) for z in (x_ND, y_NE))
    norms = np.linalg.norm(x_ND.T @ x_ND) * np.linalg.norm(y_NE.T @ y_NE)
    with np.errstate(invalid="ignore", divide="ignore"):
        biased = np.linalg.norm(y_NE.T @ x_ND) ** 2 / norms
        if len(x_ND) < 4:
            return biased, np.nan
        k, l = (z @ z.T - np.diag((z**2).sum(1)) for z in (x_ND, y_NE))  # noqa: E741 - as the paper has it
        return biased, hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


def hsic(k_NN, l_NN):
    """HSIC₁ but for its factor 1/(N(N − 3)); the diagonals are zero."""
    n, one = len(k_NN), np.ones(len(k_NN))
    return (
        np.trace(k_NN @ l_NN)
        + (one @ k_NN @ one) * (one @ l_NN @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ k_NN @ l_NN @ one)
    )


def references(a, b=None):
    """Both matrices, (rows, columns), of features by layer."""
    b = a if b is None else b
    pairs = np.array([[reference(x, y) for y in b.values()] for x in a.values()])
    return pairs[..., 0], pairs[..., 1]


def grams_of(features, data_seen="0" * 32, provenance=None):
    """Grams of features (N, D) in float64 by layer, exact but for the rounding to float32."""
    return Grams(
        [gram_of(name, x_ND) for name, x_ND in features.items()],
        samples=len(next(iter(features.values()))),
        data_seen=data_seen,
        provenance=provenance,
    )


def gram_of(name, x_ND):
    centred = x_ND - x_ND.mean(0)
    k_NN = centred @ centred.T
    trace = np.trace(k_NN)
    unit = 2.0 ** -np.frexp(trace)[1] if trace > 0 else 1.0
    packed_M = (k_NN * unit)[np.tril_indices(len(k_NN))].astype(np.float32)
    return LayerGram(
        layer=name, shape=x_ND.shape[1:], dim=x_ND.shape[1], packed_M=packed_M, error=2.0**-24 * (trace > 0)
    )
