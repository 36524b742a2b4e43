"""A run that is kept and resumed ends with the same bits as one that nobody disturbed, wherever it ended."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import streamspread
from streamspread.engine import checkpoints
from streamspread.errors import DataError, StoreError
from streamspread.options import Options
from tests.networks import Sign, growing, network, smallest_budget

TIMES = {"seconds", "peak_bytes"}  # what no two runs have alike


class Stop(Exception):
    """Ends a run."""


@pytest.fixture(autouse=True)
def _after_every_batch(monkeypatch):
    monkeypatch.setattr(checkpoints, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", 0.0)


def stopping(after):
    """A progress callback that ends the run at its so many-th call."""
    calls = []

    def report(event):
        calls.append(event)
        if len(calls) == after:
            raise Stop

    return report


def plain(value):
    """What two values have alike if they have the same bits."""
    if dataclasses.is_dataclass(value):
        names = {one.name for one in dataclasses.fields(value)} - TIMES
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, np.ndarray | np.generic | float):
        return np.asarray(value).dtype.str, np.shape(value), np.asarray(value).tobytes()
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def bits(spectra):
    """All numbers of spectra, and the hash of what was seen."""
    own = {name: plain(one) for name, one in spectra.items()} | {"seen": spectra.provenance["data_seen"]}
    return own if spectra.twin is None else {**own, "twin": bits(spectra.twin)}


def resumed(model, data, layers, path, every=1, **options):
    """The run that is ended again and again, at every so many-th sign of life, and how often it was."""
    ends = 0
    while True:
        try:
            done = streamspread.analyze(
                model, data, layers, checkpoint=path, progress=stopping(1 + every), **options
            )
        except Stop:
            ends += 1
            assert path.is_file()
            assert ends < 300
        else:
            return done, ends


def several(method, **options):
    """A network of three layers with so little memory that it takes several passes."""
    model, x = network("cnn", 170)
    options = {"method": method, "batch_size": 50, **options}
    budget = smallest_budget(model, x, LAYERS, **options)
    assert len(streamspread.plan(model, x, LAYERS, memory=budget, **options).passes) > 1
    return model, x, LAYERS, {**options, "memory": budget}


def one(kind="cnn", layers=("1", "4"), **options):
    """A network in one pass, or as many as the method needs."""
    return *network(kind, 170), list(layers), {"batch_size": 50, **options}


def overflowing(rounding):
    """Layers of which one is summed again in another precision, and one is not."""
    model = nn.Sequential(nn.Identity(), Sign())
    return model, growing(40, 200), "*", {"method": "covariance", "rounding": rounding, "batch_size": 40}


class Labelled(torch.utils.data.Dataset):
    """Samples with a class each."""

    def __init__(self, x):
        self.x, self.targets, self.read = x, [index % 3 for index in range(len(x))], []

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        self.read.append(index)
        return self.x[index], self.targets[index]


class Noisy(nn.Module):
    """Adds noise in eval mode too, which repeats by a batch's place alone."""

    def forward(self, x):
        return x + torch.randn_like(x)


def noisy():
    model, x, layers, options = several("gram")
    return nn.Sequential(*model[:4], Noisy(), *model[4:]), x, ["0", "1", "5"], options


def classes():
    model, x, layers, options = one(classes=True)
    return model, Labelled(x), layers, options


LAYERS = ["0", "1", "4"]
CASES = {
    "covariance": lambda: one(method="covariance"),
    "gram": lambda: one(method="gram"),
    "sketch": lambda: one(method="sketch", rank=20),
    "sketch in three passes": lambda: one(method="sketch", rank=6, max_passes=3, thresholds=(0.5, 0.99)),
    "all eigenvalues": lambda: one(method="covariance", all_eigenvalues=True),
    "int16 covariance": lambda: one(method="covariance", rounding="int16"),
    "int16 gram": lambda: one(method="gram", rounding="int16"),
    "several passes of grams": lambda: several("gram"),
    "several passes of covariances": lambda: several("covariance"),
    "several passes at int16": lambda: several("gram", rounding="int16"),
    "overflow at fp16": lambda: overflowing("fp16"),
    "overflow at int16": lambda: overflowing("int16"),
    "directions of grams": lambda: several("gram", directions=3),
    "directions of covariances": lambda: one(method="covariance", directions=3),
    "a pass for scores": lambda: one(method="covariance", directions=3, scores=True),
    "views": lambda: one(view=["whole", "position", "pooled", "pooled-max"]),
    "narrow sides": lambda: one(layers=["0"], method="covariance"),
    "classes": classes,
    "a model that draws numbers": noisy,
    "a random twin": lambda: one(with_random=True),
}


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_ended_again_and_again_has_the_bits_of_one_that_is_not(case, every, tmp_path):
    model, x, layers, options = CASES[case]()
    torch.manual_seed(3)
    whole = streamspread.analyze(model, x, layers, **options)
    torch.manual_seed(3)
    done, ends = resumed(model, x, layers, tmp_path / "run", every, **options)
    assert ends >= 2
    assert bits(done) == bits(whole)
    assert list(tmp_path.iterdir()) == []
