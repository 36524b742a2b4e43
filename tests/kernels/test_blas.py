"""float32 products by oneDNN: right in every layout, reduced by no switch, BLAS's where they fail."""

import itertools

import numpy as np
import pytest
import torch

from streamspread.kernels import blas, cpu
from streamspread.system.torch_state import switched

UNIT = 2.0**-24
there = pytest.mark.skipif(not blas.faster(), reason="oneDNN is not faster here, or not there")

SHAPES = [(300, 700, 400), (1500, 2048, 16), (16, 3000, 600), (257, 1031, 259)]  # m, k, n


@pytest.fixture
def taken(monkeypatch):
    """Taken of any size, whether or not it is faster here; skipped where it is not there at all."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("a torch without the operator")
    monkeypatch.setattr(blas, "faster", lambda: True)
    monkeypatch.setattr(blas, "_SMALL", 1)


def laid_out(a, layout):
    """The same matrix, row by row, column by column, or as a window of a larger one in either order."""
    if layout == "columns":
        return a.T.contiguous().T
    if layout == "window":
        return torch.nn.functional.pad(a, (3, 5))[:, 3:-5]
    if layout == "window of columns":
        return torch.nn.functional.pad(a.T.contiguous(), (3, 5))[:, 3:-5].T
    return a


LAYOUTS = ["rows", "columns", "window", "window of columns"]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layouts", itertools.product(LAYOUTS, LAYOUTS), ids=" × ".join)
def test_products_are_float32s_in_every_layout(shape, layouts, taken):
    (m, k, n), generator = shape, torch.Generator().manual_seed(3)
    a, b = torch.randn(m, k, generator=generator), torch.randn(k, n, generator=generator)
    exact, size = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    a, b = laid_out(a, layouts[0]), laid_out(b, layouts[1])
    found = blas.product(a, b)
    copied = ("window" in layouts[0] and n < 256) or ("window" in layouts[1] and m < 256)
    assert (found is None) is copied
    c = torch.ones(m, n + 2)[:, 1:-1]
    cpu.add_product(c, a, b)
    for error, of in ((c.double() - 1 - exact, size + 1), (0 if found is None else found - exact, size)):
        assert (torch.as_tensor(error).abs() <= 2 * k**0.5 * UNIT * of).all()


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("rows", [100, 256, 700, 1100])
def test_grams_of_rows_are_symmetric_and_right(rows, transposed, taken):
    x = torch.randn(1100, 1300, generator=torch.Generator().manual_seed(1))
    exact, size = (each.double() @ each.double().T for each in (x, x.abs()))
    if transposed:
        x = torch.nn.functional.pad(x.T, (0, 9))[:, :-9].T
    c = torch.zeros(rows, 1100)
    for _ in range(2):
        cpu.add_gram_rows(c, x)
    assert torch.equal(c[:, 1100 - rows :], c[:, 1100 - rows :].T)
    error = c.double() - 2 * exact[1100 - rows :]
    assert (error.abs() <= 2 * 1300**0.5 * UNIT * 2 * size[1100 - rows :]).all()


@there
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
@pytest.mark.parametrize("part", ["ieee", "tf32", "bf16"])
def test_no_switch_of_torch_makes_products_less_precise(precision, part):
    before = torch.get_float32_matmul_precision()
    a, b = torch.randn(2, 512, 512, generator=torch.Generator().manual_seed(2))
    expected = blas.product(a, b)
    try:
        torch.set_float32_matmul_precision(precision)
        torch.backends.mkldnn.matmul.fp32_precision = part
        with switched(matrices=False), torch.autocast("cpu", torch.bfloat16):
            found = blas.product(a, b)
        assert torch.backends.mkldnn.matmul.fp32_precision == part
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = "none"
        torch.set_float32_matmul_precision(before)
    assert torch.equal(found, expected)


def test_what_is_small_narrow_or_not_float32_is_left(monkeypatch):
    monkeypatch.setattr(blas, "faster", lambda: True)
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    assert blas.pays(a, b)
    assert not blas.pays(a[:63], b)
    assert not blas.pays(a.double(), b.double())
    assert not blas.pays(torch.randn(15, 1 << 15), torch.randn(1 << 15, 512))


@pytest.mark.parametrize("error", [AttributeError, NotImplementedError, RuntimeError, TypeError])
def test_a_torch_without_the_operator_takes_blas(error, monkeypatch):
    def missing(*_):
        raise error("no such operator")

    monkeypatch.setattr(blas, "_multiply", missing)
    assert not blas.faster.__wrapped__()
    monkeypatch.setattr(blas, "faster", lambda: error is RuntimeError)  # or it fails later
    a, b = torch.randn(512, 600), torch.randn(600, 512)
    assert blas.product(a, b) is None
    c = torch.zeros(512, 512)
    cpu.add_product(c, a, b)
    assert torch.equal(c, torch.from_numpy(np.matmul(a.numpy(), b.numpy())))


@pytest.mark.parametrize(("seconds", "faster"), [(1.0, True), (1.01, False)])
def test_an_operator_that_is_hardly_faster_is_not_taken(seconds, faster, monkeypatch):
    calls = []

    def measured(call):
        calls.append(call())
        return 1.5 if len(calls) == 1 else seconds  # of BLAS, and of the operator

    monkeypatch.setattr(blas, "_multiply", lambda a, b: a @ b.T)
    monkeypatch.setattr(blas, "seconds", measured)
    assert blas.faster.__wrapped__() == faster
    assert torch.allclose(*calls, rtol=0.0, atol=1e-3)


def test_an_operator_that_is_wrong_is_not_taken(monkeypatch):
    monkeypatch.setattr(blas, "_multiply", lambda a, b: torch.zeros(len(a), len(b)))
    monkeypatch.setattr(blas, "seconds", lambda call: pytest.fail("measured"))
    assert not blas.faster.__wrapped__()


def test_copies_of_factors_are_bounded(taken):
    a, b = torch.randn(300, 5000)[:, 1:], torch.randn(4999, 300)
    parts = blas.parts_of_terms(a, b)
    assert [part.start for part in parts] == [0, 1024, 2048, 3072, 4096]
    assert len(blas.parts_of_terms(a.contiguous(), b)) == 1
    assert len(blas.parts_of_terms(a.double(), b.double())) == 1
