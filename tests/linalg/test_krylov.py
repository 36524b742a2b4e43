"""Leading eigenvalues without a dense solve: those that it finds, or none."""

import numpy as np
import pytest
import torch

from streamspread.linalg.krylov import all_values, leading_values

ORDER = 256
RANK = np.arange(1, ORDER + 1)
STEEP = 1.0 / RANK**2.0


def matrix(values_N, seed=0):
    """Symmetric, float32, with these eigenvalues."""
    generator = torch.Generator().manual_seed(seed)
    turn_NN = torch.linalg.qr(torch.randn(ORDER, ORDER, generator=generator, dtype=torch.float64))[0]
    return ((turn_NN * torch.as_tensor(values_N)) @ turn_NN.T).float()


def first_four_alike():
    """Settled once the four largest values have not changed by more than rounding."""
    seen = []

    def settled(values_L):
        seen.append(values_L[:4])
        return len(seen) > 1 and bool(np.allclose(seen[-1], seen[-2], rtol=1e-5, atol=0.0))

    return settled


@pytest.mark.parametrize("rescaled", [1.0, 2.0**40, 2.0**-40])
def test_leading_values_are_those_of_a_dense_solve(rescaled):
    found = leading_values(matrix(STEEP * rescaled), 0.7 * STEEP.sum() * rescaled, first_four_alike())
    assert len(found) < ORDER // 2
    assert (np.diff(found) <= 0.0).all()
    assert found[:4] == pytest.approx(STEEP[:4] * rescaled, rel=1e-5)


def test_no_ritz_value_exceeds_the_eigenvalue_of_its_place():
    looked_at = []
    leading_values(matrix(STEEP), 0.7 * STEEP.sum(), lambda values_L: looked_at.append(values_L))
    assert len(looked_at) > 1
    assert [len(values_L) for values_L in looked_at] == sorted({len(values_L) for values_L in looked_at})
    for values_L in looked_at:
        assert (values_L <= STEEP[: len(values_L)] + 1e-6).all()


def test_it_has_the_same_bits_each_time():
    first, second = (leading_values(matrix(STEEP), 0.7 * STEEP.sum(), first_four_alike()) for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize(
    ("values_N", "share"),
    [
        (np.ones(ORDER), 0.7),  # a block is multiplied into its own span
        (1.0 / RANK**0.3, 0.7),  # too many make up the target
        (STEEP, 0.9999),
        (STEEP, 1.5),
        (np.where(RANK <= 24, 1.0, 0.0), 0.9),  # nothing is left outside the second block
        (np.where(RANK == 1, 1.0, 0.0), 0.9),
        (np.zeros(ORDER), 0.7),
    ],
)
def test_where_a_dense_solve_is_as_soon_done_there_are_none(values_N, share):
    asked = []
    found = leading_values(matrix(values_N), share * values_N.sum(), lambda values_L: asked.append(1))
    assert found is None
    assert not asked


def test_values_that_never_settle_are_none():
    asked = []
    assert leading_values(matrix(STEEP), 0.7 * STEEP.sum(), lambda values_L: bool(asked.append(1))) is None
    assert asked


def test_all_values_descend_and_none_is_negative():
    found = all_values(matrix(np.where(RANK <= 40, STEEP, 0.0)))
    assert len(found) == ORDER
    assert found.dtype == np.float64
    assert (np.diff(found) <= 0.0).all()
    assert found.min() == 0.0
    assert found[:40] == pytest.approx(STEEP[:40], abs=1e-6)
