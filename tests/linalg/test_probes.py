"""Probes: products beside the sums, and a bound on the norm of whatever the sums lost."""

import math

import pytest
import torch

from streamspread.linalg.probes import CALIBRATION, PROBES, Probes, chernoff_share, norm_bound

CPU = torch.device("cpu")


def symmetric(n, seed):
    a_NN = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return a_NN + a_NN.T


def one_direction(n, seed):
    v_N = torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.outer(v_N, v_N)


def one_entry(n, seed):
    e_NN = torch.zeros(n, n, dtype=torch.float64)
    e_NN[seed % n, (7 * seed) % n] = 1.0
    return e_NN + e_NN.T


@pytest.mark.parametrize("failure", [0.3, 1e-6, 1e-12])
@pytest.mark.parametrize("count", [2, PROBES, 300])
def test_the_share_has_the_probability_of_chernoffs_bound(failure, count):
    share = chernoff_share(failure, count)
    assert 0.0 < share < 1.0
    assert (share * math.exp(1 - share)) ** (count / 2) == pytest.approx(failure, rel=1e-9)
    means = torch.randn(4000, count, dtype=torch.float64).square().mean(1)
    assert float((means < share).double().mean()) <= failure + 0.03


@pytest.mark.parametrize("made", [symmetric, one_direction, one_entry])
def test_the_bound_holds_for_any_error_and_is_not_far_above_it(made):
    for seed in range(40):
        error_NN = made(40, seed)
        z_NM = torch.randn(40, PROBES, generator=torch.Generator().manual_seed(9000 + seed)).double()
        bound, norm = norm_bound(error_NN @ z_NM), float(torch.linalg.matrix_norm(error_NN))
        assert norm <= bound <= 6 * norm


def test_products_are_those_of_the_exact_matrix():
    own = Probes(50, CPU)
    x_NK = torch.randn(50, 700, generator=torch.Generator().manual_seed(1))
    u_NR = torch.randn(50, 2, dtype=torch.float64)
    m_RR = torch.tensor([[2.0, -1.0], [-1.0, 0.0]], dtype=torch.float64)
    own.add_outer(x_NK)
    own.add_low_rank(u_NR, m_RR)
    exact_NN = x_NK.double() @ x_NK.double().T + u_NR @ m_RR @ u_NR.T
    torch.testing.assert_close(own.y_NM, exact_NN @ own.z_NM, rtol=1e-12, atol=1e-9)
    assert norm_bound(own.error(exact_NN @ own.measuring)) < 1e-10
    error_NN = symmetric(50, 3)
    bound = norm_bound(own.error((exact_NN + error_NN) @ own.measuring))
    assert bound >= float(torch.linalg.matrix_norm(error_NN))


@pytest.mark.parametrize("lost", [0.0, 1e-5, 1e-3])
def test_a_share_that_all_sums_lost_is_found(lost):
    own = Probes(60, CPU)
    x_NK = torch.randn(60, 400, generator=torch.Generator().manual_seed(2)).double()
    own.add_outer(x_NK)
    exact_NN = x_NK @ x_NK.T
    known_N = exact_NN.diagonal().clone()
    off_NN = (exact_NN - torch.diag(known_N)) * (1 - lost)
    factor = own.lost_factor(off_NN @ own.z_NM[:, -CALIBRATION:], known_N)
    assert factor == pytest.approx(1 / (1 - lost), rel=1e-12)


def test_two_probes_of_one_order_ask_the_same():
    assert torch.equal(Probes(30, CPU).z_NM, Probes(30, CPU).z_NM)
