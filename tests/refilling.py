"""Data whose batches all come in one and the same memory, as a reader that saves memory gives them."""

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset


def refilled(x, size, kind="tensor"):
    """The batches of x (N, …), each written over the one before; ``numpy``: in an array's memory."""
    buffer = torch.empty_like(x[:size])
    if kind == "numpy":
        buffer = torch.from_numpy(buffer.numpy())
    for part in x.split(size):
        buffer[: len(part)] = part
        yield buffer[: len(part)]
    buffer.fill_(-7)  # what is looked at after the end is of no batch


class Loader(DataLoader):
    """A loader that yields its batches in one memory."""

    def __init__(self, x, size, kind):
        super().__init__(TensorDataset(x), batch_size=size)
        self._parts = x, size, kind

    def __iter__(self):
        return ((batch, 0) for batch in refilled(*self._parts))


class Batches(IterableDataset):
    """Something that is iterated anew in every pass."""

    def __init__(self, *parts):
        self._parts = parts

    def __iter__(self):
        return refilled(*self._parts)


class Items(Dataset):
    """A map-style data set that gives every sample in one memory."""

    def __init__(self, x):
        self._x, self._buffer = x, torch.empty_like(x[0])

    def __len__(self):
        return len(self._x)

    def __getitem__(self, index):
        return self._buffer.copy_(self._x[index]), 0


class Flow(IterableDataset):
    """An iterable data set that does so."""

    def __init__(self, x):
        self._x = x

    def __iter__(self):
        return (batch[0] for batch in refilled(self._x, 1))


def _shared(x, size, kind):
    """A callable whose iterators all write into the same memory, also where an older one is still held."""
    buffer = torch.empty_like(x[:size])
    buffer = torch.from_numpy(buffer.numpy()) if kind == "numpy" else buffer

    def make():
        for part in x.split(size):
            buffer[: len(part)] = part
            yield {"image": buffer[: len(part)]}

    return make


#: Data of all kinds by name: functions of x, the size of a batch, and the kind of memory.
REFILLING = {
    "generator": refilled,
    "callable": lambda x, size, kind: lambda: refilled(x, size, kind),
    "callable, one memory for all passes": _shared,
    "callable of an iterable": lambda x, size, kind: lambda: Batches(x, size, kind),
    "loader": Loader,
    "loader without batches": lambda x, size, kind: DataLoader(Batches(x, size, kind), batch_size=None),
    "data set": lambda x, size, kind: Items(x),
    "iterable data set": lambda x, size, kind: Flow(x),
}
