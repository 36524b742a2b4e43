"""What ``all`` means in a network that does not say it: convolutions and linear layers, by their names."""

import pytest
from torch import nn

from streamspread.observe.selection import is_usual


def named(kind):
    return type(kind, (nn.Module,), {})()


@pytest.mark.parametrize(
    "kind",
    [
        *("Conv1d", "Conv2d", "ConvTranspose3d", "ConvReLU2d", "ConvBnReLU2d", "Conv1D", "Conv2dSame"),
        *("Linear", "LinearReLU", "Linear4bit", "QuantLinear", "FSDPLinear", "ParametrizedConv2d"),
    ],
)
def test_convolutions_and_linear_layers_of_any_library_are_meant(kind):
    assert is_usual(named(kind))


@pytest.mark.parametrize(
    "kind", ["ConvNeXtBlock", "Conv2dNormActivation", "ConvNormAct", "ReLU", "Embedding"]
)
def test_blocks_that_hold_such_beside_others_are_not(kind):
    assert not is_usual(named(kind))
