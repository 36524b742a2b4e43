"""What needs a look inside: a CPU that is taken for a card."""

from dataclasses import replace
from pathlib import Path

import pytest

import streamspread
from streamspread.api.analyze import analyze_with, plan_with
from streamspread.api.calls import Subject
from streamspread.observe import observed
from streamspread.options import Options
from streamspread.system import memory
from streamspread.system.devices import profile
from tests.devices import DEVICES
from tests.networks import check_near, growing, identity, network
from tests.samples import TAUS, dense

on_linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")


@pytest.mark.parametrize("device", DEVICES)
def test_by_itself_data_that_can_be_read_once_is_never_rounded_to_fp16(device):
    x = growing(100, 500)
    model = identity()
    options = Options("0", TAUS, method="covariance", batch_size=100, device=device)
    as_on_a_card = replace(profile(device), precision="fp16")

    def analyzed(model, x):
        return analyze_with(Subject(model, iter(x.split(100))), options, constants=as_on_a_card)["0"]

    once = analyzed(model, x)
    assert once.rounding == "bf16"
    check_near(once, dense(x))
    again = plan_with(Subject(model, lambda: iter(x.split(100))), options, as_on_a_card)
    assert again.layers[0].rounding == "fp16"
    assert analyzed(model.double(), x.double()).rounding == "fp64"


@on_linux
def test_data_that_stay_on_the_device_are_in_the_plan_and_in_the_peak(monkeypatch):
    size = 1 << 30
    monkeypatch.setattr(observed, "_resident", lambda stream, device, budget: (stream, size))  # as on a card
    monkeypatch.setattr(memory, "_resident", lambda: 1 << 29)  # nothing is taken beside them
    model, x = network("cnn", 150)
    plan = streamspread.plan(model, x, ["0", "4"], memory="2GiB")
    spectra = streamspread.analyze(model, x, ["0", "4"], memory="2GiB")
    assert plan.peak_bytes > size
    assert [spectrum.peak_bytes for spectrum in spectra.values()] == [size, size]
