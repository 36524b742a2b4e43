"""All eigenvalues in the panels' own memory, against numpy's of the dense matrix."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.errors import OptionError
from streamspread.linalg.band import band_bytes, band_eigenvalues_
from streamspread.linalg.panels import SymmetricPanels
from streamspread.system import devices
from streamspread.system.memory import LiveBytes
from tests.devices import CPU, DEVICES
from tests.matrices import packed


def matrix(n, rows, device=CPU, dtype=torch.float64, **options):
    """Panels of a random matrix with a falling spectrum, and its eigenvalues as the panels hold them."""
    panels, _ = packed(n, rows, device, dtype, fall=0.5, **options)
    return panels, np.linalg.eigvalsh(panels.dense(torch.float64).cpu().numpy())


def assert_equal(computed, expected, dtype):
    unit = torch.finfo(dtype).eps
    assert computed.dtype == np.float64
    np.testing.assert_allclose(computed, expected, rtol=0, atol=32 * unit * np.abs(expected).max())
    assert abs(computed.sum() - expected.sum()) < 16 * unit * np.abs(expected).sum()


# Bands wider than panels and panels wider than bands; a last block, and a last panel, that are not whole.
SHAPES = [(1, 4, 32), (7, 7, 3), (65, 16, 8), (96, 96, 32), (300, 70, 32), (301, 64, 1)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("low_rank", [False, True])
@pytest.mark.parametrize(("n", "rows", "bandwidth"), SHAPES)
def test_eigenvalues_are_those_of_the_dense_matrix(device, dtype, low_rank, n, rows, bandwidth):
    panels, expected = matrix(n, rows, device, dtype, low_rank=low_rank)
    assert_equal(band_eigenvalues_(panels, bandwidth), expected, dtype)


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 90), rows=st.integers(1, 90), bandwidth=st.integers(1, 40), seed=st.integers(0, 1000))
def test_eigenvalues_are_those_of_the_dense_matrix_in_any_panels(n, rows, bandwidth, seed):
    panels, expected = matrix(n, rows, seed=seed)
    assert_equal(band_eigenvalues_(panels, bandwidth), expected, torch.float64)


@pytest.mark.parametrize("least", [1, 10])
def test_panels_that_are_read_in_several_chunks(least):
    profile = replace(devices.CPU, band_rows=least, band_numbers=1)
    panels, expected = matrix(200, 70)
    assert_equal(band_eigenvalues_(panels, 16, profile=profile), expected, torch.float64)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["zero", "identity", "one component", "few components"])
def test_columns_that_need_no_reflection(device, kind):
    n = 100
    panels = SymmetricPanels(n, 30, torch.float64, device)
    x = {
        "zero": torch.zeros(n, 1, dtype=torch.float64),
        "identity": torch.eye(n, dtype=torch.float64),
        "one component": torch.nn.functional.one_hot(torch.tensor([3]), n).T.double(),
        "few components": torch.randn(n, 5, dtype=torch.float64),
    }[kind]
    panels.add_outer(x.to(device))
    expected = np.linalg.eigvalsh((x @ x.T).numpy())
    np.testing.assert_allclose(band_eigenvalues_(panels, 8), expected, rtol=0, atol=1e-13 * expected.max())


@pytest.mark.parametrize("scale", [1e-290, 1e290])
def test_numbers_whose_squares_are_out_of_range(scale):
    panels, expected = matrix(60, 20)
    panels.multiply_(scale)
    assert_equal(band_eigenvalues_(panels, 8) / scale, expected, torch.float64)


def test_the_same_bits_each_time():
    first, second = (band_eigenvalues_(matrix(300, 70, dtype=torch.float32)[0]) for _ in range(2))
    assert np.array_equal(first, second)


USES = {
    "read": lambda panels: panels.dense(torch.float64),
    "multiply by a block": lambda panels: panels.matmul(torch.ones(90, 1, dtype=torch.float64)),
    "quotients": lambda panels: panels.quotients(torch.ones(90, 1, dtype=torch.float64)),
    "squared norm": lambda panels: panels.squared_norm(),
    "row sums": lambda panels: panels.row_sums(),
    "trace": lambda panels: panels.trace(),
    "add rows": lambda panels: panels.add_outer(torch.ones(90, 1, dtype=torch.float64)),
    "add panels": lambda panels: panels.add_state(packed(90, 40)[0].state(), 1.0),
    "be added": lambda panels: packed(90, 40)[0].add_state(panels.state(), 1.0),
    "rescale": lambda panels: panels.multiply_(0.5),
    "reduce again": band_eigenvalues_,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_the_panels_are_used_up(use):
    panels, _ = packed(90, 40, low_rank=True)
    band_eigenvalues_(panels)
    with pytest.raises(OptionError, match="these sums were used up by all eigenvalues"):
        use(panels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_takes_the_bytes_that_it_says_and_never_a_second_matrix(dtype):
    n = 2500
    panels = SymmetricPanels(n, 256, dtype, CPU)
    panels.add_outer(torch.randn(n, 40, dtype=dtype))
    with LiveBytes() as live:
        band_eigenvalues_(panels)
    assert live.peak <= band_bytes(n, dtype, CPU)
    assert band_bytes(65_536, dtype, CPU) < 0.1 * SymmetricPanels.nbytes(65_536, 256, dtype)


def test_progress_grows():
    shares = []
    band_eigenvalues_(matrix(400, 100)[0], 8, shares.append)
    assert len(shares) > 10
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
