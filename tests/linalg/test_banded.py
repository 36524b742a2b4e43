"""A triangle in block columns is that of the dense matrix, and so is its Cholesky factor; products with it in
float32 are as good as they say, and those that would not be are formed in float64."""

import pytest
import torch

from streamspread.linalg.banded import MOST_MOVED, Banded, Layout, MeasuredProduct

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


SIZES = (900, 3, 60)


def triangle():
    _, banded = matrix(*SIZES)
    assert banded.factorise_()
    return banded


def formed(product, monkeypatch):
    """The dtypes in which its triangles are multiplied from now on."""
    dtypes, times = [], Banded.transposed_times
    monkeypatch.setattr(
        Banded, "transposed_times", lambda own, x: dtypes.append((x.dtype, len(x))) or times(own, x)
    )
    return dtypes


def moved(rows_MN, x_MN, banded):
    """Squared errors as a share of squared deviations."""
    true_MN = x_MN.double() @ dense(banded)
    return float((rows_MN - true_MN).square().sum() / (true_MN - true_MN.mean(0)).square().sum())


def test_errors_stay_below_what_they_are_held_to(monkeypatch):
    banded, x_MN = triangle(), torch.randn(70, SIZES[0]) + 1.0
    product = MeasuredProduct(banded)
    dtypes = formed(product, monkeypatch)
    rows_MN = product.rows(x_MN)
    assert dtypes == [(torch.float32, 70)]
    assert rows_MN.dtype == torch.float64
    assert 1e-16 < moved(rows_MN, x_MN, banded) < MOST_MOVED


@pytest.mark.parametrize("lost", ["the mean", "products that cancel", "beyond float32", "underflow", "NaN"])
def test_what_float32_does_not_hold_is_formed_in_float64(lost, monkeypatch):
    banded, x_MN = triangle(), torch.randn(70, SIZES[0], dtype=torch.float64)
    if lost == "products that cancel":  # rows along the one direction of which a millionth is left
        v_N = torch.nn.functional.normalize(x_MN[0], dim=0)
        banded = Banded.empty(Layout(SIZES[0], SIZES[0], 0), torch.device("cpu"))
        square_NN = torch.eye(SIZES[0], dtype=torch.float64) - (1 - 1e-12) * torch.outer(v_N, v_N)
        for (begin, stop, end), part_KB in banded.parts():
            part_KB[:] = square_NN[begin:end, begin:stop]
        assert banded.factorise_()
        x_MN = x_MN[:, :1] * v_N
    elif lost == "the mean":
        x_MN += 1e5
    else:
        x_MN *= {"beyond float32": 1e300, "underflow": 1e-60, "NaN": torch.nan}[lost]
    product = MeasuredProduct(banded)
    dtypes = formed(product, monkeypatch)
    rows_MN = product.rows(x_MN)
    assert (torch.float64, 70) in dtypes
    error = 1e-15 if lost == "products that cancel" else 1e-12 * float(x_MN.nan_to_num().abs().max())
    torch.testing.assert_close(rows_MN, x_MN @ dense(banded), rtol=0, atol=error, equal_nan=True)


def test_rows_that_are_alike_are_formed_exactly():
    banded, row_1N = triangle(), torch.randn(1, SIZES[0], dtype=torch.float64)
    product, true_1N = MeasuredProduct(banded), row_1N @ dense(banded)
    torch.testing.assert_close(product.rows(row_1N), true_1N, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(product.rows(row_1N.expand(4, -1))[2:3], true_1N, rtol=1e-12, atol=1e-12)
