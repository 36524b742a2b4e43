"""Products in float32 are as good as they say, and those that would not be are formed in float64."""

import pytest
import torch

from streamspread.linalg import banded as measured
from streamspread.linalg.banded import MOST_MOVED, Banded, Layout, MeasuredProduct
from tests.linalg.test_banded import dense, matrix

SIZES = (900, 3, 60)


def triangle():
    _, banded = matrix(*SIZES)
    assert banded.factorise_()
    return banded


def formed(product, monkeypatch):
    """The dtypes in which its triangles are multiplied from now on."""
    dtypes, times = [], measured.Banded.transposed_times
    monkeypatch.setattr(
        measured.Banded, "transposed_times", lambda own, x: dtypes.append((x.dtype, len(x))) or times(own, x)
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
