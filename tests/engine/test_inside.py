"""What needs a look inside: a CPU that is taken for a card."""

from pathlib import Path

import pytest

import streamspread
from streamspread.engine import session
from tests.devices import DEVICES
from tests.networks import check_near, growing, identity, network
from tests.samples import TAUS, dense

on_linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")


@pytest.mark.parametrize("device", DEVICES)
def test_by_itself_data_that_can_be_read_once_is_never_rounded_to_fp16(device, monkeypatch):
    monkeypatch.setitem(session.ROUNDING, "cpu", "fp16")  # as on a card
    x = growing(100, 500)
    model = identity()
    options = {"method": "covariance", "batch_size": 100, "device": device}
    once = streamspread.analyze(model, iter(x.split(100)), "0", TAUS, **options)["0"]
    assert once.rounding == "bf16"
    check_near(once, dense(x))
    assert streamspread.plan(model, lambda: iter(x.split(100)), "0", **options).layers[0].rounding == "fp16"
    wide = streamspread.analyze(model.double(), iter(x.double().split(100)), "0", TAUS, **options)["0"]
    assert wide.rounding == "fp64"


@on_linux
def test_data_that_stay_on_the_device_are_in_the_plan_and_in_the_peak(monkeypatch):
    size = 1 << 30
    monkeypatch.setattr(session, "_resident", lambda stream, device, budget: (stream, size))  # as on a card
    model, x = network("cnn", 150)
    plan = streamspread.plan(model, x, ["0", "4"], memory="2GiB")
    spectra = streamspread.analyze(model, x, ["0", "4"], memory="2GiB")
    assert plan.peak_bytes > size
    for spectrum in spectra.values():
        assert size <= spectrum.peak_bytes < size + (100 << 20)
