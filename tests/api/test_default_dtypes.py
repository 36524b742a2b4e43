"""torch's default dtype is the caller's: whatever it is, an analysis gives what it gives in float32."""

import numpy as np
import pytest
import torch

import streamspread
from streamspread.linalg.blocks import orthonormal
from tests.devices import CPU

DIM, SAMPLES = 120, 320


@pytest.fixture(params=[torch.float64, torch.bfloat16], ids=str)
def default(request):
    """Another default dtype, while a test lasts."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


def network(dtype):
    torch.manual_seed(0)
    layer = torch.nn.Linear(24, DIM, dtype=torch.float64)
    return torch.nn.Sequential(layer, torch.nn.ReLU()).to(dtype)


def analysed(dtype, **more):
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((SAMPLES, 24))).to(dtype)
    options = {"layers": ["0", "1"], "thresholds": (0.5, 0.9), "device": CPU, "batch_size": 80, **more}
    return streamspread.analyze(network(dtype), x, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "more",
    [
        {"method": "covariance"},
        {"method": "gram"},
        {"method": "sketch", "rank": 64},
        {"method": "sketch", "rank": 64, "max_passes": 1, "directions": 3},
        {"method": "covariance", "directions": 3},
        {"method": "gram", "directions": 3, "rounding": "int16"},
        {"all_eigenvalues": True},
    ],
    ids=str,
)
def test_another_default_dtype_changes_no_k(default, dtype, more):
    given = analysed(dtype, **more)
    assert torch.get_default_dtype() == default
    torch.set_default_dtype(torch.float32)
    for name, spectrum in analysed(dtype, **more).items():
        assert [given[name].components(tau) for tau in (0.5, 0.9)] == [
            spectrum.components(tau) for tau in (0.5, 0.9)
        ]
        np.testing.assert_array_equal(given[name].eigenvalues, spectrum.eigenvalues)


def test_a_default_dtype_changes_no_component_of_pca_nor_eigenvalue(default):
    x = np.random.default_rng(0).standard_normal((200, 30))
    given = streamspread.PCA(4).fit(x)
    values = streamspread.eigvalsh(torch.from_numpy(np.cov(x.T)))
    torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(given.components_, streamspread.PCA(4).fit(x).components_)
    np.testing.assert_array_equal(values, streamspread.eigvalsh(torch.from_numpy(np.cov(x.T))))


def test_a_basis_of_no_columns_has_none():
    assert orthonormal(torch.empty(7, 0, dtype=torch.float64)).shape == (7, 0)
