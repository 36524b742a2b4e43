"""The provenance says which data were seen: one text for the same samples in the same order, and no other."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import streamspread
from tests.devices import DEVICES
from tests.networks import network, smallest_budget
from tests.refilling import REFILLING

FORMS = {
    "tensor": lambda x: x,
    "data set": TensorDataset,
    "loader": lambda x: DataLoader(TensorDataset(x), batch_size=48),
    "callable": lambda x: lambda: iter(x.split(33)),
    "one-shot": lambda x: iter(x.split(20)),
    "in one memory": lambda x: REFILLING["generator"](x, 20, "numpy"),
}


def seen(model, data, layers="*", **options):
    return streamspread.analyze(model, data, layers, **options).provenance["data_seen"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("batch_size", [7, 64, None])
@pytest.mark.parametrize("form", FORMS)
def test_it_does_not_depend_on_how_the_samples_come(form, batch_size, device):
    model, x = network("mlp", 150)
    found = seen(model, FORMS[form](x), batch_size=batch_size, device=device)
    assert found == seen(model, x, device="cpu")
    assert len(found) == 32
    assert int(found, 16) > 0


@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
def test_nor_on_the_passes_the_layers_the_method_or_the_budget(method):
    model, x = network("cnn", 150)
    options = {"method": method, "batch_size": 50}
    least = smallest_budget(model, x, ["0", "1"], **options)
    assert seen(model, x, ["0", "1"], memory=least, **options) == seen(model, x, "7")


OTHERS = {
    "one sample fewer": lambda x: x[:-1],
    "one more": lambda x: torch.cat([x, x[:1]]),
    "two swapped": lambda x: x[[1, 0, *range(2, len(x))]],
    "the other way round": lambda x: x.flip(0),
    "a sample twice": lambda x: x[[0, 0, *range(2, len(x))]],
    "flipped": lambda x: x.flip(1),
    "shifted": lambda x: x + 1e-6,
    "in float64": lambda x: x.double(),
    "drawn from another distribution": lambda x: torch.rand_like(x),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_it_tells_other_data_apart(kind):
    model, x = network("mlp", 150)
    model = torch.nn.Sequential(torch.nn.Flatten())  # for data of any dtype
    assert seen(model, OTHERS[kind](x), "0") != seen(model, x, "0")


def test_data_that_overflow_at_fp16_are_the_same_data():
    model, x = torch.nn.Sequential(torch.nn.Flatten()), torch.randn(60, 8)
    x[40:] *= 1e6
    options = {"method": "covariance", "batch_size": 20, "device": "cpu"}
    assert seen(model, x, "0", rounding="fp16", **options) == seen(model, x, "0", rounding="fp32", **options)
