"""Options: what they mean, and which values are refused with what to write instead."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import streamspread
from streamspread.errors import BudgetError, DataError, DeviceError, LayerError, ModelError, OptionError
from streamspread.models.network import build
from tests.networks import images, network


@pytest.mark.parametrize("thresholds", [(), (0.0,), (1.2,), (0.7, -1), ("most",), (float("nan"),)])
def test_thresholds_outside_their_range_are_refused(thresholds):
    model, x = network("mlp", 20)
    with pytest.raises(OptionError, match="threshold"):
        streamspread.analyze(model, x, thresholds=thresholds)
    with pytest.raises(OptionError, match="threshold"):
        streamspread.plan(model, x, thresholds=thresholds)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"memory": "plenty"}, BudgetError, "memory 'plenty' is not a size: write 8GiB"),
        ({"memory": "0"}, BudgetError, "memory '0' is not a size"),
        (
            {"memory": "2KB"},
            BudgetError,
            r"fits by no method into 2\.0 KiB: the smallest budget that would do is",
        ),
        ({"device": "tpu"}, DeviceError, "device 'tpu' is unknown: use auto, cpu or cuda:0"),
        ({"device": "mps"}, DeviceError, "device mps is not supported"),
        ({"device": "cuda:99"}, DeviceError, r"device cuda:99 is not there: torch sees \d+ CUDA devices"),
        ({"method": "magic"}, OptionError, "method 'magic' is unknown: choose from auto, covariance, gram"),
        ({"rounding": "fp8"}, OptionError, "rounding 'fp8' is unknown: choose from auto, fp16"),
        ({"rank": 0}, OptionError, "rank 0 is neither auto nor a positive number"),
        ({"rank": "many"}, OptionError, "rank 'many' is neither auto nor a positive number"),
        ({"batch_size": 0}, OptionError, "batch size 0 asked for; it must be a whole number, 1 or more"),
        (
            {"directions": True},
            OptionError,
            "directions True asked for; it must be a whole number, 1 or more",
        ),
        ({"batch_size": -3}, OptionError, "batch size -3 asked for"),
        ({"layers": ["0", "conv*"]}, LayerError, r"no layer matches 'conv\*': nearest are"),
        ({"layers": []}, LayerError, "no layer asked for"),
        ({"layers": 3}, LayerError, "layers are named by texts, got 3: give all, or names and globs"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, error, match):
    model, x = network("mlp", 20)
    with pytest.raises(error, match=match):
        streamspread.analyze(model, x, **options)
    with pytest.raises(error, match=match):
        streamspread.plan(model, x, **options)


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5, None])
def test_seeds_out_of_range_are_refused(seed):
    model, x = network("mlp", 60)
    with pytest.raises(OptionError, match="seeds are whole numbers from 0 to"):
        streamspread.analyze(model, x, seed=seed)


def test_numbers_of_numpy_are_numbers():
    model, x = network("mlp", 60)
    numbers = {"rank": np.int64(20), "seed": np.int64(3)}
    found = streamspread.analyze(model, x, "0", method="sketch", device="cpu", **numbers)
    assert json.loads(json.dumps(found.provenance))["options"]["seed"] == 3


def test_a_sketch_has_not_all_eigenvalues():
    model, x = network("cnn", 50)
    with pytest.raises(OptionError, match=r"sketch: it finds the leading eigenvalues only.*another method"):
        streamspread.analyze(model, x, method="sketch", all_eigenvalues=True)
    for layer in streamspread.plan(model, x, all_eigenvalues=True).layers:
        assert layer.method != "sketch"
        assert "sketch: it finds the leading eigenvalues only, and all were asked for" in layer.rejected


def test_all_means_the_layers_a_reference_network_names():
    model = build("4,M,6", 0)
    assert list(streamspread.analyze(model, images(40, size=32))) == ["c1", "c2", "gap"]


def test_an_output_with_as_many_rows_as_were_looked_at_is_no_tap():
    class Modulated(nn.Module):
        def __init__(self):
            super().__init__()
            self.film, self.body = nn.Linear(8, 16), nn.Linear(16, 16)
            self.code = nn.Parameter(torch.randn(2, 8))

        def forward(self, x):
            scale, shift = self.film(self.code)
            return self.body(x) * scale + shift

    x = torch.randn(50, 16)
    assert list(streamspread.analyze(Modulated(), x, "all", device="cpu")) == ["body"]
    with pytest.raises(LayerError, match=r"layer 'film' .* cannot be analysed"):
        streamspread.analyze(Modulated(), x, "film", device="cpu")


def test_what_is_no_model_and_what_is_no_data_is_refused():
    model, x = network("mlp", 20)
    with pytest.raises(OptionError, match=r"the model must be a torch\.nn\.Module, got function"):
        streamspread.analyze(network, x)
    with pytest.raises(DataError, match="data of type int cannot be read; give a tensor"):
        streamspread.analyze(model, 3)
    with pytest.raises(DataError, match="no samples"):
        streamspread.analyze(model, iter([]))
    with pytest.raises(ModelError, match=r"does not run on a batch of shape \(2, 7\), torch\.float32: mat1"):
        streamspread.analyze(model, torch.zeros(20, 7))
