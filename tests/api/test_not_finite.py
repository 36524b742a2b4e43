"""NaN and infinity: the layer and the batch where they first arise are named."""

import pytest
import torch
from torch import nn

import streamspread
from streamspread.errors import ActivationError
from tests.networks import identity, images


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
@pytest.mark.parametrize("where", [0, 70, 149])
@pytest.mark.parametrize("rounding", ["fp32", "fp16", "int16"])
def test_nan_and_infinity_name_layer_and_batch(bad, method, where, rounding):
    x = images(150).flatten(1)
    x[where, 5] = bad
    match = (
        rf"layer 0: NaN or Inf in the activation in batch {where // 10 + 1}: check the weights and the input"
    )
    with pytest.raises(ActivationError, match=match):
        streamspread.analyze(identity(), x, "0", method=method, batch_size=10, rounding=rounding)


def test_a_batch_is_counted_once_also_where_it_does_not_fit_the_buffer():
    x = torch.randn(2600, 6)  # more than a staging buffer, in batches that do not divide it
    x[2510] = torch.nan
    with pytest.raises(ActivationError, match=r"layer 0: NaN or Inf in the activation in batch 26:"):
        streamspread.analyze(identity(), x, "0", method="covariance", batch_size=100)


def test_the_layer_where_nan_first_arises_is_named():
    class Log(nn.Module):
        def forward(self, x):
            return x.log()

    model = nn.Sequential(nn.Identity(), Log(), nn.Linear(6, 3))
    x = torch.rand(90, 6) + 0.1
    x[80, 2] = -1.0
    with pytest.raises(ActivationError, match="layer 1: NaN or Inf in the activation in batch 9"):
        streamspread.analyze(model, x, "*", batch_size=10)
