"""A layer that is summed at its narrow side has the spectrum of the layer, and says where it was summed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from streamspread import store
from streamspread.api.analyze import analyze_with, plan_with
from streamspread.api.doors import Subject
from streamspread.options import Options
from streamspread.system.devices import profile
from tests.devices import DEVICES

TAUS = (0.5, 0.7, 0.9, 0.99)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 36, 8)
    )


def images(count=240, offset=0.0):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 6, 6, generator=generator) * torch.linspace(0.1, 3, 36).view(6, 6) + offset


def analyzed(data, device, narrow=True, model=None, layers=("0", "1"), **options):
    constants = {} if narrow else {"narrow_limit": 0}
    subject = Subject(model or network(), data)
    given = Options(layers=list(layers), thresholds=TAUS, device=device, **options)
    return analyze_with(subject, given, constants=replace(profile(torch.device(device)), **constants))


def dense(model, x, layer):
    """Variances along the principal axes of a layer's features, in float64."""
    y_ND = x.double()
    with torch.no_grad():
        for part in model.double().eval()[: layer + 1]:
            y_ND = part(y_ND)
    y_ND = y_ND.flatten(1).numpy()
    return np.linalg.svd(y_ND - y_ND.mean(0), compute_uv=False) ** 2 / (len(x) - 1)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("batch_size", [17, 240])
@pytest.mark.parametrize("method", ["auto", "covariance", "gram"])
def test_it_is_the_spectrum_of_the_layers_own_features(method, batch_size, offset, device):
    x = images(offset=offset)
    found = analyzed(x, device, method=method, rounding="fp32", batch_size=batch_size)
    for index, layer in enumerate(found.values()):
        values = dense(network(), x, index)
        share = np.cumsum(values) / values.sum()
        assert (layer.dim, layer.summed_dim, layer.source_dim) == (864, 108, 108)
        assert [layer.components(tau) for tau in TAUS] == [
            (k, k) for k in (int(np.searchsorted(share, tau)) + 1 for tau in TAUS)
        ]
        assert layer.total_variance == pytest.approx(values.sum(), rel=1e-6)
        assert layer.sum_of_squares == pytest.approx(np.square(values).sum(), rel=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_all_else_is_as_at_the_wide_side(method, device):
    data = TensorDataset(images(), torch.arange(240) % 5)
    options = {"method": method, "classes": True, "rounding": "fp64"}
    narrow, wide = (analyzed(data, device, side, **options)["1"] for side in (True, False))
    assert (narrow.summed_dim, wide.summed_dim) == (108, None)
    assert narrow.fourth_moment == pytest.approx(wide.fourth_moment, rel=1e-5)
    assert narrow.participation_ratio_unbiased == pytest.approx(wide.participation_ratio_unbiased, rel=1e-5)
    assert narrow.classes.between_share == pytest.approx(wide.classes.between_share, rel=1e-5)
    assert narrow.classes.nc1 == pytest.approx(wide.classes.nc1, rel=1e-4)
    assert narrow.classes.within.components(0.7) == wide.classes.within.components(0.7)
    if method == "gram":
        assert narrow.estimate(0.7).value == pytest.approx(wide.estimate(0.7).value, rel=1e-3)
        assert narrow.classes.each == wide.classes.each


def test_a_result_says_where_it_was_summed(tmp_path):
    found = analyzed(images(), "cpu", layers=("0", "2"))
    store.write(found, tmp_path / "a.arrow")
    again = store.read(tmp_path / "a.arrow")
    assert [layer.summed_dim for layer in again.values()] == [108, None]


def test_a_plan_says_why_and_counts_the_factor():
    def planned(limit):
        constants = replace(profile(torch.device("cpu")), narrow_limit=limit)
        options = Options(layers=["0"], device="cpu", method="covariance")
        return plan_with(Subject(network(), images()), options, constants).layers[0]

    narrow, wide = planned(8192), planned(107)
    assert (narrow.summed_dim, wide.summed_dim) == (108, None)
    assert narrow.why.endswith("; of 108 numbers that have the inner products of its 864")
    assert any(text.startswith("covariance: ") for text in narrow.rejected)
    assert narrow.state_bytes >= 3 * 8 * 108**2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_sixteen_bits_is_summed_as_it_is(dtype):
    """Its own roundings are a part of what varies."""
    found = analyzed(images(40).to(dtype), "cpu", model=network().to(dtype), layers=("0",))
    assert found["0"].summed_dim is None


def test_a_side_that_is_hardly_narrower_is_not_worth_it():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(100, 101))
    assert analyzed(torch.randn(300, 100), "cpu", model=model, layers=("0",))["0"].summed_dim is None
