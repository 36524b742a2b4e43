"""Data sets of given items."""

from torch.utils.data import Dataset, IterableDataset


class Items(Dataset):
    """A map-style one."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Flow(IterableDataset):
    """An iterable one."""

    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)
