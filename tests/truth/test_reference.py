"""The references themselves, and that the checks see what they are there to see."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from streamspread.accumulators.staging import Staging
from tests import states
from tests.truth import cards
from tests.truth.cases import NAMES, attack
from tests.truth.checks import Outcome, check
from tests.truth.recording import recorded
from tests.truth.reference import reference

WAY = SimpleNamespace(method="covariance", solver="dense")


def scatter(x):
    """The scatter of whole numbers about their mean, as fractions."""
    x = [[Fraction(int(value)) for value in row] for row in x]
    means = [sum(column) / len(x) for column in zip(*x, strict=True)]
    rows = [[value - mean for value, mean in zip(row, means, strict=True)] for row in x]
    width = range(len(means))
    return [[sum(row[i] * row[j] for row in rows) for j in width] for i in width]


@pytest.mark.parametrize("seed", range(10))
def test_the_trace_and_the_norm_are_those_of_fractions(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-50, 50, size=(int(rng.integers(2, 30)), int(rng.integers(1, 12))))
    found, exact = reference(x), scatter(x)
    trace = sum(exact[i][i] for i in range(len(exact)))
    norm = sum(value * value for row in exact for value in row)
    assert float(found.total) == pytest.approx(float(trace / (len(x) - 1)), rel=1e-15)
    values = np.diff(found.shares, prepend=0.0)
    assert float(np.square(values).sum()) == pytest.approx(float(norm / trace**2), rel=1e-14)
    assert found.shares[-1] == pytest.approx(1.0, abs=1e-15)
    assert found.rank == np.linalg.matrix_rank(x - x.mean(0))
    assert found.errors.max() < 1e-13


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_known_eigenvalues_are_found_to_the_last_digits(scale):
    signs = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    found = reference(signs * [4, 2, 1] * np.longdouble(scale) + 7 * np.longdouble(scale))
    np.testing.assert_allclose(found.shares, [16 / 21, 20 / 21, 1], rtol=1e-15)
    assert found.possible(0.99) == (3, 3)
    assert found.possible(1.0) == (3, 3)
    least, most = found.possible(16 / 21)
    assert least == 1
    assert most in (1, 2)


def test_two_eigenvalues_are_told_apart_in_whole_numbers():
    equal = reference(np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]))
    assert [equal.possible(tau) for tau in (0.5, np.nextafter(0.5, 1), 1.0)] == [(1, 1), (2, 2), (2, 2)]
    one = reference(np.array([[1, 2], [2, 4], [4, 8]]))  # on a line
    assert one.possible(1.0) == (1, 1)
    assert reference(np.full((5, 3), 0.1)).possible(0.5) == (0, 0)


def spectrum_and_record(x):
    with recorded() as recorder:
        return states.solved(states.covariance(x), (0.7,)), recorder


def misses(spectrum, recorder):
    outcome = Outcome("any", 0, "", spectrum.samples, spectrum.dim)
    check(outcome, spectrum, recorder, ("", "fp32", WAY), np.random.default_rng(0))
    return {kind for kind, _ in outcome.misses}


def planted(spectrum, kind):
    """A spectrum with one thing wrong."""
    lower = spectrum.lower_sums if len(spectrum.lower_sums) else np.cumsum(spectrum.eigenvalues)
    upper, some = spectrum.upper_sums.copy(), 1e-5 * spectrum.total_variance
    lower = lower.copy()
    if kind == "upper sum":
        upper[2] -= some
        return replace(spectrum, upper_sums=upper)
    if kind == "lower sum":
        lower[2] += some
        return replace(spectrum, lower_sums=lower)
    if kind == "total":
        return replace(spectrum, total_variance=spectrum.total_variance * (1 + 1e-9))
    if kind == "not finite":
        changed = replace(spectrum, upper_sums=upper)
        upper[1] = np.nan  # behind its back: no spectrum is made so
        return changed
    if kind == "sizes":
        return replace(spectrum, samples=spectrum.samples - 1)
    return replace(spectrum, sum_of_squares=spectrum.sum_of_squares * 1.1)


@pytest.mark.parametrize(
    "kind", ["upper sum", "lower sum", "total", "not finite", "sizes", "participation ratio"]
)
def test_what_is_wrong_is_seen(kind):
    x = torch.randn(300, 12, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 13)
    spectrum, recorder = spectrum_and_record(x)
    assert misses(spectrum, recorder) == set()
    assert kind in misses(planted(spectrum, kind), recorder)


def test_a_value_that_is_rounded_twice_as_coarsely_is_seen(monkeypatch):
    push = Staging.push

    def coarse(staging, x_ND):
        push(staging, x_ND)
        rows = staging.buffer_ND[: staging.filled]
        rows.copy_((rows * 2**20).round() / 2**20)

    monkeypatch.setattr(Staging, "push", coarse)
    spectrum, recorder = spectrum_and_record(torch.randn(50, 6, generator=torch.Generator().manual_seed(0)))
    assert "rounding" in misses(spectrum, recorder)


def test_a_constant_layer_that_does_not_come_out_as_one_is_seen():
    spectrum, recorder = spectrum_and_record(torch.full((20, 3), 0.1))
    assert misses(spectrum, recorder) == set()
    wrong = replace(spectrum, total_variance=1e-20, eigenvalues=np.array([1e-20]))
    assert misses(wrong, recorder) == {"constant"}


def test_sums_on_a_card_err_as_there():
    x = np.ones((4096, 2)) + 2.0**-20  # every product has digits that no sum of thousands keeps
    exact = x.T @ x
    for gram in (cards.in_a_row, cards.on_tensor_cores("V100", 4096), cards.on_tensor_cores("H100", 256)):
        off = np.abs(gram(x) / exact - 1).max()
        assert 0 < off < 1e-3


@pytest.mark.parametrize("name", NAMES[::5])
def test_a_case_is_the_same_again(name):
    assert [str(one) for one in attack(name, 3)] == [str(one) for one in attack(name, 3)]
