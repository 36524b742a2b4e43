"""What an estimator learns from samples: its parameters, which sums, when they are solved, what is noted."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import _param_validation as validation
from sklearn.utils.validation import check_array

from streamspread.accumulators.float64.rows import NotFinite, Table, check_sum, usual_rows
from streamspread.accumulators.float64.running import METHODS, Resources, Running, whole
from streamspread.accumulators.float64.scatter import TOO_LARGE, Solved
from streamspread.estimator import tables
from streamspread.estimator.probabilistic import Choice, check_count, ratio
from streamspread.system.devices import resolve_device
from streamspread.system.memory import free_bytes, parse_bytes

_SOLVERS = {"auto", "full", "covariance_eigh", "arpack", "randomized"}
_ANY_COUNT = validation.Interval(Integral, 0, None, closed="left")
_BUDGET_SHARE = 0.8  # of what is free on the device, where no budget is given
_NARROW, _ALWAYS_FREE = 512, 64 << 20  # features whose sums and eigenvectors take less than so many bytes
SPARSE_SOLVERS = ("auto", "arpack", "covariance_eigh")  # with which scikit-learn reads sparse data

#: What is learned from the sums; after a ``partial_fit`` it is made when it is asked for.
_LEARNED = (
    "components_",
    "explained_variance_",
    "explained_variance_ratio_",
    "singular_values_",
    "mean_",
    "noise_variance_",
    "n_components_",
    "n_samples_",
    "spectrum_",
    "exact_",
)


@dataclass(eq=False, repr=False)
class Parameters:
    """The parameters of :class:`streamspread.PCA`, whose documentation says what they do."""

    n_components: int | float | str | None = None
    _: KW_ONLY
    copy: bool = True
    whiten: bool = False
    svd_solver: str = "auto"
    tol: float = 0.0
    iterated_power: int | str = "auto"
    n_oversamples: int = 10
    power_iteration_normalizer: str = "auto"
    random_state: Any = None
    memory: str | int | None = None
    device: str | torch.device = "auto"
    method: str = "auto"
    batch_size: int | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [
            _ANY_COUNT,
            validation.Interval(validation.RealNotInt, 0, 1, closed="neither"),
            validation.StrOptions({"mle"}),
            None,
        ],
        "copy": ["boolean"],
        "whiten": ["boolean"],
        "svd_solver": [validation.StrOptions(_SOLVERS)],
        "tol": [validation.Interval(Real, 0, None, closed="left")],
        "iterated_power": [_ANY_COUNT, validation.StrOptions({"auto"})],
        "n_oversamples": [validation.Interval(Integral, 1, None, closed="left")],
        "power_iteration_normalizer": [validation.StrOptions({"auto", "QR", "LU", "none"})],
        "random_state": ["random_state"],
        "method": [validation.StrOptions({"auto", *METHODS})],
        "batch_size": [validation.Interval(Integral, 1, None, closed="left"), None],
    }


Parameters.__init__.__qualname__ = "PCA.__init__"  # as errors call it


class Learner(Parameters, BaseEstimator):
    """The part of :class:`streamspread.PCA` that learns."""

    _running: Running | None = None
    _kind: tuple[str, torch.device | None] = "float64", None  # of results: their dtype, and a tensor's device
    _mean_left: Any = 0.0  # what the mean, as it was summed, is beyond ``mean_``

    def __getattr__(self, name: str) -> Any:
        # Only asked for what is not there yet.
        if name in _LEARNED and self.__dict__.get("_running") is not None:
            self._learn()
            return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __sklearn_is_fitted__(self) -> bool:
        return "components_" in self.__dict__ or self._running is not None

    def _fit(self, x: Any) -> Solved | None:
        """What was learned of a table that was read at once; None for batches."""
        self._validate_params()
        self._forget()
        if tables.is_stream(x):
            self._sum(x)
            self._learn()
            return None
        self._check_sparse(x)
        table = tables.table_of(self, x, reset=True)
        self._check_counts(table.samples, table.dim)
        self._kind = table.dtype, table.device
        with self._in_scikit_learns_words():
            self._running, solved = whole(table, self._resources(table), self._choice)
        self.n_samples_seen_ = table.samples
        self._take(solved)
        return solved

    def _sum(self, x: Any) -> None:
        """Add samples to the sums, of one table or of batches."""
        for batch in tables.batches_of(x, self.batch_size) if tables.is_stream(x) else [x]:
            first = self.__dict__.get("n_features_in_") is None
            self._add(tables.table_of(self, batch, reset=first, sparse_too=False))
        if self._running is None:
            self._refuse_nothing()

    def _refuse_nothing(self) -> NoReturn:
        raise ValueError(f"Found array with 0 sample(s) while a minimum of 1 is required by {self._name}.")

    def _add(self, table: Table) -> None:
        if self._running is None:
            if "n_samples_seen_" in self.__dict__:
                raise ValueError(
                    f"{self._name}.fit kept no sums to which samples can be added, as it does where it forms "
                    "inner products of samples or a sketch: give all parts to partial_fit, or fit with "
                    "method='covariance'"
                )
            self._kind = table.dtype, table.device
            self._running = Running(table.dim, self._resources(table))
        elif table.dtype == "float64":
            self._kind = "float64", self._kind[1]
        step = self.batch_size or usual_rows(table.dim)
        with self._in_scikit_learns_words():
            if table.samples > step:  # a part is added as a whole or not at all
                for _, _, part in table.parts(step):
                    check_sum(part)
            for _, _, part in table.parts(step):
                self._running.add(part)
        self.n_samples_seen_ = int(self.__dict__.get("n_samples_seen_", 0)) + table.samples
        for name in _LEARNED:
            self.__dict__.pop(name, None)

    def _learn(self) -> None:
        """Solve the sums of the parts that came so far."""
        running = self._running
        assert running is not None
        self._check_counts(running.count, running.dim)
        self._take(running.solved(self._choice))

    @property
    def _choice(self) -> Choice:
        return Choice(self.n_components, self.svd_solver)

    def _take(self, solved: Solved) -> None:
        """Note what was learned, in the dtype and kind of the data."""
        spectrum, variance_K, count = solved.spectrum, solved.variance_K, len(solved.components_KD)
        total, limit = spectrum.total_variance, min(spectrum.samples, spectrum.dim)
        left = total - float(variance_K.sum())
        if spectrum.complete:
            left = float(spectrum.eigenvalues[count:].sum())
        if not solved.exact:
            warnings.warn(
                f"neither the covariance of {spectrum.dim:,} features nor the inner products of "
                f"{spectrum.samples:,} samples fit into the memory, or a sketch was asked for: of its "
                f"components {spectrum.components(0.9)} hold 90 % of the variance",
                stacklevel=4,
            )
        # In place: components may be as large as the data.
        signs_K = _signs(solved.components_KD)
        solved.components_KD.mul_(signs_K[:, None])
        if solved.scores_NK is not None:
            solved.scores_NK.mul_(signs_K)
        values = {
            "components_": solved.components_KD,
            "explained_variance_": variance_K,
            "explained_variance_ratio_": ratio(variance_K, total),
            "singular_values_": np.sqrt(variance_K * (spectrum.samples - 1)),
            "mean_": solved.mean_D,
        }
        self.__dict__.update({name: self._given(value) for name, value in values.items()})
        self._mean_left = self._given(solved.mean_D - torch.as_tensor(self.mean_).to(solved.mean_D))
        self.noise_variance_ = max(0.0, left) / (limit - count) if count < limit else 0.0
        self.n_components_, self.n_samples_ = count, spectrum.samples
        self.spectrum_, self.exact_ = spectrum, solved.exact

    def _given(self, values: Any) -> Any:
        """Results as an array or tensor of the data's kind."""
        dtype, device = self._kind
        if device is not None:
            return torch.as_tensor(values).to(dtype=getattr(torch, dtype), device=device).contiguous()
        values = values.cpu().numpy() if isinstance(values, torch.Tensor) else values
        return np.ascontiguousarray(values, dtype=dtype)

    def _forget(self) -> None:
        for name in (
            *_LEARNED,
            "_running",
            "_kind",
            "_mean_left",
            "n_samples_seen_",
            "n_features_in_",
            "feature_names_in_",
        ):
            self.__dict__.pop(name, None)

    def _check_counts(self, samples: int, dim: int) -> None:
        """Raise scikit-learn's ValueError where nothing, or not so many components, can be learned."""
        if samples < 2:
            check_array(
                np.empty((samples, dim)), ensure_min_samples=2, estimator=self, ensure_all_finite=False
            )
        check_count(self.n_components, samples, dim, self.svd_solver)

    def _resources(self, table: Table) -> Resources:
        device = table.device
        if device is None or self.device != "auto":
            device = resolve_device("cpu" if self.device == "auto" else self.device)
        return Resources(device, self._budget(table.dim, device), self.method, self.batch_size, self._choice)

    def _budget(self, dim: int, device: torch.device) -> int:
        """Bytes that may be taken, as given, or most of what is free."""
        if self.memory is not None:
            return parse_bytes(self.memory)
        if dim <= _NARROW and self.method in ("auto", "covariance") and self.batch_size is None:
            return _ALWAYS_FREE  # enough for a covariance; to ask takes as long as a small fit
        return int(_BUDGET_SHARE * free_bytes(device))

    def _check_sparse(self, x: Any) -> None:
        """Raise scikit-learn's TypeError for sparse data with a solver that does not read them there."""
        if sparse.issparse(x) and self.svd_solver not in SPARSE_SOLVERS:
            raise TypeError(
                'PCA only support sparse inputs with the "arpack" and "covariance_eigh" solvers, while '
                f'"{self.svd_solver}" was passed. See TruncatedSVD for a possible alternative.'
            )

    @property
    def _name(self) -> str:
        return type(self).__name__

    @contextmanager
    def _in_scikit_learns_words(self) -> Iterator[None]:
        """Say of numbers that are not finite what scikit-learn says."""
        try:
            yield
        except NotFinite as error:
            tables.check_finite(error.part, self)
            raise ValueError(TOO_LARGE) from None


def _signs(components_KD: torch.Tensor) -> torch.Tensor:
    """(k,): what makes of each component the number largest in size positive."""
    if not components_KD.numel():
        return torch.ones(len(components_KD)).to(components_KD)
    # By itself each, as all of them together may be as large as the data.
    largest_K = torch.stack([row_D[row_D.abs().argmax()] for row_D in components_KD])
    return torch.where(largest_K < 0.0, -1.0, 1.0).to(components_KD)


def deviations(variance_K: Any) -> Any:
    """(k,): standard deviations to divide by, as scikit-learn bounds them from below."""
    info = torch.finfo if isinstance(variance_K, torch.Tensor) else np.finfo
    return (variance_K**0.5).clip(info(variance_K.dtype).eps)
