"""WᵀW of convolutions from few products is that from all unit vectors."""

import pytest
import torch
from torch import nn

from streamspread.observe import narrow
from streamspread.observe.coupling import Coupling
from streamspread.observe.observed import observing
from streamspread.options import RunOptions
from tests.observe.test_sources import normed

#: Networks, an input's shape, and how many products it takes.
COUPLED = {
    "3x3": (lambda: [nn.Conv2d(2, 40, 3, padding=1)], (2, 8, 9), 2 * 25),
    "channels last": (lambda: [nn.Conv2d(4, 40, 3).to(memory_format=torch.channels_last)], (4, 8, 9), 4 * 25),
    "dilated, strided, with a norm": (
        lambda: [nn.Conv2d(2, 40, (1, 2), dilation=(1, 3), stride=(2, 1)), normed(40)],
        (2, 6, 11),
        2 * 7,
    ),
    "two in a row": (
        lambda: [nn.Conv2d(1, 9, 2, stride=2), nn.Conv2d(9, 90, 2)],
        (1, 12, 12),
        49,
    ),
    "wider than the image": (lambda: [nn.Conv2d(2, 40, (7, 1), padding=(3, 0))], (2, 5, 6), 2 * 5),
}


def source_of(layers, shape):
    torch.manual_seed(0)
    model, x = nn.Sequential(*layers).eval(), torch.randn(3, *shape)
    if shape[0] == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    with observing(model, x, RunOptions(device="cpu", layers=[str(len(layers) - 1)])) as observed:
        (source,) = observed.sources.values()
    return source


@pytest.mark.parametrize("name", COUPLED)
def test_square_from_few_products(name, monkeypatch):
    make, shape, products = COUPLED[name]
    source = source_of(make(), shape)
    coupling = Coupling.of(source)
    assert coupling.colours == products
    every_SS = narrow._square(source, None)
    taken, squared = [], narrow._squared
    monkeypatch.setattr(narrow, "_squared", lambda wide, x: taken.append(len(x)) or squared(wide, x))
    few_SS = narrow._square(source, coupling)
    assert taken == [products]
    torch.testing.assert_close(few_SS, every_SS, rtol=0, atol=1e-14 * float(every_SS.max()))


def test_factor_is_a_band_place_by_place():
    source = source_of([nn.Conv2d(1, 20, 3, padding=1)], (1, 16, 16))
    transposed_SS = narrow.Narrow(source).transposed_SS[Coupling.of(source).order_S]
    assert not transposed_SS.triu(1).any()
    assert not transposed_SS.tril(-2 * 16 - 3).any()


def test_a_coupling_that_is_none_is_seen(monkeypatch):
    source = source_of([nn.Conv2d(2, 40, 3, padding=1)], (2, 8, 8))
    every_SS = narrow._square(source, None)
    nearer = Coupling(source, (1, 1))
    assert torch.equal(narrow._square(source, nearer), every_SS)


@pytest.mark.parametrize(
    "layers", [[nn.Linear(8, 20)], [nn.Conv2d(2, 40, 3, padding=1, padding_mode="circular")], [nn.Flatten()]]
)
def test_what_is_no_such_chain(layers):
    shape = (8,) if isinstance(layers[0], nn.Linear) else (2, 8, 8)
    model = nn.Sequential(*layers, nn.Linear(128, 200)) if isinstance(layers[0], nn.Flatten) else None
    layers = list(model) if model is not None else layers
    assert Coupling.of(source_of(layers, shape)) is None
