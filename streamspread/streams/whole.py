"""Data that lie somewhere whole, in memory, in a file or in a store of chunks, and are sliced."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from streamspread.errors import DataError
from streamspread.streams.batch import Batch, Named
from streamspread.streams.items import array_tensor, batch_of
from streamspread.streams.labels import class_names, column_labels, data_set_labels
from streamspread.streams.stream import Stream, checked, resolve_batch_size
from streamspread.system.tensors import unusual


class TensorStream(Stream):
    """Slices of one tensor (N, ...), or of several by name, without copying."""

    seekable = True

    def __init__(self, data: Batch, description: str | None = None) -> None:
        self._data = self.tensor = data
        if isinstance(data, Named):
            shape = data.describe()
            self.samples, self.labels = len(data), column_labels(data.tensors, len(data))
        else:
            if kind := unusual(data):
                raise DataError(f"a tensor that is {kind} cannot be read: give an ordinary one")
            shape = str(tuple(data.shape))
            self.samples = data.shape[0] if data.ndim else 0
            if data.is_complex():
                raise DataError(f"a tensor of complex numbers {shape} cannot be read; give real numbers")
        if not self.samples:
            raise DataError(f"a tensor of shape {shape} has no samples; give one of shape (N, ...)")
        self.description = description or f"tensor {shape}"

    def batches(self, batch_size: int | None = None, first: int = 0, step: int = 1) -> Iterator[Batch]:
        return iter(list(self._data.split(resolve_batch_size(batch_size)))[first::step])


class SlicedStream(Stream):
    """Batches made of slices of what lies somewhere whole: what a slice needs is read, and no more."""

    samples: int
    seekable = True

    @abstractmethod
    def rows(self, begin: int, end: int) -> Any:
        """Samples ``begin`` to ``end``, or to the last one, as :func:`batch_of` takes them."""

    def batches(self, batch_size: int | None = None, first: int = 0, step: int = 1) -> Iterator[Batch]:
        what, size = self.description, resolve_batch_size(batch_size)
        starts = range(first * size, self.samples, step * size)
        return checked((batch_of(self.rows(i, i + size), what) for i in starts), what, starts)


class ArrayStream(SlicedStream):
    """Slices of whatever has a shape, a NumPy dtype and slices: arrays, memory maps, chunked stores."""

    def __init__(self, data: Any) -> None:
        shape, dtype = tuple(data.shape), np.dtype(data.dtype)
        kind = type(data).__name__
        if not shape or not shape[0]:
            raise DataError(f"{kind} of shape {shape} has no samples; give one of shape (N, ...)")
        # Of no samples: what the dtype alone tells.
        wrong = array_tensor(np.empty(0, dtype))
        if isinstance(data, np.ma.MaskedArray):
            wrong = "a masked array"
        if isinstance(wrong, str):
            raise DataError(f"{kind} of shape {shape} is {wrong}; give an array of real numbers")
        self._data = data
        self.samples = int(shape[0])
        self.description = f"{kind} {shape}"

    def rows(self, begin: int, end: int) -> np.ndarray:
        return np.asarray(self._data[begin:end])


class ColumnsStream(SlicedStream):
    """Columns by name, each of as many rows: a mapping of arrays, tensors or lists, or a data set of Hugging
    Face's, which gives a mapping for a slice of rows."""

    def __init__(self, data: Any) -> None:
        kind = type(data).__name__
        if isinstance(data, Mapping):
            data = {str(name): values for name, values in data.items() if _has_rows(values)}
            counts = {name: len(values) for name, values in data.items()}
            if len(set(counts.values())) > 1:
                found = ", ".join(f"{name} {count:,}" for name, count in counts.items())
                raise DataError(f"{kind}: its columns must have one number of rows, and have {found}")
            self.samples = next(iter(counts.values()), 0)
            self.labels = column_labels(data, self.samples)
        else:
            self.samples = len(data)
            self.labels, self.classes = data_set_labels(data), class_names(data)
        if not self.samples:
            raise DataError(f"{kind}: no samples in it; at least one is needed")
        self._data = data
        self.description = f"{kind}, {self.samples:,} samples"

    def rows(self, begin: int, end: int) -> Any:
        if not isinstance(self._data, Mapping):
            return self._data[begin:end]
        return {name: values[begin:end] for name, values in self._data.items()}


def _has_rows(values: Any) -> bool:
    return hasattr(values, "__len__") and not isinstance(values, str | bytes | Mapping)


def of_columns(data: Mapping[Any, Any]) -> Stream:
    """The stream of columns by name."""
    if data and all(isinstance(x, torch.Tensor) and not x.is_complex() for x in data.values()):
        return TensorStream(Named({str(name): x for name, x in data.items()}))
    return ColumnsStream(data)
