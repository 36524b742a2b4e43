"""Probabilistic PCA (Tipping & Bishop 1999, doi:10.1111/1467-9868.00196): the covariance that components and
noise stand for, its inverse, and how likely samples are under it; NumPy arrays or torch tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from streamspread.estimator.tables import Table

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
