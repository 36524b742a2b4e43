"""Devices: which one is meant, and what is said of a card that stays idle."""

import pytest
import torch
from torch import nn

from streamspread.errors import DeviceError
from streamspread.system import devices
from streamspread.system.devices import resolve_device, unused_card


@pytest.fixture
def cards(monkeypatch):
    """Lets torch see so many cards, with CuPy or without it."""

    def see(count, cupy=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.version, "cuda", "13.1")
        monkeypatch.setattr(devices, "find_spec", lambda name: object() if cupy else None)
        monkeypatch.setattr(devices, "_has_cupy", lambda: cupy)

    return see


@pytest.mark.parametrize(
    ("card", "cupy", "said"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_a_card_that_stays_idle_for_want_of_cupy_is_spoken_of(cards, card, cupy, said):
    cards(int(card), cupy)
    line = unused_card()
    assert line == (
        "a GPU is here but not CuPy, so the CPU computes: pip install cupy-cuda13x" if said else None
    )


@pytest.mark.parametrize(
    ("count", "cupy", "needs_cupy", "meant"),
    [
        (0, True, True, "cpu"),
        (1, True, True, "cuda:0"),
        (1, False, True, "cpu"),
        (1, False, False, "cuda:0"),
        (0, False, False, "cpu"),
    ],
)
def test_auto_is_the_first_card_that_can_be_used(cards, count, cupy, needs_cupy, meant):
    cards(count, cupy)
    model = nn.Linear(2, 2)
    assert resolve_device("auto", needs_cupy=needs_cupy) == torch.device(meant)
    assert resolve_device("auto", model, needs_cupy=needs_cupy) == torch.device(meant)


@pytest.mark.parametrize(
    ("asked", "meant"), [("cpu", "cpu"), ("cpu:0", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")]
)
def test_a_device_that_is_named_has_its_number(cards, asked, meant):
    cards(2)
    assert resolve_device(asked) == torch.device(meant)
    assert resolve_device(torch.device(asked)) == torch.device(meant)


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("tpu", "device 'tpu' is unknown: use auto, cpu or cuda:0"),
        (None, "device None is unknown"),
        (2**70, "device 1180591620717411303424 is unknown"),
        ("mps", "device mps is not supported: use auto, cpu or cuda:0"),
        ("cuda:2", "device cuda:2 is not there: torch sees 2 CUDA devices; use --device cpu"),
    ],
)
def test_a_device_that_is_not_there_is_refused(cards, asked, match):
    cards(2)
    with pytest.raises(DeviceError, match=match):
        resolve_device(asked)


@pytest.mark.gpu
def test_auto_is_the_models_own_card():
    assert resolve_device("auto", nn.Linear(2, 2).to("cuda:0")) == torch.device("cuda:0")
