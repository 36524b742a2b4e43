"""Streams give some of their batches, and a hash goes on from what was seen before."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from streamspread.datasets.images import ImageData, StreamedImages
from streamspread.datasets.sources.noise import NoisePixels
from streamspread.streams.adapt import as_stream
from streamspread.streams.batch import tensors_of
from streamspread.streams.stream import Seen

X = torch.arange(70.0).reshape(35, 2)
NOISE = NoisePixels("train", 35, 0, 8)

STREAMS = {
    "tensor": lambda: as_stream(X),
    "tensors by name": lambda: as_stream({"a": X, "b": X + 1}),
    "array": lambda: as_stream(X.numpy()),
    "columns": lambda: as_stream({"a": X.numpy(), "b": X.tolist()}),
    "list": lambda: as_stream(list(X)),
    "data set": lambda: as_stream(TensorDataset(X)),
    "loader": lambda: as_stream(DataLoader(TensorDataset(X), batch_size=8)),
    "loader without its last": lambda: as_stream(DataLoader(TensorDataset(X), batch_size=8, drop_last=True)),
    "images in memory": lambda: ImageData(NOISE.read(np.arange(35))),
    "images read while used": lambda: StreamedImages(NOISE, np.arange(35), "noise", "noise"),
}


def plain(batches):
    return [{name: x.tolist() for name, x in tensors_of(batch).items()} for batch in batches]


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("step", [1, 2, 5])
def test_some_batches_are_those_of_all(kind, step):
    stream = STREAMS[kind]()
    assert stream.seekable
    batches = list(stream.batches(8))
    for first in range(len(batches) + 1):
        assert plain(stream.batches(8, first, step)) == plain(batches[first::step])


@pytest.mark.parametrize("make", [lambda: iter(X.split(8)), lambda: lambda: iter(X.split(8))])
def test_others_read_what_they_leave_out(make):
    stream = as_stream(make())
    assert not stream.seekable
    assert plain(stream.batches(8, 1, 2)) == plain(list(X.split(8))[1::2])


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("block", [16 * 2, 100, 2**20])
def test_a_hash_goes_on_from_a_state_to_the_same_text(size, block, monkeypatch):
    monkeypatch.setattr("streamspread.streams.stream._BLOCK", block)
    x = torch.randn(130, 40, generator=torch.Generator().manual_seed(0))
    whole = Seen()
    whole.add(x)
    seen = Seen()
    for part in x.split(size):
        seen.add(part)
        facts, tensors = seen.state()
        assert all(tensor.numel() < block for tensor in tensors.values())
        seen = Seen.loaded(facts, {name: tensor.clone() for name, tensor in tensors.items()})
    assert seen.text() == whole.text()
    changed = x.clone()
    changed[0] += 1
    other = Seen()
    other.add(changed)
    assert other.text() != whole.text()
