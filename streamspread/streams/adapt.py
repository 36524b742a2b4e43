"""From what users have, tensors, data sets, loaders, callables or iterators, to a Stream."""

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    default_collate,
)

from streamspread.errors import DataError
from streamspread.streams.batch import Batch
from streamspread.streams.items import batch_of, batched, batches_of, sample_of
from streamspread.streams.labels import class_names, data_set_labels, sample_labels
from streamspread.streams.loaders import (
    is_data_module,
    length,
    loader_of,
    loader_of_some,
    loader_ordered,
    loader_samples,
    stateful,
)
from streamspread.streams.stream import (
    DEFAULT_BATCH_SIZE,
    Stream,
    checked,
    kept,
    resolve_batch_size,
    some,
)
from streamspread.streams.whole import ArrayStream, ColumnsStream, TensorStream, of_columns

_ACCEPTED = (
    "a tensor (N, ...), an array, a mapping of these, a list of samples, a Dataset, a DataLoader, a "
    "DataModule, a callable that returns a fresh iterator of batches, or an iterator of batches"
)

_NO_BATCHES = (str, bytes, tuple, set, frozenset, torch.nn.Module)  # iterable, and no data

_RAGGED = "equal size"  # what torch's own collation says of samples that differ in shape, or lists in length


def as_stream(data: Any) -> Stream:
    """The stream of the inputs in ``data``: of an item that is a tuple or list, the first element; of a
    mapping, everything, by name.

    Args:
        data: one of

            * a Stream (returned as it is);
            * a tensor (N, ...), or a mapping of these (sliced, never copied);
            * an array, a memory map, or whatever else has shape, dtype and slices (read slice by slice); a
              data frame or an Arrow table of numbers;
            * a list of samples: tensors, arrays, images, or mappings, such as those of tokenised texts;
            * a map-style or iterable Dataset, of torch's or of Hugging Face's, of samples;
            * a DataLoader, whose batches are kept, or a LightningDataModule: the first loader that it has of
              predict, test, val and train;
            * a callable without arguments that returns a fresh iterable of batches, or any other iterable of
              batches that can be iterated anew; images, and mappings of images or numbers, are samples;
            * an iterator of batches, which can be read once.

    Raises:
        DataError: anything else, or data without samples.
    """
    if isinstance(data, Stream):
        return data
    if isinstance(data, torch.Tensor):
        return TensorStream(data)
    if isinstance(data, Mapping):
        return of_columns(data)
    if is_data_module(data):
        loader, split = loader_of(data)
        stream = as_stream(loader)
        stream.description = f"{type(data).__name__} {split}: {stream.description}"
        return stream
    return _of_items(data) or _of_batches(data)


def _of_items(data: Any) -> Stream | None:
    """The stream of what has samples; None for what has batches."""
    hugging_face = any(kind.__module__.split(".")[0] == "datasets" for kind in type(data).__mro__)
    if isinstance(data, DataLoader):
        return LoaderStream(data)
    if isinstance(data, IterableDataset) or (hugging_face and not hasattr(data, "__len__")):
        return IterableDatasetStream(data)
    if hugging_face:
        return ColumnsStream(data)
    if isinstance(data, Dataset | list):
        return DatasetStream(data)
    if all(hasattr(data, name) for name in ("shape", "dtype", "__getitem__")):
        return ArrayStream(data)
    if hasattr(data, "columns") and callable(getattr(data, "to_numpy", None)):
        return _of_frame(data, data.to_numpy())
    if hasattr(data, "column_names") and hasattr(data, "num_columns"):  # Arrow's tables and record batches
        return _of_frame(data, np.array([column.to_numpy(zero_copy_only=False) for column in data.columns]).T)
    return None


def _of_frame(frame: Any, rows_ND: np.ndarray) -> Stream:
    """The rows of a data frame whose columns are all numbers, as (N, D)."""
    name = type(frame).__name__
    if rows_ND.dtype.kind not in "fiub":
        raise DataError(
            f"{name} with columns that are no numbers, or lack some ({rows_ND.dtype}): give those that are, "
            "as frame[['a', 'b']], without missing values"
        )
    stream = ArrayStream(rows_ND)
    stream.description = f"{name}, {len(rows_ND):,} rows of {rows_ND.shape[1]:,} columns"
    return stream


def _of_batches(data: Any) -> Stream:
    if isinstance(data, Iterator):
        return OneShotStream(data)
    if callable(data) and not isinstance(data, torch.nn.Module):
        return CallableStream(data)
    table = hasattr(data, "columns")  # iterating would give their names
    if isinstance(data, Iterable) and not isinstance(data, _NO_BATCHES) and not table:
        return CallableStream(data.__iter__, type(data).__name__, data)
    meant = ""
    if isinstance(data, str | os.PathLike):
        meant = f"did you mean streamspread.data({str(data)!r})? Else "
    elif table:
        meant = "did you mean its numbers, as data.to_numpy()? Else "
    elif isinstance(data, tuple):
        meant = "did you mean TensorDataset(*data), or list(data) of samples? Else "
    raise DataError(f"data of type {type(data).__name__} cannot be read; {meant}give {_ACCEPTED}")


class DatasetStream(Stream):
    """The items of a map-style data set, or of a list, in the order of their indices."""

    seekable = True

    def __init__(self, dataset: Dataset[Any] | list[Any]) -> None:
        name = "list" if isinstance(dataset, list) else f"data set {type(dataset).__name__}"
        self.samples = length(dataset)
        if self.samples is None:
            raise DataError(f"{name} has no length; give it __len__, or make it an IterableDataset")
        if self.samples == 0:
            raise DataError(f"{name}: no samples in it; at least one is needed")
        self._dataset: Any = dataset
        if isinstance(dataset, list):
            _check_samples(dataset)
            self.labels = sample_labels(dataset)
        else:
            self.labels, self.classes = data_set_labels(dataset), class_names(dataset)
        self.description = f"{type(dataset).__name__}, {self.samples:,} samples"

    def batches(self, batch_size: int | None = None, first: int = 0, step: int = 1) -> Iterator[Batch]:
        what, size, samples = self.description, resolve_batch_size(batch_size), self.samples or 0
        starts = range(first * size, samples, step * size)
        index = (i for start in starts for i in range(start, min(samples, start + size)))
        items = (sample_of(self._dataset[i], f"{what}: item {i}") for i in index)
        return checked(batched(items, size, what), what, starts)


class IterableDatasetStream(Stream):
    """The items of an iterable data set, in the order in which it gives them."""

    def __init__(self, dataset: Iterable[Any]) -> None:
        self._dataset = dataset
        self.description = type(dataset).__name__

    def batches(self, batch_size: int | None = None, first: int = 0, step: int = 1) -> Iterator[Batch]:
        what = self.description
        items = (sample_of(item, f"{what}: item {i}") for i, item in enumerate(self._dataset))
        return some(checked(batched(items, resolve_batch_size(batch_size), what), what), first, step)


class LoaderStream(Stream):
    """A DataLoader's own batches; not ordered where its sampler may draw another order in every pass."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader
        self.samples = loader_samples(loader)
        self.ordered = loader_ordered(loader)
        # Whose batches are known without asking for them.
        self.seekable = self.ordered and self.samples is not None
        if self.ordered and self.samples is not None:
            labels = data_set_labels(loader.dataset)
            self.labels = None if labels is None else labels[: self.samples]
            self.classes = class_names(loader.dataset)
        known = "" if self.samples is None else f", {self.samples:,} samples"
        self.description = f"DataLoader of {type(loader.dataset).__name__}{known}"
        self.stateful = None if self.seekable else stateful(loader, self._begun, self.description)
        if self.samples == 0:
            raise DataError(f"{self.description}: no samples in it; at least one is needed")

    def batches(self, batch_size: int | None = None, first: int = 0, step: int = 1) -> Iterator[Batch]:
        if (first, step) == (0, 1):
            return self._begun(batch_size, 0)
        loader, size = loader_of_some(self._loader, first, step)
        starts = range(first * size, self.samples or 0, step * size)
        return checked(self._loaded(loader, starts), self.description, starts)

    def _begun(self, batch_size: int | None, first: int) -> Iterator[Batch]:
        """What the loader gives now, of which the first sample has that number."""
        return checked(self._loaded(self._loader, begin=first), self.description, first=first)

    def _loaded(self, loader: DataLoader[Any], starts: Sequence[int] = (), begin: int = 0) -> Iterator[Batch]:
        seen, by_torch, place = begin, loader.collate_fn is default_collate, iter(starts)
        source = iter(loader)
        while True:
            seen = next(place, seen)
            try:
                batch = next(source)
            except StopIteration:
                return
            except RuntimeError as error:
                if _RAGGED not in str(error):
                    raise
                break
            made = batch_of(_upright(batch) if by_torch else batch, f"{self.description}: a batch")
            seen += 0 if isinstance(made, torch.Tensor) and made.ndim == 0 else len(made)
            yield made
        # Raised outside of `except`, since torch's error would keep the loader's processes alive.
        del source
        raise DataError(
            f"{self.description}: the batch of sample {seen} has samples of differing shapes or lengths, "
            "which the loader does not pad: give the data set itself, or a collate_fn that pads"
        )


class CallableStream(Stream):
    """The batches of the iterator that a callable returns; it is called once in every pass."""

    def __init__(self, make: Callable[[], Iterable[Any]], name: str = "", source: Any = None) -> None:
        """``name``: of what the batches are from; made from the callable's where it is not given. ``source``:
        what may know where reading is."""
        name = name or getattr(make, "__name__", type(make).__name__)
        try:
            inspect.signature(make).bind()
        except TypeError as error:
            raise DataError(
                f"callable {name} needs arguments ({error}); give one that is called without"
            ) from error
        except ValueError:
            pass  # some built-in callables have no signature: calling them will show whether they fit
        self._make = make
        self._last: object = None
        self.description = f"batches from {name}"
        self.stateful = stateful(source, self._begun, self.description)

    def batches(self, batch_size: int | None = None, first: int = 0, step: int = 1) -> Iterator[Batch]:
        return some(self._begun(batch_size, 0), first, step)

    def _begun(self, batch_size: int | None, first: int) -> Iterator[Batch]:
        """What the iterator gives now, of which the first sample has that number."""
        returned = self._make()
        if not isinstance(returned, Iterable):
            raise DataError(
                f"{self.description}: it returned {type(returned).__name__}, not an iterator of batches"
            )
        if isinstance(returned, torch.Tensor):  # iterating would take its samples for batches
            raise DataError(f"{self.description}: it returned one tensor; return an iterator of batches")
        if isinstance(returned, Iterator) and returned is self._last:
            raise DataError(
                f"{self.description}: it returned the same iterator again; return a fresh one each time"
            )
        self._last = returned
        batches = batches_of(returned, resolve_batch_size(batch_size), f"{self.description}: a batch")
        return checked(batches, self.description, first=first)


class OneShotStream(Stream):
    """The batches of an iterator, which can be read once; what peek() took of it, batches() gives again."""

    repeatable = False

    def __init__(self, batches: Iterator[Any]) -> None:
        self.description = f"one-shot {type(batches).__name__}"
        made = batches_of(batches, DEFAULT_BATCH_SIZE, f"{self.description}: a batch")
        self._source = checked(made, self.description)
        self._held: list[Batch] = []
        self._used = False

    def batches(self, batch_size: int | None = None, first: int = 0, step: int = 1) -> Iterator[Batch]:
        self._refuse_if_used()
        self._used = True
        return some(self._replay(), first, step)

    def peek(self, n: int) -> Iterator[Batch]:
        self._refuse_if_used()
        held = sum(len(batch) for batch in self._held)
        while held < n and (batch := next(self._source, None)) is not None:
            self._held.append(kept(batch))
            held += len(batch)
        return iter(list(self._held))

    def _replay(self) -> Iterator[Batch]:
        while self._held:
            yield self._held.pop(0)
        yield from self._source

    def _refuse_if_used(self) -> None:
        if self._used:
            raise DataError(
                f"{self.description}: two passes are needed and an iterator can be read once; "
                "give a callable that returns a fresh iterator of batches"
            )


def _check_samples(samples: list[Any]) -> None:
    """Raises DataError for a list that looks as one of batches, as list(loader) gives it."""
    first = samples[0]
    if not isinstance(first, tuple | list) or len(first) < 2:
        return
    x, y = first[:2]
    tensors = isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor)
    if tensors and x.ndim and y.ndim == 1 and len(x) == len(y):
        raise DataError(
            f"list: its items look like batches of {len(x):,}, and a list is one of samples; give a callable "
            "that returns an iterator of batches, as lambda: iter(batches)"
        )


def _upright(batch: Any) -> Any:
    """A batch as torch's own collation makes it, but lists of numbers as (n, T): it gives T tensors (n,)."""
    if isinstance(batch, Mapping):
        return {
            name: torch.stack(list(x), 1) if isinstance(x, list) and x and all(map(_is_column, x)) else x
            for name, x in batch.items()
        }
    return [_upright(batch[0]), *batch[1:]] if isinstance(batch, list | tuple) and batch else batch


def _is_column(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and x.ndim == 1
