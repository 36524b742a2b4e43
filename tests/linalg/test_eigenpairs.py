"""Leading eigenvectors of packed matrices, dense and searched, against float64 ones of the exact matrix."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from streamspread.linalg.eigenpairs import dense_pairs, leading_bytes, leading_pairs
from streamspread.linalg.panels import SymmetricPanels, of_square
from streamspread.system import devices
from streamspread.system.memory import LiveBytes
from tests.devices import CPU, DEVICES
from tests.matrices import factor, orthogonal, prescribed

DTYPES = [torch.float32, torch.float64]
#: Eigenvalues that fall as a power: hardly, as those of layers do, and beyond float32's rounding.
FALLS = [0.1, 1.0, 4.0]


def searching(device):
    """A profile by which everything is searched for that may be."""
    return replace(devices.profile(device), search_limit=0)


def falling(n, power):
    return np.arange(1, n + 1) ** -power


def exact(values, dtype):
    """What :func:`tests.matrices.prescribed` sums, in float64."""
    wide = factor(values, dtype).double()
    return wide @ wide.T


def residuals(matrix_NN, pairs):
    v_NK = pairs.vectors_NK.cpu().double()
    v_NK = v_NK / torch.linalg.vector_norm(v_NK, dim=0)
    r_NK = matrix_NN @ v_NK - v_NK * torch.as_tensor(pairs.values_K)
    return torch.linalg.vector_norm(r_NK, dim=0).numpy()


def largest_angle(a_NK, b_NK):
    """The sine of the largest angle between two spans, the first of orthonormal vectors."""
    b_NK = torch.linalg.qr(b_NK.cpu().double())[0]
    return float(torch.linalg.matrix_norm(b_NK - a_NK @ (a_NK.T @ b_NK), 2))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("power", FALLS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "count", "searched"), [(240, 6, False), (240, 6, True), (400, 40, True)])
def test_pairs_are_those_of_the_exact_matrix(device, power, dtype, n, count, searched):
    values_N = falling(n, power)
    panels = prescribed(values_N, device, dtype)
    pairs = leading_pairs(panels, count, profile=searching(device) if searched else None)
    exact_NN = exact(values_N, dtype)
    true_N, true_NN = torch.linalg.eigh(exact_NN)
    off = residuals(exact_NN, pairs)
    assert (off <= pairs.residuals_K).all()
    # No more than a few roundings of the sums, and in float64 what the search is content with.
    allowed = 2e-5 if dtype == torch.float32 else 1e-10
    assert pairs.residuals_K.max() < allowed
    assert np.abs(pairs.values_K - true_N.numpy()[::-1][:count]).max() < allowed
    assert (np.diff(pairs.values_K) <= 0.0).all()
    overlap_KK = (pairs.vectors_NK.T @ pairs.vectors_NK).cpu()
    assert (overlap_KK - torch.eye(count, dtype=torch.float64)).abs().max() < 1e-12
    # Davis and Kahan: the angle of the spans is at most the residuals over the gap beyond them.
    gap = values_N[count - 1] - values_N[count]
    if 4 * np.linalg.norm(pairs.residuals_K) < gap:
        angle = largest_angle(true_NN[:, -count:], pairs.vectors_NK)
        assert angle <= 2 * np.linalg.norm(pairs.residuals_K) / gap
        assert angle < 0.5


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("searched", [False, True])
def test_the_correction_is_part_of_the_matrix(device, dtype, searched):
    """A mean a hundred times the deviations, which float32 sums of its square would drown."""
    n, generator = 220, torch.Generator().manual_seed(5)
    x_ND = torch.randn(500, n, generator=generator, dtype=torch.float64)
    x_ND *= torch.as_tensor(falling(n, 0.5))
    x_ND = (x_ND + 3.0).to(dtype)
    panels = SymmetricPanels(n, 64, dtype, device)
    panels.add_outer(x_ND.to(device).T)
    wide_ND = x_ND.double()
    panels.u_NR = wide_ND.mean(0)[:, None].to(device)
    panels.m_RR = torch.full((1, 1), -500.0, dtype=torch.float64, device=device)
    pairs = leading_pairs(panels, 5, profile=searching(device) if searched else None)
    centred_ND = wide_ND - wide_ND.mean(0)
    assert (residuals(centred_ND.T @ centred_ND, pairs) <= pairs.residuals_K).all()
    assert pairs.residuals_K.max() < (1e-3 if dtype == torch.float32 else 1e-8) * pairs.values_K[0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_fewer_directions_than_are_asked_for(device, dtype):
    values_N = np.where(np.arange(300) < 4, 2.0, 0.0)
    pairs = leading_pairs(prescribed(values_N, device, dtype), 12, profile=searching(device))
    np.testing.assert_allclose(pairs.values_K, values_N[:12], atol=1e-5)
    overlap_KK = (pairs.vectors_NK.T @ pairs.vectors_NK).cpu()
    assert (overlap_KK - torch.eye(12, dtype=torch.float64)).abs().max() < 1e-12
    assert (residuals(exact(values_N, dtype), pairs) <= pairs.residuals_K).all()


@pytest.mark.parametrize("size", [1.0, 1e-8, 1e23])
def test_none_is_missing_of_eigenvalues_that_differ_by_roundings_alone(size):
    """Of these LAPACK's solver for some pairs finds fewer than it is asked for, and says nothing."""
    for seed in range(15):
        vectors_NN = orthogonal(65, np.random.default_rng(seed))
        a_NN = torch.from_numpy(size * vectors_NN @ vectors_NN.T)
        panels = of_square((a_NN + a_NN.T) / 2, 64, torch.float64, copy=True)
        values_K, vectors_NK = dense_pairs(panels, 5)
        np.testing.assert_allclose(values_K, size, rtol=1e-13)
        assert vectors_NK.shape == (65, 5)
        assert (vectors_NK.T @ vectors_NK - torch.eye(5).double()).abs().max() < 1e-12


def test_vectors_are_rounded_before_they_are_measured():
    values_N = falling(250, 1.0)
    panels = prescribed(values_N, CPU, torch.float64)
    wide = leading_pairs(panels, 8)
    narrow = leading_pairs(panels, 8, dtype=torch.float32)
    assert narrow.vectors_NK.dtype == torch.float32
    assert (residuals(exact(values_N, torch.float64), narrow) <= narrow.residuals_K).all()
    assert (narrow.residuals_K > 1e3 * wide.residuals_K).all()  # it shows
    np.testing.assert_allclose(narrow.values_K, wide.values_K, rtol=1e-12)  # but not in the quotients


def test_signs_and_the_random_start_change_nothing():
    panels = prescribed(falling(300, 1.0), CPU, torch.float64)
    one, other = (leading_pairs(panels, 6, seed=seed, profile=searching(CPU)) for seed in (0, 7))
    torch.testing.assert_close(one.vectors_NK, other.vectors_NK, rtol=0, atol=1e-7)
    assert (one.vectors_NK.gather(0, one.vectors_NK.abs().argmax(0)[None]) > 0.0).all()
    again = leading_pairs(panels, 6, profile=searching(CPU))
    assert torch.equal(again.vectors_NK, one.vectors_NK)


def test_what_sums_lost_is_part_of_the_bound():
    """Panels that hold another matrix than the one that was summed: the bound is that of the latter."""
    values_N = falling(200, 1.0)
    panels = prescribed(values_N, CPU, torch.float64)
    exact_NN = exact(values_N, torch.float64)
    before = leading_pairs(panels, 5).residuals_K
    generator = torch.Generator().manual_seed(3)
    error_NN = 1e-4 * torch.randn(200, 200, generator=generator, dtype=torch.float64)
    error_NN += error_NN.T.clone()
    for begin, end, panel in panels.spans():
        panel += error_NN[begin:end, :end]
    pairs = leading_pairs(panels, 5)
    off = residuals(exact_NN, pairs)
    assert (off <= pairs.residuals_K).all()
    assert (off > 1e3 * before).all()
    # Of the error along each vector, far below its norm as a whole.
    assert (pairs.residuals_K < 0.5 * float(torch.linalg.matrix_norm(error_NN))).all()


@pytest.mark.parametrize("searched", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_is_within_what_is_planned(dtype, searched):
    panels = prescribed(falling(1500, 1.0), CPU, dtype)
    profile = searching(CPU) if searched else devices.profile(CPU)
    with LiveBytes() as live:
        leading_pairs(panels, 24, profile=profile)
    assert live.peak <= leading_bytes(1500, 24, dtype, profile)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [2, 17, 60, 90, 97, 120])
def test_orders_hardly_larger_than_a_basis(n, dtype):
    """A full basis must leave room for the next block, or there is none that is orthogonal to it."""
    values_N = falling(n, 0.5)
    for count in {1, max(1, n // 12), max(1, n // 6)}:
        pairs = leading_pairs(prescribed(values_N, CPU, dtype), count, profile=searching(CPU))
        assert (residuals(exact(values_N, dtype), pairs) <= pairs.residuals_K).all()
        np.testing.assert_allclose(pairs.values_K, values_N[:count], atol=1e-5)
