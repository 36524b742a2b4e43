"""States given and taken: saved halfway, loaded into a new object and continued, the same bits."""

import numpy as np
import pytest
import torch

from streamspread.errors import OptionError
from streamspread.linalg.band import band_eigenvalues_
from streamspread.linalg.eigenvalues import all_eigenvalues
from streamspread.linalg.frequent_directions import FrequentDirections
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.ritz import RitzPass
from tests import matrices
from tests.devices import CPU, DEVICES

DIM = 40


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    return torch.from_numpy(matrices.samples(np.arange(1, DIM + 1) ** -0.8, 200, rng) + 3.0).float()


def saved(holder):
    """A copy of its state, as a checkpoint has it."""
    return {name: tensor.clone() for name, tensor in holder.state().items()}


def assert_same_state(first, second):
    first, second = first.state(), second.state()
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype
        assert torch.equal(tensor, second[name]), name


def basis(x):
    """A basis of ten directions, what it misses, and the mean of x."""
    sketch = FrequentDirections(DIM, 12, torch.float32, x.device)
    sketch.absorb(x)
    svd = sketch.decompose(x[:0])
    return *sketch.basis_(svd, 10), svd.mean_D


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_panels_continue_from_a_state(x, device, dtype):
    x = x.to(device, dtype)
    first, second = (SymmetricPanels(DIM, 15, dtype, device) for _ in range(2))
    first.add_outer(x[:70].T)
    one = torch.ones(DIM, 1, dtype=torch.float64, device=device)
    first.add_low_rank(one, -1.5 * one[:1])
    second.add_outer(x[:5].T)  # is lost
    second.load_state(saved(first))
    for panels in (first, second):
        panels.add_outer(x[70:].T)
    assert_same_state(first, second)
    assert first.summed() == second.summed()
    assert first.summed() > first.trace()
    spectra = [all_eigenvalues(panels, panels.trace(), DIM) for panels in (first, second)]
    assert np.array_equal(spectra[0].values, spectra[1].values)
    assert np.array_equal(spectra[0].upper_sums, spectra[1].upper_sums)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("enough", [None, 0.5])
def test_a_sketch_continues_from_a_state(x, device, enough):
    x = x.to(device)
    first, second = (FrequentDirections(DIM, 12, torch.float32, device, enough) for _ in range(2))
    for part in x[:120].split(30):
        first.absorb(part)
    second.absorb(x[:5])  # is lost
    second.load_state(saved(first))
    for sketch in (first, second):
        for part in x[120:].split(30):
            sketch.absorb(part)
    assert_same_state(first, second)
    assert first.shrinkage > 0
    assert first.rounding_norm > 0
    assert first.rounding_trace > 0
    left, right = (sketch.decompose(x[:7]) for sketch in (first, second))
    assert torch.equal(left.squares_M, right.squares_M)
    assert torch.equal(left.mean_D, right.mean_D)
    assert (left.total, left.error, left.count) == (right.total, right.error, right.count)


def test_a_new_sketch_has_a_state_too():
    first, second = (FrequentDirections(DIM, 12, torch.float32, CPU) for _ in range(2))
    second.absorb(torch.ones(3, DIM))
    second.load_state(saved(first))
    assert second.filled == second.count == 0


@pytest.mark.parametrize("device", DEVICES)
def test_a_ritz_pass_continues_from_a_state(x, device):
    x = x.to(device)
    q_LD, missed, mean_D = basis(x)
    first = RitzPass(q_LD, missed, mean_D)
    second = RitzPass(torch.empty_like(q_LD), 0.0, torch.zeros_like(mean_D))
    first.add(x[:110])
    second.load_state(saved(first))
    for ritz in (first, second):
        ritz.add(x[110:])
    assert_same_state(first, second)
    left, right = first.solve(), second.solve()
    assert np.array_equal(left.facts.ritz_K, right.facts.ritz_K)
    assert np.array_equal(left.facts.residual_KK, right.facts.residual_KK)
    assert (left.facts.missed, left.facts.error) == (right.facts.missed, right.facts.error)
    assert_same_state(first.advance_(left), second.advance_(right))


def test_tensors_of_a_state_are_the_live_ones(x):
    panels, sketch = SymmetricPanels(DIM, 15, torch.float32, CPU), FrequentDirections(DIM, 12, x.dtype, CPU)
    ritz = RitzPass(*basis(x))
    sketch.absorb(x)
    assert all(panels.state()[str(index)] is panel for index, panel in enumerate(panels.panels))
    assert sketch.state()["rows"].data_ptr() == sketch.rows_LD.data_ptr()
    assert ritz.state()["y"] is ritz.y_LD


@pytest.mark.parametrize(
    ("own", "other", "message"),
    [
        (
            SymmetricPanels(DIM, 15, torch.float32, CPU),
            SymmetricPanels(DIM, 20, torch.float32, CPU),
            r"'0' should be \(15, 15\) of float32, got \(20, 20\) of float32",
        ),
        (
            SymmetricPanels(DIM, 15, torch.float32, CPU),
            SymmetricPanels(DIM, 15, torch.float64, CPU),
            r"'0' should be \(15, 15\) of float32, got \(15, 15\) of float64",
        ),
        (
            FrequentDirections(DIM, 12, torch.float32, CPU),
            FrequentDirections(30, 12, torch.float32, CPU),
            r"'rows' should be \(0, 40\) of float32, got \(0, 30\) of float32",
        ),
        (
            FrequentDirections(DIM, 12, torch.float32, CPU),
            SymmetricPanels(DIM, 15, torch.float32, CPU),
            r"'rows' should be \(0, 40\) of float32, got nothing",
        ),
        (
            RitzPass(torch.eye(5, DIM), 0.0, torch.zeros(DIM, dtype=torch.float64)),
            RitzPass(torch.eye(6, DIM), 0.0, torch.zeros(DIM, dtype=torch.float64)),
            r"'q' should be \(5, 40\) of float32, got \(6, 40\) of float32",
        ),
    ],
    ids=["other panels", "another dtype", "other features", "another kind", "another basis"],
)
def test_a_state_that_does_not_fit_is_refused_before_anything_is_copied(own, other, message):
    before = saved(own)
    with pytest.raises(OptionError, match=f"this state does not fit: {message}"):
        own.load_state(other.state())
    assert all(torch.equal(before[name], tensor) for name, tensor in own.state().items())


def test_a_sketch_with_more_rows_than_fit_is_refused(x):
    large, small = (FrequentDirections(DIM, rank, torch.float32, CPU) for rank in (12, 8))
    large.absorb(x)
    with pytest.raises(OptionError, match=r"'rows' should be \(8, 40\) of float32, got \(12, 40\)"):
        small.load_state(large.state())


def test_spent_panels_have_no_state():
    panels = matrices.diagonal([1.0, 2.0])
    band_eigenvalues_(panels)
    with pytest.raises(OptionError, match="these sums were used up by all eigenvalues"):
        panels.state()
