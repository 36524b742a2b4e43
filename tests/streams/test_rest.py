"""Streams whose batches can be skipped give after any of them what they would have given."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from streamspread.datasets.images import ImageData, StreamedImages
from streamspread.datasets.noise import NoisePixels
from streamspread.errors import DataError
from streamspread.streams import Seen, as_stream
from streamspread.streams.batch import tensors_of

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
def test_the_rest_is_what_comes_after(kind):
    stream = STREAMS[kind]()
    assert stream.seekable
    batches = list(stream.batches(8))
    first = 0
    for number in range(len(batches) + 1):
        assert plain(stream.rest(8, first)) == plain(batches[number:])
        if number < len(batches):
            first += len(batches[number])


@pytest.mark.parametrize("make", [lambda: iter([X]), lambda: lambda: iter([X])])
def test_others_say_that_they_cannot(make):
    stream = as_stream(make())
    assert not stream.seekable
    with pytest.raises(DataError, match="it can only be read from its beginning"):
        stream.rest(8, 8)


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
