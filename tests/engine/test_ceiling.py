"""No K exceeds the dimension of what a layer is an affine image of, from the first look to the file."""

import io

import pytest
import torch
from rich.console import Console

import streamspread
from streamspread import store
from streamspread.observe.observed import observing
from streamspread.options import RunOptions
from streamspread.reports.spectra_table import print_spectra
from tests.devices import DEVICES
from tests.networks import known, ks, network
from tests.samples import TAUS


@pytest.mark.parametrize("device", DEVICES)
def test_what_a_layer_is_an_image_of_is_found_summed_kept_and_shown(device, tmp_path):
    model, x = network("mlp", 200)
    found = streamspread.analyze(model, x, ["0", "1", "2"], TAUS, device=device)
    assert [spectrum.source_dim for spectrum in found.values()] == [30, None, None]
    assert [spectrum.ceiling for spectrum in found.values()] == [30, 90, 40]
    for name, spectrum in found.items():
        assert ks(spectrum) == known("mlp", 200)[name].ks()
        assert max(ks(spectrum)) <= spectrum.ceiling
    store.write(found, tmp_path / "x.arrow")
    again = store.read(tmp_path / "x.arrow")
    assert [spectrum.source_dim for spectrum in again.values()] == [30, None, None]
    console = Console(file=io.StringIO())
    print_spectra(again, console)
    head, _, first, *_ = console.file.getvalue().splitlines()[2:]
    at = head.index("K at most")
    assert first[at : at + len("K at most")].strip() == "30"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_look_finds_the_sources_on_every_device(device, dtype, layout):
    model, x = network("strided", 20)
    model, x = model.to(dtype=dtype, memory_format=layout), x.to(dtype)
    options = RunOptions(layers=["*"], device=device)
    with observing(model, x, options) as observed:
        assert {name: source.name for name, source in observed.sources.items()} == {"0": "input"}
        source = observed.sources["0"]
        x_NS = torch.randn(4, source.dim, device=observed.device)
        torch.testing.assert_close(
            source.in_dtype(torch.float64).linear(x_NS), source.linear(x_NS).double(), rtol=0.1, atol=0.1
        )


def test_an_interval_that_is_open_ends_at_the_ceiling():
    model, x = network("strided", 600)
    options = {"method": "sketch", "rank": 4, "max_passes": 1, "device": "cpu"}
    (spectrum,) = streamspread.analyze(model, x, "0", (0.7,), **options).values()
    assert spectrum.components(0.7).high == spectrum.source_dim == 432 < 599


@pytest.mark.parametrize("method", ["sketch", "covariance"])
@pytest.mark.parametrize(("dtype", "mean"), [(torch.bfloat16, 100.0), (torch.float32, 3.3e6)])
def test_directions_that_a_layers_own_roundings_made_count(dtype, mean, method):
    """Its mean is far larger than what it deviates by."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(10, 400)).to(dtype)
    with torch.no_grad():
        model[0].bias.uniform_(mean, 2 * mean)
    x = (0.15 * torch.randn(1500, 10)).to(dtype)
    with torch.inference_mode():
        y = torch.cat([model(part) for part in x.split(100)]).double()
    variances = torch.linalg.svdvals(y - y.mean(0)).square()
    k = 1 + int(torch.searchsorted(variances.cumsum(0) / variances.sum(), 0.5))
    assert k > 10
    options = {"method": method, "device": "cpu", "rounding": "fp32", "batch_size": 100}
    if method == "sketch":
        options |= {"rank": 12, "max_passes": 1}
    (spectrum,) = streamspread.analyze(model, x, "0", (0.5,), **options).values()
    low, high = spectrum.components(0.5)
    assert low <= k <= high


def test_the_look_draws_nothing_and_leaves_no_hook():
    model, x = network("cnn", 60)
    before = torch.get_rng_state()
    streamspread.plan(model, x, ["0"])
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
