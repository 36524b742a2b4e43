"""Rows of the narrow side have the inner products of the layer's own."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from streamspread.errors import ActivationError
from streamspread.observe.narrow import Narrow
from streamspread.observe.observed import observing
from streamspread.observe.taps import Watch
from streamspread.options import RunOptions
from streamspread.system.tensors import load
from tests.devices import DEVICES
from tests.observe.test_sources import HAVE


def sides(model, x, layers=("0",), device="cpu"):
    """Of layers that have a narrow side: their rows less the image of 0, and those of that side; float64."""
    with observing(model, x, RunOptions(layers=list(layers), device=device)) as observed:
        found = []
        for source in observed.sources.values():
            seen = {}
            Watch(model, [source.tap]).run(
                x.to(observed.device), lambda tap, rows, seen=seen: seen.update(x=rows.clone())
            )
            wide = source.in_dtype(torch.float64)
            found.append((wide.linear(seen["x"]).cpu(), Narrow.of(source).rows(seen["x"]).cpu()))
        return found


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", HAVE)
def test_inner_products_are_the_layers(name, device):
    make, shape, layers = HAVE[name]
    torch.manual_seed(0)
    model, x = make().eval(), torch.randn(9, *shape)
    names = re.findall(r"(\S+?):", layers)
    found = sides(model, x, names, device)
    assert len(found) == len(names)
    for y_ND, narrow_NS in found:
        assert narrow_NS.shape[1] < y_ND.shape[1]
        scale = float(y_ND.square().sum(1).max())
        torch.testing.assert_close(narrow_NS @ narrow_NS.T, y_ND @ y_ND.T, rtol=0, atol=1e-11 * scale)


def test_weights_that_lose_directions():
    model = nn.Sequential(nn.Linear(6, 20))
    with torch.no_grad():
        model[0].weight[:, 2:] = model[0].weight[:, :1]
    ((y_ND, narrow_NS),) = sides(model, torch.randn(9, 6))
    assert np.linalg.matrix_rank(y_ND.numpy()) == 2
    torch.testing.assert_close(narrow_NS @ narrow_NS.T, y_ND @ y_ND.T, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lost", ["nothing", "a direction", "all but one pixel in four"])
def test_columns_of_all_sizes(lost):
    """What the layer's own forward holds in float32, since its inputs make up for the sizes."""
    torch.manual_seed(0)
    if lost == "all but one pixel in four":
        model, shape = nn.Sequential(nn.Conv2d(2, 64, 1, stride=2)), (2, 6, 6)
        size = torch.tensor([1e-12, 1e12])[:, None, None]
    else:
        model, shape = nn.Sequential(nn.Linear(10, 40)), (10,)
        size = torch.logspace(-18, 18, 10)
    weight = model[0].weight.data
    if lost == "a direction":
        weight[:, 5] = weight[:, 4]
    weight.mul_(size)
    x = torch.randn(9, *shape) / size
    ((y_ND, narrow_NS),) = sides(model, x)
    torch.testing.assert_close(narrow_NS @ narrow_NS.T, y_ND @ y_ND.T, rtol=1e-6, atol=1e-6)


def test_what_is_added_is_much_larger():
    model, x = nn.Sequential(nn.Linear(6, 20)).double(), torch.randn(9, 6, dtype=torch.float64) * 1e15
    nn.init.constant_(model[0].bias, 1e15)
    ((y_ND, narrow_NS),) = sides(model, x)
    torch.testing.assert_close(narrow_NS @ narrow_NS.T, y_ND @ y_ND.T, rtol=1e-12, atol=1e16)


def test_weights_of_zero():
    model = nn.Sequential(nn.Linear(6, 20))
    nn.init.zeros_(model[0].weight)
    ((_, narrow_NS),) = sides(model, torch.randn(9, 6))
    assert not narrow_NS.any()


def test_weights_that_are_not_finite():
    model = nn.Sequential(nn.Linear(6, 20))
    with observing(model, torch.randn(9, 6), RunOptions(device="cpu", layers=["*"])) as observed:
        source = observed.sources["0"]
        with torch.no_grad():
            model[0].weight[3, 3] = torch.inf
        with pytest.raises(ActivationError, match="layer 0: NaN or Inf, or too wide a range in its weights"):
            Narrow.of(source)


@pytest.mark.parametrize("quick", [False, True])
def test_a_factor_is_the_same_after_its_state(quick):
    model, x = nn.Sequential(nn.Conv2d(3, 24, 3)), torch.randn(9, 3, 6, 6)
    with observing(model, x, RunOptions(device="cpu", layers=["0"])) as observed:
        narrow = Narrow.of(observed.sources["0"], quick)
    state = {name: part.clone() for name, part in narrow.state().items()}
    again = Narrow.like(state["layout"], torch.device("cpu"), quick)
    load(again.state(), state)
    x_NS = x.flatten(1)
    assert torch.equal(again.rows(x_NS), narrow.rows(x_NS))
    assert bool(torch.equal(narrow.rows(x_NS), narrow.rows(x_NS).float())) == quick
