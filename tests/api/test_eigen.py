"""Eigenvalues of matrices that are given: against NumPy's in float64, in what memory, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import streamspread
from streamspread.api import eigen
from streamspread.errors import DataError, OptionError
from streamspread.linalg import eigenpairs
from streamspread.linalg.eigenpairs import Pairs
from streamspread.system import devices
from streamspread.system.memory import LiveBytes
from tests.devices import DEVICES
from tests.matrices import orthogonal

SEARCHED = replace(devices.CPU, search_limit=0, panel_rows=96)


@pytest.fixture
def searched(monkeypatch):
    """Everything is searched for, and reduced in place, that may be."""
    for module in (eigen, eigenpairs.devices):
        monkeypatch.setattr(module, "profile", lambda device: SEARCHED)


def symmetric(values, dtype=np.float64):
    vectors = orthogonal(len(values), np.random.default_rng(len(values)))
    matrix = (vectors * np.asarray(values)) @ vectors.T
    return ((matrix + matrix.T) / 2).astype(dtype)


def packed(matrix):
    return matrix[np.tril_indices(len(matrix))]


#: Of one sign and of both, in pairs, without a gap, of low rank, and constant.
SPECTRA = {
    "power": np.arange(1, 301.0) ** -1.0,
    "steep": np.arange(1, 301.0) ** -4.0,
    "flat": np.linspace(2.0, 1.0, 300),
    "both signs": np.linspace(-3.0, 2.0, 300),
    "negative": -np.arange(1, 301.0),
    "pairs": np.repeat(np.arange(1, 151.0) ** -1.0, 2),
    "low rank": np.where(np.arange(300) < 3, 5.0, 0.0),
    "all one": np.ones(300),
    "zero": np.zeros(300),
    "huge": 1e25 * np.arange(1, 301.0) ** -1.0,
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("in_place", [False, True])
def test_all_eigenvalues(name, dtype, in_place, request):
    if in_place:
        request.getfixturevalue("searched")
    matrix = symmetric(SPECTRA[name], dtype)
    expected = np.linalg.eigvalsh(matrix.astype(np.float64))
    kept = matrix.copy()
    found = streamspread.eigvalsh(matrix)
    np.testing.assert_array_equal(matrix, kept)  # nothing of it was overwritten
    allowed = 16 * np.finfo(dtype if in_place else np.float64).eps * np.abs(expected).max() * math.sqrt(300)
    np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)
    np.testing.assert_array_equal(streamspread.eigvalsh(packed(matrix)), found)
    np.testing.assert_array_equal(streamspread.eigvalsh(matrix, overwrite=True), found)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 7, 30, 300])
def test_leading_pairs_lie_between_their_bounds(name, dtype, k, searched):
    matrix = symmetric(SPECTRA[name], dtype)
    wide = matrix.astype(np.float64)
    exact = np.linalg.eigvalsh(wide)[::-1][:k]
    found = streamspread.eigh_leading(matrix, k)
    size = np.abs(SPECTRA[name]).max() or 1.0
    # What NumPy's own eigenvalues may be off by.
    own = 4 * 300 * np.finfo(np.float64).eps * size
    assert (found.low <= exact + own).all()
    assert (exact - own <= found.high).all()
    assert (found.low <= found.values).all()
    residual = np.linalg.norm(wide @ found.vectors - found.vectors * found.values, axis=0)
    assert (residual <= found.residuals + own).all()
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(k), atol=1e-12)
    assert found.proof in ("all eigenvalues", "Frobenius norm", "Chebyshev polynomial")
    width = (found.high - found.low).max() / size
    without_gap = {"all one": 2e-2, "low rank": 1e-5}.get(name, 0.0)
    assert width < max(without_gap, 1e-9 if dtype == np.float64 else 2e-2)


@pytest.mark.parametrize("name", ["power", "both signs", "pairs"])
def test_without_random_vectors_bounds_hold_but_are_wide(name, searched):
    matrix = symmetric(SPECTRA[name])
    kept = matrix.copy()
    found = streamspread.eigh_leading(matrix, 5, proof=False)
    np.testing.assert_array_equal(matrix, kept)
    exact = np.linalg.eigvalsh(matrix)[::-1][:5]
    assert found.proof == "Frobenius norm"
    assert (found.low <= exact).all()
    assert (exact <= found.high).all()
    proved = streamspread.eigh_leading(matrix, 5)
    assert proved.proof == "Chebyshev polynomial"
    assert (proved.high - proved.low).max() < (found.high - found.low).max()


def test_a_missed_eigenvalue_is_not_excluded(monkeypatch, searched):
    """A search that never saw the first eigenvector: the bounds hold all the same."""
    matrix = symmetric(SPECTRA["power"])
    leading_pairs = eigenpairs.leading_pairs

    def blind(panels, count, **options):
        return Pairs(*(part[..., 1:] for part in leading_pairs(panels, count + 1, **options)))

    monkeypatch.setattr(eigenpairs, "leading_pairs", blind)
    found = streamspread.eigh_leading(matrix, 4)
    exact = np.linalg.eigvalsh(matrix)[::-1][:4]
    assert found.values[0] < 0.6  # λ₂, where λ₁ = 1
    assert (found.low <= exact).all()
    assert (exact <= found.high).all()


@pytest.mark.parametrize("device", DEVICES)
def test_tensors_come_back_as_tensors(device):
    matrix = torch.from_numpy(symmetric(SPECTRA["power"])).to(device)
    values = streamspread.eigvalsh(matrix)
    found = streamspread.eigh_leading(matrix.requires_grad_(), 3)
    assert isinstance(values, torch.Tensor)
    assert values.dtype == torch.float64
    assert found.vectors.device == matrix.device
    assert found.values.dtype == torch.float64
    torch.testing.assert_close(values.flip(0)[:3], found.values)


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_given_up_is_not_copied(order, searched):
    matrix = np.asarray(symmetric(SPECTRA["power"], np.float32), order=order)
    kept = matrix.copy()
    with LiveBytes() as live:
        streamspread.eigvalsh(matrix, overwrite=True)
    within = live.peak
    assert not np.array_equal(matrix, kept)
    with LiveBytes() as live:
        streamspread.eigvalsh(kept)
    half = 300 * 300 * 4 // 2
    assert live.peak - within > 0.9 * half
    kept.flags.writeable = False
    again = kept.copy()
    streamspread.eigvalsh(kept, overwrite=True)  # it may be, but cannot be
    np.testing.assert_array_equal(kept, again)


@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.float16, ">f8", np.longdouble])
def test_other_kinds_of_numbers(dtype):
    matrix = np.eye(5).astype(dtype)
    np.testing.assert_allclose(streamspread.eigvalsh(matrix), np.ones(5))
    np.testing.assert_allclose(streamspread.eigvalsh(np.flip(matrix)), np.ones(5))
    assert streamspread.eigh_leading(matrix, 2).vectors.shape == (5, 2)


def test_halves_may_differ_by_rounding():
    x = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    matrix = x @ x.T
    matrix[3, 5] *= 1 + 2e-7
    assert len(streamspread.eigvalsh(matrix)) == 40
    assert len(streamspread.eigvalsh([[2.0, 1.0], [1.0, 2.0]])) == 2


BAD = {
    "not symmetric: .* differ by 1, and the largest is 1": np.triu(np.ones((3, 3))),
    "holds NaN or Inf": np.full((3, 3), np.nan),
    "NaN or Inf: check": np.array([1.0, np.inf, 2.0]),
    "array of complex128": np.eye(3) * 1j,
    "array of <U1 came": np.array([["a", "b"], ["c", "d"]]),
    "complex64 tensor": torch.eye(3, dtype=torch.complex64),
    "torch.sparse_coo": torch.eye(3).to_sparse(),
    r"shape \(3, 4\)": np.ones((3, 4)),
    r"shape \(0, 0\)": np.ones((0, 0)),
    r"shape \(2, 2, 2\)": np.ones((2, 2, 2)),
    r"shape \(\) came": np.float64(1.0),
    "4 numbers came": np.ones(4),
    "0 numbers came": np.ones(0),
    "array of object came": {"a": 1},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_matrices(message):
    for call in (streamspread.eigvalsh, lambda a: streamspread.eigh_leading(a, 1)):
        with pytest.raises(DataError, match=message):
            call(BAD[message])


@pytest.mark.parametrize("k", [0, -1, 4, 1.5, "2", None])
def test_bad_counts(k):
    with pytest.raises(OptionError, match=r"a matrix of order 3 has 1 … 3 eigenvectors"):
        streamspread.eigh_leading(np.eye(3), k)


@pytest.mark.parametrize("options", [{"tolerance": 0.0}, {"tolerance": 2.0}, {"seed": -1}])
def test_bad_options(options):
    with pytest.raises(OptionError, match="asked for"):
        streamspread.eigh_leading(np.eye(3), 1, **options)


def test_memory_of_the_search(searched):
    matrix = symmetric(SPECTRA["power"])
    with LiveBytes() as live:
        streamspread.eigh_leading(matrix, 2)
    assert live.peak < 12 * 8 * 300 * 100  # blocks of vectors, and no matrix


def test_the_callers_switches_make_no_product_less_precise():
    generator = torch.Generator().manual_seed(5)
    a = torch.randn(2300, 300, generator=generator)
    matrix = a @ a.T
    expected = streamspread.eigh_leading(matrix, 3)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", torch.bfloat16):
            found = streamspread.eigh_leading(matrix, 3)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(found.values, expected.values)
    assert torch.equal(found.vectors, expected.vectors)
