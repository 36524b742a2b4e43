"""How many components are meant: a whole number, a share of the variance, all, or Minka's estimate."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from streamspread.results.spectrum import Spectrum

_MORE = 64  # leading eigenvalues that are asked for next, where those known do not reach a share
_SHARE_OF_ALL = 8  # of all components, that a share of the variance is reckoned to take
_NO_VARIANCE = 1e-15  # of the largest eigenvalue: a smaller one counts as rounding errors in Minka's estimate


def check_count(count: Any, samples: int, dim: int, solver: str) -> None:
    """Refuse more components than there can be, as scikit-learn's solver of that name would.

    Raises:
        ValueError: with scikit-learn's wording.
    """
    limit = min(samples, dim)
    if count is None or (solver in ("auto", "full", "covariance_eigh") and count == "mle"):
        if count == "mle" and samples < dim:
            raise ValueError("n_components='mle' is only supported if n_samples >= n_features")
        return
    solver = "full" if solver == "auto" else solver
    if solver in ("full", "covariance_eigh"):
        if not 0 <= count <= limit:
            raise ValueError(
                f"n_components={count} must be between 0 and min(n_samples, n_features)={limit} with "
                f"svd_solver={solver!r}"
            )
        return
    if isinstance(count, str):
        raise ValueError(f"n_components={count!r} cannot be a string with svd_solver='{solver}'")
    if not 1 <= count <= limit:
        raise ValueError(
            f"n_components={count!r} must be between 1 and min(n_samples, n_features)={limit!r} with "
            f"svd_solver='{solver}'"
        )
    if solver == "arpack" and count == limit:
        raise ValueError(
            f"n_components={count!r} must be strictly less than min(n_samples, n_features)={limit!r} with "
            f"svd_solver='{solver}'"
        )


class Choice(NamedTuple):
    """How many components are wanted: ``count`` as the user gave it, where scikit-learn would solve with
    ``solver``."""

    count: Any
    solver: str = "auto"

    @property
    def known(self) -> int | None:
        """The number, where it does not depend on the data."""
        return int(self.count) if isinstance(self.count, Integral) else None

    def most(self, limit: int) -> int:
        """About how many there will be, of so many at the most, to reckon memory with."""
        if self.known is not None:
            return min(self.known, limit)
        return limit if self.count in (None, "mle") else min(limit, max(_MORE, limit // _SHARE_OF_ALL))

    def of(self, spectrum: Spectrum) -> int:
        """The number of components, or of eigenvalues that must be known before it can be told.

        A share f is that of scikit-learn: the fewest components whose variance is **more** than f of the
        whole.
        """
        limit = min(spectrum.samples, spectrum.dim)
        if self.known is not None:
            return self.known
        if self.count is None:
            return limit - (self.solver == "arpack")
        if self.count == "mle":
            known = spectrum.complete
            return minka(spectrum.eigenvalues, spectrum.dim, spectrum.samples) if known else limit
        shares = np.cumsum(ratio(spectrum.eigenvalues, spectrum.total_variance))
        found = int(np.searchsorted(shares, self.count, side="right")) + 1
        if found <= len(shares) or spectrum.complete:
            return min(found, limit)
        return min(2 * len(shares) + _MORE, limit)


def ratio(values: np.ndarray, total: float) -> np.ndarray:
    """Shares of the whole variance; zeros where there is none."""
    return values / total if total > 0.0 else np.zeros_like(values)


def minka(values: np.ndarray, dim: int, samples: int) -> int:
    """The number of components of the probabilistic model with the largest evidence, by Laplace's
    approximation: equations 76 to 78 of Minka 2000, "Automatic choice of dimensionality for PCA" (NIPS 13),
    at least 1 and less than D.

    Args:
        values: eigenvalues of the sample covariance, descending.
    """
    if dim < 2:
        return 1
    values = np.concatenate([values, np.zeros(dim - len(values))])
    noise = max(_NO_VARIANCE, dim * 2.0**-52) * values[0]
    if noise <= 0.0:
        return 1
    rank_K = np.arange(1, dim)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_N = math.log(samples)
        rest_K = (values.sum() - np.cumsum(values))[:-1] / (dim - rank_K)
        rest_K = np.maximum(rest_K, noise)
        gammas = [math.lgamma((dim - i) / 2) - math.log(math.pi) * (dim - i) / 2 for i in range(dim - 1)]
        prior_K = np.cumsum(gammas) - rank_K * math.log(2.0)
        fit_K = np.cumsum(np.log(values))[:-1] + (dim - rank_K) * np.log(rest_K)
        free_K = dim * rank_K - rank_K * (rank_K + 1) / 2
        evidence_K = prior_K - samples / 2 * fit_K + (free_K + rank_K) / 2 * math.log(2 * math.pi)
        evidence_K -= (_log_curvature(values, rest_K) + free_K * log_N + rank_K * log_N) / 2
    evidence_K[~np.isfinite(evidence_K) | (values[:-1] <= noise)] = -np.inf
    return int(np.argmax(evidence_K)) + 1


def _log_curvature(values: np.ndarray, rest_K: np.ndarray) -> np.ndarray:
    """(D − 1,): for k = 1 …, Σ log (1/λ̂_j − 1/λ̂_i)(λ_i − λ_j) over i ≤ k and j > i, where λ̂ is λ up to k
    and the mean of the others beyond."""
    count = len(values)
    # Differences by row i, of all j beyond it; of these, sums over j up to k, and beyond.
    logs = np.log(np.maximum(values[:, None] - values[None, :], np.finfo(float).tiny))
    logs = np.triu(logs, 1)
    whole = np.cumsum(logs.sum(1))[:-1]  # of i ≤ k, all j > i
    inside = np.cumsum(logs.sum(0))[:-1]  # of i < j ≤ k
    # Σ over i < j ≤ k of log (λ_i − λ_j)/(λ_i λ_j): every index is in k − 1 pairs.
    rank_K = np.arange(1, count)
    both = inside - (rank_K - 1) * np.cumsum(np.log(values))[:-1]
    outside = np.array(
        [(count - k) * np.log(1.0 / v - 1.0 / values[:k]).sum() for k, v in zip(rank_K, rest_K, strict=True)]
    )
    return whole + both + outside
