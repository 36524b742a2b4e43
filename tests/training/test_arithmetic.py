"""Precisions: which is meant by auto, and that products have it; and the device of a training."""

import pytest
import torch

from streamspread.errors import DeviceError
from streamspread.system.devices import resolve_device
from streamspread.training.setup import autocast, resolve_precision

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("tpu9", "device 'tpu9' is unknown: use auto, cpu or cuda:0"),
        ("cuda:99", r"device cuda:99 is not there: torch sees \d+ CUDA devices"),
        ("meta", "device meta is not supported: use auto, cpu or cuda:0"),
    ],
)
def test_a_device_that_is_not_there_is_refused(device, message):
    with pytest.raises(DeviceError, match=message):
        resolve_device(device, needs_cupy=False)


def test_auto_is_a_card_without_cupy_where_cupy_is_not_needed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto", needs_cupy=False) == torch.device("cuda:0")
    assert resolve_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto", needs_cupy=False) == CPU


@pytest.mark.parametrize(
    ("features", "precision"), [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": False, "avx2": True}, "fp32")]
)
def test_auto_is_bf16_where_the_device_multiplies_it(monkeypatch, features, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    assert resolve_precision("auto", CPU) == precision
    assert resolve_precision("auto", CUDA) == "bf16"
    assert resolve_precision("fp32", CUDA) == "fp32"


def test_the_precision_is_that_of_products():
    ones = torch.ones(2, 2)
    with autocast(CPU, "bf16"):
        assert (ones @ ones).dtype == torch.bfloat16
    with autocast(CPU, "fp32"):
        assert (ones @ ones).dtype == torch.float32
