"""The features of one layer of no1 as a whole, which streamspread never holds: what the others start from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from streamspread import datasets, models
from streamspread.observe.placement import prepared
from streamspread.observe.selection import select
from streamspread.observe.taps import Watch, list_taps

BATCH = 128


def feature_batches(
    network: torch.nn.Module, batches: Iterable[torch.Tensor], layer: str
) -> Iterator[torch.Tensor]:
    """(n, D) of every batch, on the batch's device, under the engine's own switches; valid until the next is
    asked for."""
    watch: Watch | None = None
    caught: list[torch.Tensor] = []
    for batch in batches:
        with prepared(network, batch.device):
            watch = watch or Watch(network, select(list_taps(network, batch[:2]), [layer]))
            watch.run(batch, lambda tap, x_ND: caught.append(x_ND))
        yield caught.pop()


def store_features(path: Path, data: str, layer: str, samples: int, weights: str | None) -> str:
    """A layer's features (N, D) float32 in a .npy file, written batch by batch; returns what they are."""
    stream = datasets.load(data, "train", samples=samples)
    loaded = models.load("no1", weights=weights)
    features, row = None, 0
    for x_ND in feature_batches(loaded.module, stream.batches(BATCH), layer):
        if features is None:
            shape = (stream.samples or samples, x_ND.shape[1])
            features = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        features[row : row + len(x_ND)] = x_ND
        row += len(x_ND)
    assert features is not None
    features.flush()
    return f"no1 {layer}, weights {loaded.weights}, {stream.description}"
