"""Loaders: what they tell of their batches before any is read, and those that know where reading is."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from streamspread.errors import DataError, StreamspreadError
from streamspread.streams.batch import Batch


def length(sized: Any) -> int | None:
    """len(), or None where that is not known."""
    try:
        return len(sized)
    except (TypeError, NotImplementedError):
        return None


def loader_samples(loader: DataLoader[Any]) -> int | None:
    """The number of samples in one pass; None where the loader does not say."""
    if isinstance(loader.dataset, IterableDataset) or type(loader.batch_sampler) is not BatchSampler:
        return None
    drawn = length(loader.batch_sampler.sampler)
    if drawn is None:
        return None
    return drawn - drawn % loader.batch_sampler.batch_size if loader.batch_sampler.drop_last else drawn


def loader_ordered(loader: DataLoader[Any]) -> bool:
    """Whether every pass has the same order: of an iterable data set that is assumed, of samplers only the
    sequential one is known to keep it."""
    if isinstance(loader.dataset, IterableDataset):
        return True
    if loader.batch_sampler is None:
        return isinstance(loader.sampler, SequentialSampler)
    return type(loader.batch_sampler) is BatchSampler and isinstance(
        loader.batch_sampler.sampler, SequentialSampler
    )


def loader_of_some(loader: DataLoader[Any], first: int, step: int) -> tuple[DataLoader[Any], int]:
    """The loader of every ``step``-th batch from number ``first`` on, for one whose order is that of its
    data; and how many samples a batch has."""
    batch_sampler: Any = loader.batch_sampler
    some = DataLoader(
        loader.dataset,
        batch_sampler=list(batch_sampler)[first::step],
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
    )
    return some, int(batch_sampler.batch_size)


class Stateful:
    """A source whose ``state_dict()`` says where reading is, and which goes on there in the next iteration
    after ``load_state_dict()``.

    ``begun(batch_size, first)``: the batches of its next iteration; its first sample has that number.
    """

    def __init__(self, source: Any, begun: Callable[[int | None, int], Iterator[Batch]], what: str) -> None:
        self._source, self._begun, self._what = source, begun, what

    def state(self) -> Any:
        """Where reading is: after the batch that was given last."""
        return self._source.state_dict()

    def resumed(self, state: Any, batch_size: int | None, first: int) -> Iterator[Batch]:
        """What comes after the place of a state, of which the first sample has that number.

        Raises:
            DataError: the source does not take the state.
        """
        try:
            self._source.load_state_dict(state)
            batches = self._begun(batch_size, first)
            start = next(batches, None)
        except StreamspreadError:
            raise
        except Exception as error:
            raise DataError(
                f"{self._what}: it does not go on at sample {first:,}, where the checkpoint was made "
                f"({type(error).__name__}: {error}): give the same data, or another --checkpoint"
            ) from error
        return iter(()) if start is None else chain([start], batches)


def stateful(source: Any, begun: Callable[[int | None, int], Iterator[Batch]], what: str) -> Stateful | None:
    """The source, where it can say where reading is and go on there; else None.

    Of a loader the data set must say so too: torchdata's counts what it skips twice where that does not
    (0.11), and would skip too much after the second time.
    """
    asked = [source, source.dataset] if isinstance(source, DataLoader) else [source]
    names = ("state_dict", "load_state_dict")
    able = all(callable(getattr(one, name, None)) for one in asked for name in names)
    return Stateful(source, begun, what) if able and not isinstance(source, torch.nn.Module) else None


def packed(state: Any) -> torch.Tensor | None:
    """A state as bytes, uint8 (n,), which can be read without running code that lies in them; None for one
    that cannot."""
    buffer = io.BytesIO()
    try:
        torch.save(state, buffer)
        bytes_n = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
        unpacked(bytes_n)
    except (pickle.PickleError, TypeError, ValueError, AttributeError, RuntimeError):
        return None
    return bytes_n


def unpacked(bytes_n: torch.Tensor) -> Any:
    """What :func:`packed` packed. RuntimeError, ValueError: damaged, or other objects."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.load(io.BytesIO(bytes_n.numpy().tobytes()), weights_only=True)
        except (pickle.UnpicklingError, EOFError):
            raise ValueError("the state of a loader cannot be read") from None


#: Splits in the order in which they are looked for, with what Lightning calls the stage that needs them.
STAGES = {"predict": "predict", "test": "test", "val": "validate", "train": "fit"}


def is_data_module(data: object) -> bool:
    """Whether it is a LightningDataModule, of either of the packages that have one."""
    return any(kind.__name__ == "LightningDataModule" for kind in type(data).__mro__)


def loader_of(module: Any, split: str | None = None) -> tuple[Any, str]:
    """A data module's loader and its split: that one, or the first that the module has of predict, test, val
    and train. The module prepares its data and sets itself up for it, as Lightning's trainer lets it.

    Raises:
        DataError: it has no such loader, or several for the split.
    """
    has = [name for name in STAGES if _own(module, f"{name}_dataloader")]
    kind = type(module).__name__
    if not has or (split is not None and split not in has):
        asked = "loader" if split is None else f"{split}_dataloader"
        raise DataError(f"{kind} has no {asked} of its own; it has {', '.join(has) or 'none at all'}")
    split = split or has[0]
    module.prepare_data()
    module.setup(STAGES[split])
    loader = getattr(module, f"{split}_dataloader")()
    if isinstance(loader, list | tuple):
        if len(loader) != 1:
            raise DataError(f"{kind}: {split}_dataloader gives {len(loader)} loaders; give one of them")
        (loader,) = loader
    return loader, split


def _own(module: Any, name: str) -> bool:
    """Whether the module has that method from elsewhere than Lightning's base, whose own is a refusal."""
    base = next(kind for kind in type(module).__mro__ if kind.__name__ == "LightningDataModule")
    return name in vars(module) or getattr(type(module), name, None) is not getattr(base, name, None)
