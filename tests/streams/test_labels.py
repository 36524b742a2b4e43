"""Labels that data sets have, read without their items."""

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, RandomSampler, Subset, TensorDataset

from streamspread.streams.adapt import as_stream
from streamspread.streams.labels import data_set_labels, labels_of


class Items(Dataset):
    """Items that must not be read, with attributes as given."""

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        raise AssertionError("an item was read")


class Unread(Items):
    """One whose labels cannot be had."""

    @property
    def targets(self):
        raise RuntimeError("no file is open")

    classes = targets


PAIRS = TensorDataset(torch.zeros(4, 2), torch.tensor([3, 1, 1, 0]))


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        (PAIRS, [3, 1, 1, 0]),
        (TensorDataset(torch.zeros(4, 2)), None),
        (TensorDataset(torch.zeros(4, 2), torch.rand(4)), None),
        (TensorDataset(torch.zeros(4, 2), torch.ones(4, dtype=torch.bool)), None),
        (TensorDataset(torch.zeros(4, 2), torch.ones(4, 2, dtype=torch.int64)), None),
        (Items(targets=[0, 1, 2, 1]), [0, 1, 2, 1]),
        (Items(labels=np.array([2, 2, 0, 1], np.uint8)), [2, 2, 0, 1]),
        (Items(targets=[0, 1]), None),
        (Items(targets=["cat", "dog", "cat", "cat"]), None),
        (Items(targets=[[0], [1, 2], [], [3]]), None),
        (Items(targets=torch.ones(4, dtype=torch.int64, device="meta")), None),
        (Items(targets=torch.tensor([0, 1, 0, 2]).to_sparse()), [0, 1, 0, 2]),
        (Items(), None),
        (Unread(), None),
        (Subset(Unread(), [1]), None),
        (Subset(PAIRS, [1, 5]), None),
        (Subset(PAIRS, ["one", "two"]), None),
        (Subset(PAIRS, [True, False]), None),
        (Subset(PAIRS, [3, 0]), [0, 3]),
        (Subset(Items(), [1]), None),
        (ConcatDataset([PAIRS, Subset(PAIRS, [0])]), [3, 1, 1, 0, 3]),
        (ConcatDataset([PAIRS, Items()]), None),
    ],
)
def test_what_a_data_set_says(data, labels):
    found = data_set_labels(data)
    assert (None if found is None else found.tolist()) == labels
    stream = as_stream(data)
    assert (None if stream.labels is None else stream.labels.tolist()) == labels


def test_a_loader_has_those_of_its_data_set_where_it_keeps_the_order():
    assert as_stream(DataLoader(PAIRS, batch_size=3, drop_last=True)).labels.tolist() == [3, 1, 1]
    assert as_stream(DataLoader(PAIRS, batch_size=3)).labels.tolist() == [3, 1, 1, 0]
    assert as_stream(DataLoader(PAIRS, sampler=RandomSampler(PAIRS))).labels is None


def test_classes_are_numbered_without_gaps_and_keep_their_names():
    stream = as_stream(PAIRS)
    assert labels_of(stream).names == ("0", "1", "3")
    assert labels_of(stream).index_N.tolist() == [2, 1, 1, 0]
    assert labels_of(stream).count_C.tolist() == [1, 2, 1]
    stream.classes = ("cat", "dog")
    assert labels_of(stream).names == ("cat", "dog", "3")


def test_a_data_set_gives_the_names_of_its_classes():
    stream = as_stream(Items(targets=[0, 1, 1, 0], classes=["cat", "dog"]))
    assert labels_of(stream).names == ("cat", "dog")
    stream = as_stream(Items(targets=[0, 1, 1, 0], classes=["cat", "caf\udce9"]))  # a folder's, in Latin-1
    assert labels_of(stream).names == ("cat", "caf?")
    part = Subset(Subset(stream._dataset, [1, 2, 3]), [2])
    assert labels_of(as_stream(part)).names == ("cat",)
