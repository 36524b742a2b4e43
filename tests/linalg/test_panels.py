"""Packed panels against the dense matrix that they stand for."""

import pytest
import torch

from streamspread.linalg.panels import SymmetricPanels
from tests.devices import CPU, DEVICES
from tests.matrices import packed

SHAPES = [(1, 4), (7, 3), (65, 64), (300, 70)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("n", "rows"), SHAPES)
def test_what_is_read_is_the_dense_matrix(device, n, rows):
    panels, dense = packed(n, rows, device, low_rank=True)
    torch.testing.assert_close(panels.dense(torch.float64).cpu(), dense)
    q = torch.randn(n, 5, dtype=torch.float64)
    torch.testing.assert_close(panels.matmul(q.to(device)).cpu(), dense @ q)
    quotients = (q * (dense @ q)).sum(0) / q.square().sum(0)
    torch.testing.assert_close(panels.quotients(q.to(device)).cpu(), quotients)
    torch.testing.assert_close(panels.row_sums().cpu(), dense.sum(1))
    square = panels.dense(torch.float32)
    assert torch.equal(square, square.T)
    assert torch.equal(square, panels.dense(torch.float64).float())
    assert panels.squared_norm() == pytest.approx(float(dense.square().sum()), rel=1e-12)
    assert panels.trace() == pytest.approx(float(dense.trace()), rel=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("n", "rows"), [*SHAPES, (1100, 600)])
def test_the_packed_triangle_is_that_of_the_dense_matrix_rounded_once(device, n, rows):
    panels, dense = packed(n, rows, device, low_rank=True)
    read = panels.packed(0.25)
    assert (read.dtype, read.device) == (torch.float32, CPU)
    row, column = torch.tril_indices(n, n)
    wanted = 0.25 * panels.dense(torch.float64).cpu()
    torch.testing.assert_close(read, wanted[row, column].float(), rtol=2e-7, atol=0.0)
    torch.testing.assert_close(wanted, 0.25 * dense)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("low_rank", [False, True])
@pytest.mark.parametrize(("n", "rows"), [*SHAPES, (700, 600)])
def test_a_quick_copy_is_the_matrix_rounded_once(device, low_rank, n, rows):
    panels, _ = packed(n, rows, device, low_rank=low_rank)
    summed, exact_NN = panels.summed(), panels.dense(torch.float64)
    quick = panels.quick()
    assert (quick.dtype, quick.u_NR, quick.m_RR) == (torch.float32, None, None)
    assert torch.equal(quick.dense(torch.float32), exact_NN.float())
    # What the correction took off the sums was summed all the same.
    assert quick.summed() == pytest.approx(max(summed, float(exact_NN.trace())), rel=1e-6)
    assert torch.equal(panels.dense(torch.float64), exact_NN)


@pytest.mark.parametrize(
    ("columns", "dtype"), [(3, torch.float32), (200, torch.float32), (200, torch.float64)]
)
def test_products_with_few_columns_and_with_many(columns, dtype):
    panels, dense = packed(300, 70, dtype=dtype, low_rank=True)
    q = torch.randn(300, columns, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    off = panels.matmul(q.to(dtype)).double() - dense @ q.to(dtype).double()
    size = dense.abs() @ q.abs()
    assert (off.abs() <= 8 * torch.finfo(dtype).eps * size).all()


@pytest.mark.parametrize("device", DEVICES)
def test_low_rank_and_sums_in_place(device):
    panels, dense = packed(90, 40, device)
    other, _ = packed(90, 40, device)
    u = torch.randn(90, 3, dtype=torch.float64, device=device)
    m = torch.diag(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, device=device))
    panels.add_state(other.state(), 0.25)
    panels.add_low_rank(u, m)
    torch.testing.assert_close(panels.dense(torch.float64).cpu(), 1.25 * dense + (u @ m @ u.T).cpu())
    panels.multiply_(0.5)
    torch.testing.assert_close(panels.dense(torch.float64).cpu(), 0.625 * dense + 0.5 * (u @ m @ u.T).cpu())


def test_what_was_summed_outlives_what_is_taken_off():
    panels, other = (SymmetricPanels(10, 4, torch.float32, CPU) for _ in range(2))
    for _ in range(3):
        panels.add_outer(torch.ones(10, 5))
    assert panels.summed() == 150.0
    one, half = torch.ones(10, 1, dtype=torch.float64), torch.full((1, 1), -500.0, dtype=torch.float64)
    for _ in range(2):  # such as two states that are merged, each far from its own shift
        other.add_outer(torch.ones(10, 1000))
        other.multiply_(0.5)
        other.add_low_rank(one, half)
        assert (other.trace(), other.summed()) == (0.0, 5000.0)
        panels.add_state(other.state(), 1.0)
        other = SymmetricPanels(10, 4, torch.float32, CPU)
    assert (panels.trace(), panels.summed()) == (150.0, 10_150.0)


@pytest.mark.parametrize(("n", "rows"), SHAPES)
def test_nbytes_is_what_the_panels_take(n, rows):
    panels, _ = packed(n, rows, dtype=torch.float32)
    assert sum(p.numel() * p.element_size() for p in panels.panels) == SymmetricPanels.nbytes(
        n, rows, torch.float32
    )
    assert SymmetricPanels.nbytes(65536, 512, torch.float32) < 0.51 * 65536**2 * 4
