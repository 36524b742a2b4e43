"""Probabilistic PCA (Tipping & Bishop 1999, doi:10.1111/1467-9868.00196): the covariance that components and
noise stand for, its inverse, and how likely samples are under it; NumPy arrays or torch tensors. And how many
components are meant: a whole number, a share of the variance, all, or Minka's estimate by that model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch

from streamspread.accumulators.float64.rows import Table
from streamspread.results.spectrum import Spectrum

_FLOOR = 2.0**-52  # of the largest variance: the least noise of a model whose density exists


class Model(NamedTuple):
    """Components (k, D) as orthonormal rows, the variance along each, and the variance along all others.

    As in scikit-learn, ``whiten`` counts what a component has beyond the noise in units of its variance.
    """

    components_KD: Any
    variance_K: Any
    noise: float
    whiten: bool

    def beyond(self) -> Any:
        """(k,): what each component has beyond the noise."""
        extra_K = (self.variance_K - self.noise).clip(0.0)
        return extra_K * self.variance_K if self.whiten else extra_K

    def covariance(self) -> Any:
        """(D, D)."""
        return _added(self.components_KD.T * self.beyond() @ self.components_KD, self.noise)

    def precision(self) -> Any:
        """(D, D): the inverse of :meth:`covariance`, by the components, since they are orthonormal."""
        noise = self._noise()
        inner_K = 1.0 / (self.beyond() + noise) - 1.0 / noise
        if self.noise == 0.0 and len(inner_K) == self.components_KD.shape[1]:
            return self.components_KD.T / self.beyond() @ self.components_KD
        return _added(self.components_KD.T * inner_K @ self.components_KD, 1.0 / noise)

    def likelihoods(self, rest_N: Any, scores_NK: Any) -> Any:
        """(N,): the log-density of samples.

        Args:
            rest_N: the squared length of what components leave of the centred samples.
            scores_NK: along the components.
        """
        noise, dim = self._noise(), self.components_KD.shape[1]
        variance_K = self.beyond() + noise
        squares_N = (scores_NK**2 / variance_K).sum(1) + rest_N / noise
        logs = np.log(2 * np.pi) * dim + np.log(noise) * (dim - len(variance_K))
        log = torch.log if isinstance(variance_K, torch.Tensor) else np.log
        return -0.5 * (squares_N + float(log(variance_K).sum()) + logs)

    def _noise(self) -> float:
        """The noise, or as little as float64 tells from none where the model leaves none."""
        largest = float(self.variance_K.max()) if len(self.variance_K) else 0.0
        return max(self.noise, _FLOOR * largest, float(np.finfo(np.float64).tiny) ** 0.5)


def _added(square_DD: Any, value: float) -> Any:
    index = range(len(square_DD))
    square_DD[index, index] += value
    return square_DD


class Projection(NamedTuple):
    """From samples to scores: (x − mean)·Wᵀ, some rows at a time, in the components' dtype.

    mean_D: float64, of which a coarser dtype would lose what deviations may be as small as.
    """

    mean_D: Any
    components_KD: Any

    def parts(self, table: Table, step: int) -> Iterator[tuple[int, int, Any, Any]]:
        """(first row, one past the last, rows about the mean as the dtype has it, scores), in order; the
        rows' memory is used again."""
        dim, like = len(self.mean_D), self.components_KD
        tensors = isinstance(like, torch.Tensor)
        near_D = _in_dtype(self.mean_D, like)
        left_K = _in_dtype(self.mean_D - near_D, like) @ like.T
        memory: Any = like.new_empty(step * dim) if tensors else np.empty(step * dim, like.dtype)
        for begin, end, part in table.parts(step):
            x_ND = memory[: (end - begin) * dim].reshape(end - begin, dim)
            if tensors:
                given: Any = part if isinstance(part, torch.Tensor) else torch.from_numpy(np.array(part))
                torch.sub(given.to(x_ND), near_D, out=x_ND)
            else:
                given = part.cpu().numpy() if isinstance(part, torch.Tensor) else part
                with np.errstate(invalid="ignore", over="ignore"):
                    np.subtract(given, near_D, out=x_ND, casting="unsafe")
            scores_NK = x_ND @ like.T
            scores_NK -= left_K
            yield begin, end, x_ND, scores_NK


def _in_dtype(values: Any, like: Any) -> Any:
    return values.to(like.dtype) if isinstance(values, torch.Tensor) else values.astype(like.dtype)


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
