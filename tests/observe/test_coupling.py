"""WᵀW of convolutions from few products is that from all unit vectors, and its factor is the dense one."""

import pytest
import torch
from torch import nn

from streamspread.observe import narrow
from streamspread.observe.narrow import Coupling
from streamspread.observe.observed import observing
from streamspread.options import RunOptions
from tests.linalg.test_banded import dense
from tests.observe.test_sources import normed

#: Networks, an input's shape, how many products it takes, and how many places further coupled ones may lie.
COUPLED = {
    "3x3": (lambda: [nn.Conv2d(2, 40, 3, padding=1)], (2, 8, 9), 2 * 25, 2 * 8 + 2),
    "1x1": (lambda: [nn.Conv2d(8, 40, 1)], (8, 5, 6), 8, 0),
    "1x1, strided": (lambda: [nn.Conv2d(8, 40, 1, stride=2)], (8, 6, 6), 8, 0),
    "channels last": (
        lambda: [nn.Conv2d(4, 40, 3).to(memory_format=torch.channels_last)],
        (4, 8, 9),
        4 * 25,
        2 * 8 + 2,
    ),
    "dilated, strided, with a norm": (
        lambda: [nn.Conv2d(2, 40, (1, 2), dilation=(1, 3), stride=(2, 1)), normed(40)],
        (2, 6, 11),
        2 * 7,
        3,
    ),
    "groups": (lambda: [nn.Conv2d(4, 40, 3, groups=2, padding=1)], (4, 8, 9), 4 * 25, 2 * 8 + 2),
    "a low image": (lambda: [nn.Conv2d(2, 40, 3)], (2, 4, 30), 2 * 4 * 5, 2 * 4 + 2),
    "a low image, channels last": (
        lambda: [nn.Conv2d(4, 40, 3).to(memory_format=torch.channels_last)],
        (4, 4, 20),
        4 * 4 * 5,
        2 * 4 + 2,
    ),
    "two in a row": (
        lambda: [nn.Conv2d(1, 9, 2, stride=2), nn.Conv2d(9, 90, 2)],
        (1, 12, 12),
        49,
        3 * 12 + 3,
    ),
    "wider than the image": (
        lambda: [nn.Conv2d(2, 40, (7, 1), padding=(3, 0))],
        (2, 5, 6),
        2 * 5,
        4,
    ),
    "transposed": (lambda: [nn.ConvTranspose2d(3, 2, 2, stride=2)], (3, 5, 6), 3, 0),
    "transposed, overlapping": (
        lambda: [nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1), normed(2), nn.Conv2d(2, 3, 3, padding=1)],
        (3, 12, 11),
        3 * 25,
        2 * 11 + 2,
    ),
    "transposed, dilated": (
        lambda: [nn.Conv2d(3, 2, 1), nn.ConvTranspose2d(2, 9, (2, 3), stride=(1, 2), dilation=2)],
        (3, 12, 11),
        2 * 5 * 5,  # of what the second one takes
        2 * 11 + 2,
    ),
    "of one axis": (
        lambda: [nn.Conv1d(3, 20, 3, padding=1, stride=2), nn.BatchNorm1d(20)],
        (3, 21),
        3 * 5,
        2,
    ),
    "of one axis, transposed": (lambda: [nn.ConvTranspose1d(6, 4, 4, stride=2)], (6, 9), 6 * 3, 1),
    "linear, of tokens": (lambda: [nn.Linear(6, 20), nn.Dropout(), nn.Linear(20, 30)], (5, 6), 6, 0),
    "linear, of places": (lambda: [nn.Linear(6, 20)], (3, 5, 6), 6, 0),
}


def source_of(layers, shape):
    torch.manual_seed(0)
    model, x = nn.Sequential(*layers).eval(), torch.randn(3, *shape)
    if (
        shape[0] == 4
        and isinstance(layers[0], nn.Conv2d)
        and layers[0].weight.is_contiguous(memory_format=torch.channels_last)
    ):
        x = x.contiguous(memory_format=torch.channels_last)
    with observing(model, x, RunOptions(device="cpu", layers=[str(len(layers) - 1)])) as observed:
        (source,) = observed.sources.values()
    return source


def every(source):
    """WᵀW from all unit vectors, with the numbers of x place by place."""
    wide, order_S = source.in_dtype(torch.float64), Coupling.of(source).order()
    return wide.squared(torch.eye(source.dim, dtype=torch.float64))[order_S[:, None], order_S]


@pytest.mark.parametrize("name", COUPLED)
def test_square_from_few_products(name, monkeypatch):
    make, shape, products, reach = COUPLED[name]
    source = source_of(make(), shape)
    coupling = Coupling.of(source)
    assert (coupling.colours, coupling.layout.reach) == (products, reach)
    taken, images = [], narrow._images
    monkeypatch.setattr(narrow, "_images", lambda wide, by: taken.append(by.colours) or images(wide, by))
    few, order_S = narrow._square(source, coupling)
    assert taken == [products]
    assert torch.equal(order_S, coupling.order())
    every_SS = every(source)
    scale = float(every_SS.max())
    torch.testing.assert_close(dense(few), every_SS.tril(), rtol=0, atol=1e-14 * scale)


@pytest.mark.parametrize("name", COUPLED)
def test_factor_is_the_dense_one(name):
    make, shape, _, _ = COUPLED[name]
    source = source_of(make(), shape)
    every_SS = every(source)
    found_SS = dense(narrow.Narrow.of(source).factor)
    scale = float(every_SS.max())
    torch.testing.assert_close(found_SS @ found_SS.T, every_SS, rtol=0, atol=1e-12 * scale)
    factor_SS, info = torch.linalg.cholesky_ex(every_SS)
    if not int(info) and torch.linalg.cond(every_SS) < 1e8:
        torch.testing.assert_close(found_SS, factor_SS, rtol=0, atol=1e-6 * scale**0.5)


def test_a_band_takes_its_own_length_and_breadth():
    coupling = Coupling((64, 64, 64), (2, 2), False)
    assert coupling.layout.numbers < 64**3 * 64 * (2 * 64 + 3 + 4)


def test_a_coupling_that_is_none_is_seen():
    source = source_of([nn.Conv2d(2, 40, 3, padding=1)], (2, 8, 8))
    whole, order_S = narrow._square(source, Coupling.whole(source.dim))
    found, found_order_S = narrow._square(source, Coupling(source.shape, (1, 1), False))
    assert torch.equal(order_S, found_order_S)
    assert torch.equal(whole.flat, found.flat)


@pytest.mark.parametrize(
    "layers", [[nn.Linear(8, 20)], [nn.Conv2d(2, 40, 3, padding=1, padding_mode="circular")], [nn.Flatten()]]
)
def test_what_is_no_such_chain(layers):
    shape = (8,) if isinstance(layers[0], nn.Linear) else (2, 8, 8)
    model = nn.Sequential(*layers, nn.Linear(128, 200)) if isinstance(layers[0], nn.Flatten) else None
    layers = list(model) if model is not None else layers
    assert Coupling.of(source_of(layers, shape)).all_coupled
