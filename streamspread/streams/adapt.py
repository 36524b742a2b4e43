"""From what users have, tensors, data sets, loaders, callables or iterators, to a Stream."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SequentialSampler

from streamspread.errors import DataError
from streamspread.streams.labels import class_names, data_set_labels
from streamspread.streams.stream import Stream, checked, differing_shapes, kept, resolve_batch_size

_ACCEPTED = (
    "a tensor (N, ...), a torch Dataset, a DataLoader, a callable that returns a fresh iterator of batches, "
    "or an iterator of batches"
)

# torch's message where the samples of a batch differ in shape, also when a worker process passes it on.
_RAGGED = re.compile(r"equal size, but got \[(.*?)\] at entry 0 and \[(.*?)\] at entry (\d+)")


def as_stream(data: Any) -> Stream:
    """The stream of the inputs in ``data``: of an item that is a tuple, list or dict, the first element.

    Args:
        data: a Stream (returned as it is), a tensor (N, ...) (sliced, never copied), a map-style or iterable
            Dataset, a DataLoader (its batches are kept), a callable without arguments that returns a fresh
            iterable of batches, or an iterator of batches, which can be read once.

    Raises:
        DataError: anything else, or data without samples.
    """
    if isinstance(data, Stream):
        return data
    if isinstance(data, torch.Tensor):
        return TensorStream(data)
    if isinstance(data, DataLoader):
        return LoaderStream(data)
    if isinstance(data, IterableDataset):
        return IterableDatasetStream(data)
    if isinstance(data, Dataset):
        return DatasetStream(data)
    if isinstance(data, Iterator):
        return OneShotStream(data)
    if callable(data) and not isinstance(data, torch.nn.Module):
        return CallableStream(data)
    raise DataError(f"data of type {type(data).__name__} cannot be read; give {_ACCEPTED}")


class TensorStream(Stream):
    """Slices of one tensor (N, ...), without copying."""

    def __init__(self, data: torch.Tensor) -> None:
        if data.ndim == 0 or data.shape[0] == 0:
            raise DataError(
                f"a tensor of shape {tuple(data.shape)} has no samples; give one of shape (N, ...)"
            )
        self._data = self.tensor = data
        self.samples = data.shape[0]
        self.description = f"tensor {tuple(data.shape)}"

    def batches(self, batch_size: int | None = None) -> Iterator[torch.Tensor]:
        return iter(self._data.split(resolve_batch_size(batch_size)))


class DatasetStream(Stream):
    """The items of a map-style data set, in the order of their indices."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        name = type(dataset).__name__
        self.samples = _length(dataset)
        if self.samples is None:
            raise DataError(f"data set {name} has no length; give it __len__, or make it an IterableDataset")
        if self.samples == 0:
            raise DataError(f"data set {name}: no samples in it; at least one is needed")
        self._dataset = dataset
        self.labels, self.classes = data_set_labels(dataset), class_names(dataset)
        self.description = f"{name}, {self.samples:,} samples"

    def batches(self, batch_size: int | None = None) -> Iterator[torch.Tensor]:
        what = self.description
        items = (first_tensor(self._dataset[i], f"{what}: item {i}") for i in range(self.samples or 0))
        return checked(_stacked(items, resolve_batch_size(batch_size), what), what)


class IterableDatasetStream(Stream):
    """The items of an iterable data set, in the order in which it gives them."""

    def __init__(self, dataset: IterableDataset[Any]) -> None:
        self._dataset = dataset
        self.description = type(dataset).__name__

    def batches(self, batch_size: int | None = None) -> Iterator[torch.Tensor]:
        what = self.description
        items = (first_tensor(item, f"{what}: item {i}") for i, item in enumerate(self._dataset))
        return checked(_stacked(items, resolve_batch_size(batch_size), what), what)


class LoaderStream(Stream):
    """A DataLoader's own batches; not ordered where its sampler may draw another order in every pass."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader
        self.samples = _loader_samples(loader)
        self.ordered = _loader_ordered(loader)
        if self.ordered and self.samples is not None:
            labels = data_set_labels(loader.dataset)
            self.labels = None if labels is None else labels[: self.samples]
            self.classes = class_names(loader.dataset)
        known = "" if self.samples is None else f", {self.samples:,} samples"
        self.description = f"DataLoader of {type(loader.dataset).__name__}{known}"
        if self.samples == 0:
            raise DataError(f"{self.description}: no samples in it; at least one is needed")

    def batches(self, batch_size: int | None = None) -> Iterator[torch.Tensor]:
        return checked(self._loaded(), self.description)

    def _loaded(self) -> Iterator[torch.Tensor]:
        seen = 0
        source = iter(self._loader)
        while True:
            try:
                batch = next(source)
            except StopIteration:
                return
            except RuntimeError as error:
                ragged = _RAGGED.search(str(error))
                if ragged is None:
                    raise
                break
            tensor = first_tensor(batch, f"{self.description}: a batch")
            seen += tensor.shape[0] if tensor.ndim else 0
            yield tensor
        # Raised outside of `except`, since torch's error would keep the loader's processes alive.
        del source
        first, other = (tuple(int(side) for side in sizes.split(",") if side) for sizes in ragged.group(1, 2))
        raise differing_shapes(self.description, seen + int(ragged.group(3)), other, first, other=seen)


class CallableStream(Stream):
    """The batches of the iterator that a callable returns; it is called once in every pass."""

    def __init__(self, make: Callable[[], Iterable[Any]]) -> None:
        name = getattr(make, "__name__", type(make).__name__)
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

    def batches(self, batch_size: int | None = None) -> Iterator[torch.Tensor]:
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
        batches = (first_tensor(batch, f"{self.description}: a batch") for batch in returned)
        return checked(batches, self.description)


class OneShotStream(Stream):
    """The batches of an iterator, which can be read once; what peek() took of it, batches() gives again."""

    repeatable = False

    def __init__(self, batches: Iterator[Any]) -> None:
        self.description = f"one-shot {type(batches).__name__}"
        self._source = checked(
            (first_tensor(b, f"{self.description}: a batch") for b in batches), self.description
        )
        self._held: list[torch.Tensor] = []
        self._used = False

    def batches(self, batch_size: int | None = None) -> Iterator[torch.Tensor]:
        self._refuse_if_used()
        self._used = True
        return self._replay()

    def peek(self, n: int) -> Iterator[torch.Tensor]:
        self._refuse_if_used()
        held = sum(batch.shape[0] for batch in self._held)
        while held < n and (batch := next(self._source, None)) is not None:
            self._held.append(kept(batch))
            held += batch.shape[0]
        return iter(list(self._held))

    def _replay(self) -> Iterator[torch.Tensor]:
        while self._held:
            yield self._held.pop(0)
        yield from self._source

    def _refuse_if_used(self) -> None:
        if self._used:
            raise DataError(
                f"{self.description}: two passes are needed and an iterator can be read once; "
                "give a callable that returns a fresh iterator of batches"
            )


def first_tensor(item: Any, what: str) -> torch.Tensor:
    """The tensor in an item or batch: itself, or the first element of a tuple, list or dict.

    A PIL image becomes a tensor (C, H, W).

    Raises:
        DataError: anything else.
    """
    inner = item
    if isinstance(item, Mapping):
        inner = next(iter(item.values()), None)
    elif isinstance(item, tuple | list):
        inner = item[0] if item else None
    if isinstance(inner, torch.Tensor):
        return inner
    if _is_pil(inner):
        return _from_pil(inner)
    place = "is" if inner is item else "has first element"
    raise DataError(f"{what} {place} of type {type(inner).__name__}; a tensor is needed, alone or first")


def _stacked(items: Iterable[torch.Tensor], batch_size: int, what: str) -> Iterator[torch.Tensor]:
    """Single samples put together to batches (n, ...); one may come in the memory of the one before."""
    held: list[torch.Tensor] = []
    for i, item in enumerate(items):
        if held and item.shape != held[0].shape:
            raise differing_shapes(what, i, item.shape, held[0].shape, other=i - len(held))
        held.append(kept(item))
        if len(held) == batch_size:
            yield torch.stack(held)
            held = []
    if held:
        yield torch.stack(held)


def _is_pil(item: object) -> bool:
    from PIL.Image import Image

    return isinstance(item, Image)


def _from_pil(image: Any) -> torch.Tensor:
    from torchvision.transforms.functional import pil_to_tensor

    # Images of other modes become RGB first: a palette's numbers, say, are indices and not intensities.
    return pil_to_tensor(image if image.mode in ("L", "RGB", "I;16", "I", "F") else image.convert("RGB"))


def _length(sized: Any) -> int | None:
    """len(), or None where that is not known."""
    try:
        return len(sized)
    except (TypeError, NotImplementedError):
        return None


def _loader_samples(loader: DataLoader[Any]) -> int | None:
    """The number of samples in one pass; None where the loader does not say."""
    if isinstance(loader.dataset, IterableDataset) or type(loader.batch_sampler) is not BatchSampler:
        return None
    drawn = _length(loader.batch_sampler.sampler)
    if drawn is None:
        return None
    return drawn - drawn % loader.batch_sampler.batch_size if loader.batch_sampler.drop_last else drawn


def _loader_ordered(loader: DataLoader[Any]) -> bool:
    """Whether every pass has the same order: of an iterable data set that is assumed, of samplers only the
    sequential one is known to keep it."""
    if isinstance(loader.dataset, IterableDataset):
        return True
    if loader.batch_sampler is None:
        return isinstance(loader.sampler, SequentialSampler)
    return type(loader.batch_sampler) is BatchSampler and isinstance(
        loader.batch_sampler.sampler, SequentialSampler
    )
