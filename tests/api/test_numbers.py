"""Every K at every layer is that of the dense float64 reference: network × method × precision × device."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import streamspread
from tests.devices import DEVICES
from tests.networks import COMPARED, check_exact, check_near, identity, known, ks, network, truth
from tests.samples import TAUS, dense, prescribed
from tests.variances import variances


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rounding", ["fp32", "fp64"])
@pytest.mark.parametrize("method", ["covariance", "gram"])
@pytest.mark.parametrize("samples", [60, 600])
@pytest.mark.parametrize("kind", COMPARED)
def test_every_layer_equals_the_dense_reference(kind, samples, method, rounding, device):
    model, x = network(kind, samples)
    want = known(kind, samples)
    spectra = streamspread.analyze(
        model, x, "*", TAUS, method=method, rounding=rounding, device=device, batch_size=37, memory="1GiB"
    )
    assert list(spectra) == [name for name in want if name in spectra]  # in network order, nothing else
    assert {"block", "attention", "relu#2", "conv#2", "7", "3"} & set(want) <= set(spectra)
    for name, spectrum in spectra.items():
        check_exact(spectrum, want[name], rel=1e-4 if device.type != "cpu" else 1e-5)
        assert (spectrum.method, spectrum.rounding, spectrum.passes) == (method, rounding, 1)
        assert spectrum.complete
        assert np.prod(spectrum.shape) == spectrum.dim


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mean", [0.0, 1000.0])
@pytest.mark.parametrize("method", ["covariance", "gram"])
@pytest.mark.parametrize("name", ["flat", "steep", "steeper", "rank-deficient", "of rank 23", "one dominant"])
def test_prescribed_spectra_are_found(name, method, mean, device):
    values = variances(name, 63)  # 63·τ is whole for no τ asked for: no ties for rounding to decide
    values = values / values.max()  # deviations of about 1: the mean is up to 1000 times as large
    x = prescribed(values, 300, mean).float()
    for rounding in ("fp32", "fp64"):
        found = streamspread.analyze(
            identity(), x, "0", TAUS, method=method, rounding=rounding, device=device, batch_size=64
        )
        check_exact(found["0"], dense(x))
        if mean == 0.0:  # beyond it the float32 input itself differs from what was prescribed
            sums = np.cumsum(values)
            assert ks(found["0"]) == [int(np.searchsorted(sums, tau * sums[-1])) + 1 for tau in TAUS]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rounding", ["fp16", "bf16"])
@pytest.mark.parametrize("method", ["covariance", "gram"])
@pytest.mark.parametrize("samples", [100, 1000])
def test_sixteen_bit_roundings_are_right_to_one_component(samples, method, rounding, device):
    model, x = network("cnn", samples)
    want = known("cnn", samples)
    spectra = streamspread.analyze(
        model, x, ["0", "1", "4", "5"], TAUS, method=method, rounding=rounding, device=device
    )
    for name, spectrum in spectra.items():
        check_near(spectrum, want[name], widest=0 if device.type == "cpu" else 1)  # tensor cores cut sums off
        assert spectrum.rounding == rounding


def test_channels_last_gives_the_same():
    model, x = network("cnn", 300)
    want = known("cnn", 300)
    model = model.to(memory_format=torch.channels_last)
    for form in (x, x.contiguous(memory_format=torch.channels_last)):
        for name, spectrum in streamspread.analyze(model, form, ["0", "1", "5"], TAUS).items():
            check_exact(spectrum, want[name])


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 150), min_size=1, max_size=12),
    method=st.sampled_from(["covariance", "gram"]),
    kind=st.sampled_from(["mlp", "cnn"]),
)
def test_any_split_into_batches_gives_the_same(sizes, method, kind):
    model, x = network(kind, 220)
    bounds = np.minimum(np.cumsum([0, *sizes, 220]), 220)
    batches = [x[a:b] for a, b in pairwise(bounds)]
    spectra = streamspread.analyze(model, lambda: iter(batches), "*", TAUS, method=method)
    for name, want in known(kind, 220).items():
        check_exact(spectra[name], want)


def test_the_same_run_gives_the_same_bits():
    model, x = network("cnn", 400)

    def run():
        return streamspread.analyze(model, x, "*", TAUS, seed=5)

    first, second = run(), run()
    for name, spectrum in first.items():
        assert np.array_equal(spectrum.eigenvalues, second[name].eigenvalues)
        assert spectrum.total_variance == second[name].total_variance


def test_dropout_and_batch_norm_are_those_of_evaluation():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 20), nn.Dropout(0.5), nn.BatchNorm1d(20)).train()
    x = network("mlp", 200)[1]
    spectra = streamspread.analyze(model, x, "*", TAUS)
    for name, want in truth(model.eval(), x).items():
        check_exact(spectra[name], want)
