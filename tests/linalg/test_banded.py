"""A triangle in block columns is that of the dense matrix, and so is its Cholesky factor."""

import pytest
import torch

from streamspread.linalg.banded import Banded, Layout

#: Order, grain and reach: bands, a matrix that is none, blocks on the diagonal alone, one row.
LAYOUTS = [(1500, 3, 40), (900, 300, 1), (700, 700, 0), (640, 64, 0), (1200, 1, 5), (600, 600, 0), (1, 1, 0)]


def matrix(order, grain, reach):
    """A positive definite one that couples groups as a layout says, and the layout's triangle of it."""
    generator = torch.Generator().manual_seed(0)
    group_N = torch.arange(order) // grain
    apart_NN = (group_N[:, None] - group_N).abs()
    root_NN = torch.randn(order, order, generator=generator, dtype=torch.float64)
    root_NN = torch.where((apart_NN <= reach) & (group_N[:, None] >= group_N), root_NN, 0.0).tril()
    dense_NN = root_NN @ root_NN.T + torch.eye(order, dtype=torch.float64)
    layout = Layout(order, grain, reach)
    banded = Banded.empty(layout, torch.device("cpu"))
    for (begin, stop, end), part_KB in banded.parts():
        part_KB[:] = dense_NN[begin:end, begin:stop]
    return dense_NN, banded


def dense(banded):
    """The lower triangle as a matrix."""
    order = banded.layout.order
    found_NN = torch.zeros(order, order, dtype=torch.float64)
    for (begin, stop, end), part_KB in banded.parts():
        found_NN[begin:end, begin:stop] = part_KB
    return found_NN.tril()


@pytest.mark.parametrize("sizes", LAYOUTS)
def test_nothing_of_a_band_is_left_out(sizes):
    dense_NN, banded = matrix(*sizes)
    assert torch.equal(dense(banded), dense_NN.tril())
    assert torch.equal(banded.diagonal(), dense_NN.diagonal())


@pytest.mark.parametrize("sizes", LAYOUTS)
def test_products(sizes):
    dense_NN, banded = matrix(*sizes)
    x_MN = torch.randn(5, sizes[0], dtype=torch.float64)
    torch.testing.assert_close(banded.times_symmetric(x_MN), x_MN @ dense_NN)


@pytest.mark.parametrize("sizes", LAYOUTS)
def test_the_factor_is_the_dense_one(sizes):
    dense_NN, banded = matrix(*sizes)
    assert banded.factorise_()
    factor_NN = torch.linalg.cholesky(dense_NN)
    torch.testing.assert_close(dense(banded), factor_NN, rtol=1e-10, atol=1e-10)
    x_MN = torch.randn(5, sizes[0], dtype=torch.float64)
    torch.testing.assert_close(banded.transposed_times(x_MN), x_MN @ factor_NN, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(banded.times(x_MN), x_MN @ factor_NN.T, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("value", [-1.0, torch.nan, torch.inf])
def test_what_has_no_factor(value):
    _, banded = matrix(1200, 1, 5)
    list(banded.parts())[-1][1][3, 3] = value
    assert not banded.factorise_()


@pytest.mark.parametrize("sizes", LAYOUTS)
def test_units(sizes):
    dense_NN, banded = matrix(*sizes)
    unit_N = torch.linspace(1, 2, sizes[0], dtype=torch.float64)
    banded.divide_(unit_N)
    torch.testing.assert_close(dense(banded), (dense_NN / unit_N / unit_N[:, None]).tril())
    banded.fill_diagonal_(3.0)
    banded.scale_rows_(unit_N)
    torch.testing.assert_close(banded.diagonal(), 3.0 * unit_N)


def test_numbers_and_operations():
    whole, band = Layout(4096, 4096, 0), Layout(65_536, 64, 34)
    assert 0.5 <= whole.numbers / 4096**2 <= 0.54
    assert 1.0 <= whole.factor_operations / (4096**3 / 3) <= 1.1
    assert band.numbers < 65_536 * (35 * 64 + 256)
    assert band.factor_operations < 65_536 * (35 * 64 + 256) ** 2
    assert Layout(65_536, 64, 0).numbers == 65_536 * 64
