"""A model where it is to run: what its caller switched on does not reach it, and is on again afterwards."""

import numpy as np
import pytest
import torch
from devices import DEVICES
from torch import nn

from streamspread import engine
from streamspread.linalg.eigenvalues import FULL_LIMIT
from streamspread.placement import prepared

TAUS = (0.5, 0.9)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 20))


def images(samples=300):
    x = torch.randn(samples, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return x.cumsum(-1).cumsum(-2) / 4


def found(model, device, method):
    return engine.analyze(model, images(), "*", TAUS, rounding="fp32", device=device, method=method)


def check_same(spectra, expected):
    for name, want in expected.items():
        got = spectra[name]
        assert [got.components(tau) for tau in TAUS] == [want.components(tau) for tau in TAUS]
        scale = want.total_variance
        assert got.total_variance == pytest.approx(scale, rel=1e-9)
        np.testing.assert_allclose(got.eigenvalues, want.eigenvalues, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
@pytest.mark.parametrize("eigenvalues", ["all", "leading"])
def test_autocast_around_an_analysis_changes_nothing(eigenvalues, method, dtype, device, monkeypatch):
    if eigenvalues == "leading":
        monkeypatch.setitem(FULL_LIMIT, device.type, 10)
    model = network()
    expected = found(model, device, method)
    with torch.autocast("cpu", dtype), torch.autocast(device.type, dtype):
        check_same(found(model, device, method), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_autocast_is_on_again_afterwards_also_after_an_error(device):
    model, x = network(), images(4)

    def fail():
        with prepared(model, device):
            assert model(x.to(device)).dtype == torch.float32
            raise KeyError("inside")

    with torch.autocast("cpu", torch.bfloat16), torch.autocast(device.type, torch.bfloat16):
        with pytest.raises(KeyError, match="inside"):
            fail()
        assert model(x).dtype == torch.bfloat16
        assert model.to(device)(x.to(device)).dtype == torch.bfloat16


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
def test_the_grad_mode_around_an_analysis_changes_nothing(method, mode, device):
    model = network()
    expected = found(model, device, method)
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        check_same(found(model, device, method), expected)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    model(images(4)).sum().backward()  # the model can still be trained


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_products_are_exact_inside_whatever_precision_was_set_before(precision):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        with prepared(network(), torch.device("cpu")):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
