"""Principal component analysis with scikit-learn's interface: exact, streamed, within a memory budget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from streamspread.accumulators.float64.rows import Table, usual_rows
from streamspread.errors import DataError
from streamspread.estimator import tables
from streamspread.estimator.learning import SPARSE_SOLVERS, Learner, deviations
from streamspread.estimator.probabilistic import Model, Projection
from streamspread.results.interval import Interval


class PCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Learner):
    """Principal component analysis, in place of scikit-learn's ``PCA`` and ``IncrementalPCA``.

    Sums are float64, whatever the data's dtype, and rounded once in the end. They are of the covariance
    (order D), or of inner products between samples (order N) where there are fewer of those; data are read by
    slices, and never copied whole. ``partial_fit`` forgets nothing: after any parts the result is that of
    ``fit`` on all of them.

    Args:
        n_components: how many: a whole number; a share of the variance in (0, 1), for which the fewest
            components are taken that hold more than it; ``"mle"`` for Minka's estimate; None for
            min(N, D).
        copy: taken for scikit-learn's sake: what is given is never written to.
        whiten: whether scores are divided by their standard deviation.
        svd_solver, tol, iterated_power, n_oversamples, power_iteration_normalizer, random_state: taken so
            that programs written for scikit-learn run. All results are exact, whichever solver is named;
            ``svd_solver`` decides which numbers of components are refused, and whether sparse data are, as it
            does there.
        memory: most bytes to use beside the data and the results, such as ``"2GiB"``. Default: most of what
            is free.
        device: where to compute: ``"auto"`` is where a tensor lies, and the CPU for all else.
        method: ``"covariance"``, ``"gram"``, ``"sketch"``, or ``"auto"``: the exact one that costs less, and
            a sketch, with a warning, where neither fits into the memory.
        batch_size: rows that are read at a time. Default: as many as suit the caches.

    Attributes:
        components_: (k, D), orthonormal rows; of each the number largest in size is positive.
        explained_variance_, explained_variance_ratio_, singular_values_: (k,), descending; divisor N − 1.
        mean_: (D,).
        noise_variance_: the mean variance of the min(N, D) − k directions that are left out.
        n_components_, n_samples_, n_samples_seen_, n_features_in_, feature_names_in_: as scikit-learn's.
        spectrum_: all that is known of the eigenvalues (:class:`streamspread.Spectrum`).
        exact_: False where the components are those of a sketch.

    Arrays are float32 for float32 data, else float64; of tensors they are tensors on the same device.

    >>> import numpy as np, streamspread
    >>> x = np.random.default_rng(0).normal(size=(500, 20)) * np.arange(20)
    >>> pca = streamspread.PCA(0.9).fit(x)
    >>> pca.n_components_, pca.components_interval(0.5)
    """

    def fit(self, X: Any, y: Any = None) -> PCA:
        """Learn the components of all samples; what came before is forgotten.

        Args:
            X: (N, D): an array, memory map, tensor, frame of pandas, Polars or Arrow, sparse matrix, zarr or
                h5py array; or an iterator, DataLoader, data set or callable that gives batches (n, …).
            y: ignored.

        Raises:
            ValueError, TypeError: as scikit-learn's.
            BudgetError: the memory cannot be read as a size, or does not hold even a small sketch.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """:meth:`fit`, and the samples' scores (N, k)."""
        if isinstance(X, Iterator):
            raise DataError(
                "samples are read again for their scores, and an iterator can be read once: give a callable "
                "that returns a fresh one"
            )
        solved = self._fit(X)
        if solved is None or solved.scores_NK is None:
            return self.transform(X)
        scores_NK = solved.scores_NK
        if self.whiten:
            scores_NK /= deviations(torch.as_tensor(solved.variance_K)).to(scores_NK)
        return self._given(scores_NK)

    def partial_fit(self, X: Any, y: Any = None, check_input: bool = True) -> PCA:
        """Add samples to those that came by ``partial_fit`` or a ``fit`` that summed a covariance.

        The components are made when they are asked for, so a part costs only its sums. While there are fewer
        samples than half the features, rows are held as they came, as long as the memory allows.

        Args:
            X: as for :meth:`fit`, but not sparse.

        Raises:
            ValueError, TypeError: as scikit-learn's, such as for another number of features.
        """
        self._validate_params()
        if sparse.issparse(X):
            name = type(self).__name__
            raise TypeError(
                f"{name}.partial_fit does not support sparse input. Either convert data to dense or use "
                f"{name}.fit to do so in batches."
            )
        self._sum(X)
        return self

    def transform(self, X: Any) -> Any:
        """The scores (N, k) of samples, given as for :meth:`fit`, an iterator's joined."""
        check_is_fitted(self)
        return self._projected(X, self._scores)

    def inverse_transform(self, X: Any) -> Any:
        """The samples (N, D) that have these scores (N, k), without what components leave out."""
        check_is_fitted(self)
        components_KD = self.components_
        if isinstance(components_KD, torch.Tensor):
            X = torch.as_tensor(X).to(components_KD)
        else:
            X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if self.whiten:
            components_KD = components_KD * (self.explained_variance_**0.5)[:, None]
        return X @ components_KD + self._mean_left + self.mean_

    def score_samples(self, X: Any, y: Any = None) -> Any:
        """(N,): the log-likelihood of each sample under the probabilistic model
        (:class:`streamspread.estimator.probabilistic.Model`); no D × D matrix is made for it."""
        check_is_fitted(self)
        return self._projected(X, self._likelihoods)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of :meth:`score_samples`."""
        return float(self.score_samples(X).mean())

    def get_covariance(self) -> Any:
        """(D, D): the covariance of the probabilistic model."""
        check_is_fitted(self)
        return self._model().covariance()

    def get_precision(self) -> Any:
        """(D, D): its inverse."""
        check_is_fitted(self)
        return self._model().precision()

    def components_interval(self, threshold: float = 0.9) -> Interval:
        """How many components hold at least that share of the variance, as a proved interval [low, high]: a
        number where both are equal, as wherever all eigenvalues are known for any share that is not met
        within float64's rounding. Any share can be asked for, whatever ``n_components`` is.

        Raises:
            OptionError: a share outside (0, 1].
        """
        check_is_fitted(self)
        found = self.spectrum_.components(threshold)
        if not (found.closed or self.spectrum_.complete or self._running is None):
            # Of few components of many features the other eigenvalues were not needed so far.
            self.spectrum_ = self._running.whole_spectrum() or self.spectrum_
            found = self.spectrum_.components(threshold)
        return found

    # What is made of them.

    def _projected(self, x: Any, make: Any) -> Any:
        if not tables.is_stream(x):
            return make(tables.table_of(self, x, reset=False))
        batches = tables.batches_of(x, self.batch_size)
        made = [make(tables.table_of(self, batch, reset=False)) for batch in batches]
        if not made:
            self._refuse_nothing()
        return torch.cat(made) if isinstance(made[0], torch.Tensor) else np.concatenate(made)

    def _scores(self, table: Table) -> Any:
        components_KD = self.components_
        if isinstance(components_KD, np.ndarray):
            dtype = np.result_type(table.dtype, components_KD.dtype)
            components_KD = components_KD.astype(dtype, copy=False)
        scores_NK = self._empty(table.samples, components_KD)
        for begin, end, _, part_NK in self._centred(table, components_KD):
            scores_NK[begin:end] = part_NK
        return scores_NK / deviations(self.explained_variance_) if self.whiten else scores_NK

    def _likelihoods(self, table: Table) -> Any:
        wide = self._wide(self.components_), self._wide(self.explained_variance_)
        likely = Model(*wide, self.noise_variance_, self.whiten)
        found = []
        for _, _, x_ND, scores_NK in self._centred(table, wide[0]):
            rest_N = ((x_ND**2).sum(1) - (scores_NK**2).sum(1)).clip(0.0)
            found.append(likely.likelihoods(rest_N, scores_NK))
        return self._given(torch.cat(found) if isinstance(found[0], torch.Tensor) else np.concatenate(found))

    def _centred(self, table: Table, components_KD: Any) -> Iterator[Any]:
        mean_D = self._wide(self.mean_) + self._mean_left
        step = min(table.samples, self.batch_size or usual_rows(table.dim))
        for begin, end, x_ND, scores_NK in Projection(mean_D, components_KD).parts(table, step):
            total = float(x_ND.sum())  # not finite where one of the numbers is not
            if not np.isfinite(total):
                tables.check_finite(table.rows(begin, end), self)
            yield begin, end, x_ND, scores_NK

    def _model(self) -> Model:
        return Model(self.components_, self.explained_variance_, self.noise_variance_, self.whiten)

    @staticmethod
    def _wide(values: Any) -> Any:
        return values.double() if isinstance(values, torch.Tensor) else values.astype(np.float64)

    @staticmethod
    def _empty(samples: int, components_KD: Any) -> Any:
        shape = samples, len(components_KD)
        if isinstance(components_KD, torch.Tensor):
            return torch.empty(shape, dtype=components_KD.dtype, device=components_KD.device)
        return np.empty(shape, components_KD.dtype)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = self.svd_solver in SPARSE_SOLVERS
        tags.array_api_support = True
        return tags
