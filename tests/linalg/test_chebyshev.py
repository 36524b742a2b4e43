"""The bound on what lies outside a span: that it holds, that it is near, and what makes there be none."""

import math

import numpy as np
import pytest
import torch

from streamspread.linalg import chebyshev
from streamspread.linalg.chebyshev import ATTEMPTS, bound_outside
from streamspread.linalg.panels import SymmetricPanels
from tests.devices import CPU, DEVICES
from tests.matrices import packed, prescribed

N, SPAN = 300, 20
VALUES = 1.0 / np.arange(1, N + 1) ** 1.2


def bounded(panels, *about, **options):
    return bound_outside(panels, *about, norm=panels.squared_norm() ** 0.5, **options)


def spanned(panels, missing=()):
    """The leading eigenvectors, without some of them, in a basis that is not orthonormal."""
    vectors_NN = torch.linalg.eigh(panels.dense(torch.float64))[1].flip(1)
    kept = [j for j in range(SPAN) if j not in missing]
    generator = torch.Generator().manual_seed(1)
    mixed_LL = torch.randn(len(kept), len(kept), dtype=torch.float64, generator=generator)
    return (vectors_NN[:, kept].cpu() @ mixed_LL).to(panels.device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("worth", [1e-6, 0.9, 1.0, 1.3])
def test_the_bound_holds_and_is_at_most_what_was_aimed_at(device, dtype, worth):
    panels = prescribed(VALUES, device, dtype)
    q_NL, largest = spanned(panels), VALUES[SPAN]
    aim = 1.25 * max(worth, 1.0) * largest
    bound = bounded(panels, q_NL, worth * largest, aim)
    assert largest * (1 - 1e-5) <= bound <= aim


@pytest.mark.parametrize("missing", [0, 7, SPAN - 1])
@pytest.mark.parametrize("attempt", range(ATTEMPTS))
def test_a_missed_eigenvalue_is_never_certified_away(missing, attempt):
    panels = prescribed(VALUES, CPU, torch.float64)
    q_NL, expected = spanned(panels, [missing]), VALUES[SPAN]
    bound = bounded(panels, q_NL, expected, 0.999 * VALUES[missing], attempt=attempt)
    assert bound >= VALUES[missing] * (1 - 1e-9)


@pytest.mark.parametrize("basis", [torch.float32, torch.float64])
def test_of_a_matrix_with_a_correction_it_is_that_of_the_whole(basis):
    panels, dense = packed(200, 70, CPU, torch.float64, low_rank=True)
    values, vectors_NN = torch.linalg.eigh(dense)
    q_NL = vectors_NN[:, -30:].to(basis)
    largest = float(values[-31])
    bound = bounded(panels, q_NL, largest, 1.2 * largest)
    assert largest * (1 - 1e-4) <= bound <= 1.2 * largest


@pytest.mark.parametrize("expected", [0.0, float("nan"), 2.0])
def test_there_is_no_bound_where_the_expectation_is_of_no_use(expected):
    panels = prescribed(VALUES, CPU, torch.float64)
    assert bounded(panels, spanned(panels), expected, 1.1 * VALUES[SPAN]) == math.inf


def test_the_matrix_stays_as_it_is():
    panels = prescribed(VALUES, CPU, torch.float32)
    before = panels.dense(torch.float64)
    bounded(panels, spanned(panels), VALUES[SPAN], 1.2 * VALUES[SPAN])
    assert torch.equal(panels.dense(torch.float64), before)


@pytest.mark.parametrize("share", [1e-5, 0.1, 1.0, -0.1])
@pytest.mark.parametrize("missing", [0, 7])
def test_float32_products_that_hide_an_eigenvalue_certify_nothing(missing, share, monkeypatch):
    """What a quick product loses of the eigenvector that the span misses, the measured errors give back."""
    panels = prescribed(VALUES, CPU, torch.float32)
    v_N1 = torch.linalg.eigh(panels.dense(torch.float64))[1].flip(1)[:, [missing]].float()
    quick, lost = chebyshev._Operator.quick, []

    def hiding(self, z_NM):
        image_NM = quick(self, z_NM)
        lost.append(share)
        return image_NM - share * (v_N1 @ (v_N1.T @ image_NM))

    monkeypatch.setattr(chebyshev._Operator, "quick", hiding)
    bound = bounded(panels, spanned(panels, [missing]), VALUES[SPAN], 0.999 * VALUES[missing])
    assert lost
    assert bound >= VALUES[missing] * (1 - 1e-5)


def test_float32_products_give_the_bound_of_float64_where_they_are_precise_enough():
    panels, wide = (prescribed(VALUES, CPU, dtype) for dtype in (torch.float32, torch.float64))
    q_NL, largest = torch.linalg.qr(spanned(wide))[0], VALUES[SPAN]
    quick, exact = (bounded(each, q_NL, largest, 1.2 * largest) for each in (panels, wide))
    assert quick == pytest.approx(exact, rel=1e-3)


def test_where_float32_errs_too_much_products_are_float64s(monkeypatch):
    panels = prescribed(VALUES, CPU, torch.float32)
    quick = chebyshev._Operator.quick
    monkeypatch.setattr(chebyshev._Operator, "quick", lambda self, z: quick(self, z) + torch.randn(z.shape))
    bound = bounded(panels, spanned(panels), VALUES[SPAN], 1.2 * VALUES[SPAN])
    assert VALUES[SPAN] * (1 - 1e-5) <= bound <= 1.2 * VALUES[SPAN]


@pytest.mark.parametrize("lowest", [-0.5, -0.6, -0.1, 0.0])
def test_of_a_matrix_with_negative_eigenvalues_the_bound_holds_too(lowest):
    values = np.sort(np.concatenate([VALUES[: N - 40], -0.5 / np.arange(1, 41)]))[::-1].copy()
    panels = SymmetricPanels(N, 96, torch.float64, CPU)
    generator = torch.Generator().manual_seed(2)
    basis_NN = torch.linalg.qr(torch.randn(N, N, dtype=torch.float64, generator=generator))[0]
    panels.add_low_rank(basis_NN, torch.diag(torch.from_numpy(values)))
    largest = values[SPAN]
    bound = bounded(panels, spanned(panels), largest, 1.2 * largest, lowest=lowest)
    assert bound >= largest * (1 - 1e-9)
    if lowest <= -0.5:
        assert bound <= 4 * largest
