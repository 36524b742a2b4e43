"""Samples as users have them, read by slices of rows or of columns and never copied whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.validation import check_array, validate_data
from torch.utils.data import DataLoader, Dataset

from streamspread.accumulators.float64.rows import FLOATS, Table, float_name
from streamspread.errors import DataError
from streamspread.streams.adapt import as_stream
from streamspread.system.tensors import unusual

_NUMBERS = "fiub"  # kinds of NumPy's dtypes that slices are taken of as they are


def table_of(estimator: Any, x: Any, *, reset: bool, sparse_too: bool = True) -> Table:
    """The table of what an estimator is given; its number of features and their names are noted or compared.

    Args:
        x: a tensor, an array or memory map, something chunked such as zarr or h5py, a frame of pandas, Polars
            or Arrow, a sparse matrix (its slices are made dense), or what NumPy makes an array of.
        reset: whether the features are noted; else they must be those that were.

    Raises:
        ValueError, TypeError: as scikit-learn's ``validate_data``. NaN and infinity are found when slices are
            read (:func:`check_finite`), unless ``x`` had to be copied.
    """
    if isinstance(x, torch.Tensor):
        return _of_tensor(estimator, x, reset)
    if sparse.issparse(x) and sparse_too:
        return _of_sparse(estimator, x, reset)
    if hasattr(x, "collect_schema") and hasattr(x, "collect"):  # a frame of Polars too, but for rows
        raise ValueError(f"Input X is a {type(x).__name__}, whose rows are not there yet: give X.collect().")
    if _is_frame(x):
        return _of_frame(estimator, x, reset)
    if _is_chunked(x):
        validate_data(estimator, x, reset=reset, skip_check_array=True)
        samples, dim = x.shape
        return Table(
            samples,
            dim,
            float_name(x.dtype),
            None,
            lambda a, b: np.asarray(x[a:b]),
            lambda a, b: np.asarray(x[:, a:b]),
        )
    plain = isinstance(x, np.ndarray) and x.dtype.kind in _NUMBERS
    floats = [np.float64, np.float32]
    x = validate_data(
        estimator, x, reset=reset, dtype=None if plain else floats, ensure_all_finite=not plain, copy=False
    )
    samples, dim = x.shape
    return Table(samples, dim, float_name(x.dtype), None, lambda a, b: x[a:b], lambda a, b: x[:, a:b])


def is_stream(x: Any) -> bool:
    """Whether it gives batches: an iterator, a DataLoader, a data set, or a callable that returns a fresh
    iterator."""
    loads = isinstance(x, (Iterator, DataLoader, Dataset))
    return loads or (callable(x) and not hasattr(x, "__array__") and not hasattr(x, "shape"))


def batches_of(x: Any, batch_size: int | None) -> Iterator[Any]:
    """The batches of such, as matrices. Of a tuple, list or dict the first element counts, and a sample of
    more axes than one is flattened."""
    batches = x
    if not isinstance(x, Iterator):
        stream = as_stream(x)  # which says what is wrong with it
        made = None if isinstance(x, (Dataset, DataLoader)) else x()
        # As they are given: a stream makes tensors of arrays.
        batches = made if isinstance(made, Iterator) else stream.batches(batch_size)
    return (_matrix(batch) for batch in batches)


def check_finite(part: Any, estimator: Any) -> None:
    """Raise scikit-learn's ValueError where a slice holds NaN or infinity."""
    if isinstance(part, torch.Tensor):
        part = part.detach().cpu().double().numpy()
    check_array(part, estimator=estimator, input_name="X")


def _of_tensor(estimator: Any, x: torch.Tensor, reset: bool) -> Table:
    x = x.detach()
    eight_bits = x.is_floating_point() and x.element_size() == 1  # which torch does not add
    if kind := unusual(x) or ("of 8-bit floats" if eight_bits else ""):
        raise ValueError(f"Input X is a tensor that is {kind}: give an ordinary one.")
    if x.is_complex():
        raise ValueError(f"Complex data not supported\n{x}\n")
    # One number stands for each where the shape is right; else scikit-learn shows them.
    shown = np.broadcast_to(0.0, tuple(x.shape)) if x.ndim == 2 else x.cpu().double().numpy()
    validate_data(estimator, shown, reset=reset, copy=False, ensure_all_finite=False)
    dtype = FLOATS.get(x.dtype, "float64")
    samples, dim = x.shape
    return Table(samples, dim, dtype, x.device, lambda a, b: x[a:b], lambda a, b: x[:, a:b])


def _of_sparse(estimator: Any, x: Any, reset: bool) -> Table:
    checked = validate_data(
        estimator, x, reset=reset, accept_sparse=("csr", "csc"), dtype=[np.float64, np.float32], copy=False
    )
    by_row = checked.tocsr()
    by_column: list[Any] = []  # made where columns are asked for

    def columns(begin: int, end: int) -> Any:
        if not by_column:
            by_column.append(checked.tocsc())
        return by_column[0][:, begin:end].toarray()

    samples, dim = x.shape
    return Table(samples, dim, float_name(checked.dtype), None, lambda a, b: by_row[a:b].toarray(), columns)


def _of_frame(estimator: Any, x: Any, reset: bool) -> Table:
    samples, dim = x.shape
    if not samples or not dim:
        check_array(np.empty((samples, dim)), estimator=estimator)
    validate_data(estimator, x, reset=reset, skip_check_array=True)

    def rows(begin: int, end: int) -> Any:
        part = x.iloc[begin:end] if hasattr(x, "iloc") else x.slice(begin, end - begin)
        return _dense(estimator, part)

    def columns(begin: int, end: int) -> Any:
        part = x.iloc[:, begin:end] if hasattr(x, "iloc") else x.select(list(_names(x))[begin:end])
        return _dense(estimator, part)

    return Table(samples, dim, float_name(rows(0, 1).dtype), None, rows, columns)


def _dense(estimator: Any, part: Any) -> np.ndarray:
    """A slice of a frame as an array of float64 or float32."""
    if hasattr(part, "column_names"):  # Arrow's; its own conversion differs between versions
        part = np.column_stack([np.asarray(column) for column in part.columns])
    return check_array(part, dtype=[np.float64, np.float32], estimator=estimator, input_name="X")


def _names(x: Any) -> Iterable[str]:
    return x.column_names if hasattr(x, "column_names") else x.columns


def _is_frame(x: Any) -> bool:
    """Whether it is a frame of pandas, Polars or Arrow."""
    sliced = hasattr(x, "iloc") or hasattr(x, "slice")
    return sliced and hasattr(x, "columns") and len(getattr(x, "shape", ())) == 2


def _is_chunked(x: Any) -> bool:
    """Whether it is an array that lies elsewhere, in chunks."""
    shape, dtype = getattr(x, "shape", ()), getattr(x, "dtype", None)
    return hasattr(x, "chunks") and len(shape) == 2 and isinstance(dtype, np.dtype) and dtype.kind in _NUMBERS


def _matrix(batch: Any) -> Any:
    """A batch as (n, D)."""
    if isinstance(batch, Mapping):
        batch = next(iter(batch.values()), None)
    elif isinstance(batch, (tuple, list)) and len(batch) and hasattr(batch[0], "shape"):
        batch = batch[0]
    shape = getattr(batch, "shape", None)
    if shape is None and not isinstance(batch, list):
        raise DataError(f"a batch is of type {type(batch).__name__}; a matrix is needed, alone or first")
    return batch.reshape(len(batch), -1) if shape is not None and len(shape) > 2 else batch
