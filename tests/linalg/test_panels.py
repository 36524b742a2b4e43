"""Packed panels against the dense matrix that they stand for."""

import pytest
import torch

from streamspread.linalg.panels import SymmetricPanels
from tests.devices import DEVICES

SHAPES = [(1, 4), (7, 3), (64, 64), (65, 64), (300, 70)]


def packed(n, rows, device, dtype=torch.float64, low_rank=True):
    """Panels, with a correction, and the dense float64 matrix that they hold."""
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, 2 * n + 5, generator=generator, dtype=torch.float64)
    panels = SymmetricPanels(n, rows, dtype, device)
    panels.add_outer(x.to(device, dtype))
    dense = x @ x.T
    if low_rank:
        u = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        m = torch.tensor([[0.5, 0.2], [0.2, 0.0]], dtype=torch.float64)
        panels.u_NR, panels.m_RR = u.to(device), m.to(device)
        dense = dense + u @ m @ u.T
    return panels, dense


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("n", "rows"), SHAPES)
def test_what_is_read_is_the_dense_matrix(device, n, rows):
    panels, dense = packed(n, rows, device)
    torch.testing.assert_close(panels.dense(torch.float64).cpu(), dense)
    q = torch.randn(n, 5, dtype=torch.float64)
    torch.testing.assert_close(panels.matmul(q.to(device)).cpu(), dense @ q)
    torch.testing.assert_close(panels.row_sums().cpu(), dense.sum(1))
    assert panels.squared_norm() == pytest.approx(float(dense.square().sum()), rel=1e-12)


@pytest.mark.parametrize(("n", "rows"), SHAPES)
def test_reading_changes_nothing(n, rows):
    panels, _ = packed(n, rows, torch.device("cpu"))
    before = [panel.clone() for panel in panels.panels]
    panels.dense(torch.float32)
    panels.squared_norm()
    panels.row_sums()
    panels.matmul(torch.ones(n, 1, dtype=torch.float64))
    assert all(torch.equal(a, b) for a, b in zip(before, panels.panels, strict=True))


@pytest.mark.parametrize("device", DEVICES)
def test_low_rank_and_sums_in_place(device):
    panels, dense = packed(90, 40, device, low_rank=False)
    other, _ = packed(90, 40, device, low_rank=False)
    u = torch.randn(90, 3, dtype=torch.float64, device=device)
    m = torch.diag(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, device=device))
    panels.add(other, 0.25)
    panels.add_low_rank(u, m)
    torch.testing.assert_close(panels.dense(torch.float64).cpu(), 1.25 * dense + (u @ m @ u.T).cpu())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("n", "rows"), SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cholesky_in_place_gives_the_factor_or_refuses(device, n, rows, dtype):
    panels, dense = packed(n, rows, device, dtype)
    assert panels.is_positive_definite_()
    factor = torch.tril(panels.dense(torch.float64)).cpu()
    torch.testing.assert_close(factor @ factor.T, dense, rtol=1e-4, atol=1e-4 * float(dense.abs().max()))
    panels, dense = packed(n, rows, device, dtype)
    smallest = float(torch.linalg.eigvalsh(dense)[0])
    panels.add_low_rank(
        torch.eye(n, dtype=torch.float64, device=device),
        torch.eye(n, dtype=torch.float64, device=device) * -(smallest + 0.01 * float(dense.trace()) / n),
    )
    assert not panels.is_positive_definite_()


@pytest.mark.parametrize(("n", "rows"), SHAPES)
def test_nbytes_is_what_the_panels_take(n, rows):
    panels, _ = packed(n, rows, torch.device("cpu"), torch.float32)
    assert sum(p.numel() * p.element_size() for p in panels.panels) == SymmetricPanels.nbytes(
        n, rows, torch.float32
    )


def test_half_the_square_at_many_panels():
    assert SymmetricPanels.nbytes(65536, 512, torch.float32) < 0.51 * 65536**2 * 4
