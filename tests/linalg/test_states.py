"""States that do not fit are refused before anything is copied."""

import numpy as np
import pytest
import torch

from streamspread.errors import OptionError
from streamspread.linalg.band import band_eigenvalues_
from streamspread.linalg.frequent_directions import FrequentDirections
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.ritz import RitzPass
from tests import matrices
from tests.devices import CPU

DIM = 40


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    return torch.from_numpy(matrices.samples(np.arange(1, DIM + 1) ** -0.8, 200, rng) + 3.0).float()


def saved(holder):
    """A copy of its state, as a checkpoint has it."""
    return {name: tensor.clone() for name, tensor in holder.state().items()}


def basis(x):
    """A basis of ten directions, what it misses, and the mean of x."""
    sketch = FrequentDirections(DIM, 12, torch.float32, x.device)
    sketch.absorb(x)
    svd = sketch.decompose(x[:0])
    return *sketch.basis_(svd, 10), svd.mean_D


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
