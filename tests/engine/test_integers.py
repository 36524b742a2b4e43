"""Rounding int16 from end to end: what it holds, what it does not, and where it cannot be had."""

import pytest
import torch
from torch import nn

import streamspread
from streamspread import kernels, store
from streamspread.engine import analysis
from streamspread.errors import ActivationError, DeviceError
from tests.devices import CPU
from tests.networks import Sign, check_exact, growing, identity, known, network
from tests.samples import TAUS, dense

exact = pytest.mark.skipif(not kernels.exact_speed(CPU), reason="int8 products are not exact here")


@exact
@pytest.mark.parametrize("method", ["covariance", "gram"])
@pytest.mark.parametrize("samples", [100, 1000])
@pytest.mark.parametrize("batch_size", [7, 128])
def test_k_of_a_network(samples, method, batch_size):
    model, x = network("cnn", samples)
    want = known("cnn", samples)
    spectra = streamspread.analyze(
        model, x, ["0", "1", "4", "5"], TAUS, method=method, rounding="int16", batch_size=batch_size
    )
    for name, spectrum in spectra.items():
        check_exact(spectrum, want[name])
        assert spectrum.rounding == "int16"
        assert 0.0 < spectrum.moved < 1e-6


@exact
def test_a_sketch_keeps_float32():
    model, x = network("cnn", 300)
    asked, plain = (
        streamspread.analyze(model, x, "1", (0.7,), method="sketch", rounding=rounding)["1"]
        for rounding in ("int16", "fp32")
    )
    assert asked.rounding == plain.rounding == "fp32"
    assert asked.components(0.7) == plain.components(0.7)


@exact
@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_a_layer_that_overflows_is_summed_again_in_a_larger_unit(method):
    x = growing(100, 500)
    model = nn.Sequential(nn.Identity(), Sign())
    spectra = streamspread.analyze(model, x, "*", TAUS, method=method, rounding="int16", batch_size=100)
    assert [s.rounding for s in spectra.values()] == ["int16", "int16"]
    check_exact(spectra["0"], dense(x))
    check_exact(spectra["1"], dense(x.sign()))


@exact
def test_a_range_of_sixty_digits_is_held():
    x = torch.cat([torch.randn(20, 4) * 1e-30, torch.randn(20, 4) * 1e30])
    spectrum = streamspread.analyze(identity(), x, "0", TAUS, rounding="int16", batch_size=20)["0"]
    check_exact(spectrum, dense(x), rel=1e-4)  # 80 values of 14 bits


@exact
def test_an_overflow_of_data_that_can_be_read_once_names_the_layer_and_what_to_take():
    x = growing(100, 500)
    match = r"layer 0: int16 overflow in batch 2, and data that can be read once .* take --rounding fp32"
    with pytest.raises(ActivationError, match=match):
        streamspread.analyze(identity(), iter(x.split(100)), "0", method="covariance", rounding="int16")


def test_a_processor_without_exact_products_is_refused(monkeypatch):
    monkeypatch.setattr(analysis, "exact_speed", lambda device: 0.0)
    match = "rounding int16 needs exact products of int8 matrices, .* take --rounding fp32"
    with pytest.raises(DeviceError, match=match):
        streamspread.analyze(identity(), torch.randn(20, 4), "0", rounding="int16")


@exact
def test_the_share_that_was_moved_is_kept_in_files(tmp_path):
    model, x = network("cnn", 100)
    spectra = streamspread.analyze(model, x, ["1", "4"], rounding="int16")
    store.write(spectra, tmp_path / "int16.arrow")
    again = store.read(tmp_path / "int16.arrow")
    assert [s.moved for s in again.values()] == [s.moved for s in spectra.values()]
