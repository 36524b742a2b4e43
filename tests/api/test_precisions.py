"""Precisions: what a network computes in, and what activations are rounded to before they are summed."""

import pytest
import torch
from torch import nn

import streamspread
from tests.devices import DEVICES
from tests.networks import check_exact, ks, network, truth
from tests.samples import TAUS


@pytest.mark.parametrize("device", DEVICES)
def test_float64_networks_are_summed_in_float64_unless_told_otherwise(device):
    model, x = network("cnn", 200)
    model = model.double()
    found = streamspread.analyze(model, x.double(), ["0", "4"], TAUS, device=device)
    want = truth(model, x.double(), ["0", "4"])
    for name, spectrum in found.items():
        assert spectrum.rounding == "fp64"
        check_exact(spectrum, want[name], rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_networks_are_observed_as_they_are(dtype):
    model, x = network("cnn", 300)
    model = model.to(dtype)
    want = truth(model, x.to(dtype), ["0", "2", "5"])
    found = streamspread.analyze(
        model, x, ["0", "2", "5"], TAUS, batch_size=300
    )  # data are cast to the model's dtype
    for name, spectrum in found.items():
        check_exact(spectrum, want[name])


@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
@pytest.mark.parametrize("rounding", ["fp16", "bf16", "fp32", "fp64", "int16"])
def test_a_constant_layer_has_no_components(method, rounding):
    model = nn.Sequential(nn.Linear(30, 20), nn.Hardtanh(5.0, 5.5))
    model[0].weight.data.zero_()
    model[0].bias.data.fill_(0.1)  # 0.1 has no exact binary form: its mean must not leave a residue
    spectra = streamspread.analyze(model, network("mlp", 150)[1], "*", TAUS, method=method, rounding=rounding)
    for spectrum in spectra.values():
        assert spectrum.total_variance == 0
        assert ks(spectrum) == [0] * len(TAUS)
        assert len(spectrum.eigenvalues) == 0
