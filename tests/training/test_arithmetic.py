"""Devices, precisions, and switches that are restored."""

import pytest
import torch

from streamspread.errors import DeviceError
from streamspread.training.arithmetic import autocast, cuda_settings, resolve_device, resolve_precision

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("tpu9", "unknown device 'tpu9'"),
        ("cuda:99", "there is no device cuda:99 here"),
        ("meta", "not on meta"),
    ],
)
def test_a_device_that_is_not_there_is_refused(device, message):
    with pytest.raises(DeviceError, match=message):
        resolve_device(device)


@pytest.mark.parametrize(
    ("features", "precision"), [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": False, "avx2": True}, "fp32")]
)
def test_auto_is_bf16_where_the_device_multiplies_it(monkeypatch, features, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    assert resolve_precision("auto", CPU) == precision
    assert resolve_precision("auto", CUDA) == "bf16"
    assert resolve_precision("fp32", CUDA) == "fp32"


def test_an_older_torch_that_knows_no_features_computes_in_fp32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve_precision("auto", CPU) == "fp32"


def test_the_precision_is_that_of_products():
    ones = torch.ones(2, 2)
    with autocast(CPU, "bf16"):
        assert (ones @ ones).dtype == torch.bfloat16
    with autocast(CPU, "fp32"):
        assert (ones @ ones).dtype == torch.float32


def settings():
    """cuDNN's search, and whether convolutions and matrix products may use TF32."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if hasattr(cudnn, "conv"):
        return cudnn.benchmark, cudnn.conv.fp32_precision == "tf32", matmul.fp32_precision == "tf32"
    return cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32


@pytest.mark.parametrize("tf32", [True, False])
def test_cuda_settings_are_made_and_restored_also_after_an_error(tf32):
    # The switches can be set without a CUDA device.
    before, within = settings(), []

    def fail():
        within.append(settings())
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), cuda_settings(CUDA, tf32=tf32):
        fail()
    assert within == [(True, tf32, tf32)]
    assert settings() == before
    with cuda_settings(torch.device("cpu"), tf32=tf32):
        assert settings() == before
