"""A layer that is summed at its narrow side has the spectrum of the layer, and says where it was summed."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from streamspread import store
from streamspread.api.analyze import analyze_with, plan_with
from streamspread.api.calls import Subject
from streamspread.engine.layer import RunningLayer
from streamspread.engine.planning import planned as planned_layers
from streamspread.errors import OptionError
from streamspread.observe.observed import observing
from streamspread.options import Options, RunOptions
from streamspread.system.devices import profile
from tests.devices import DEVICES
from tests.observe.test_sources import normed

TAUS = (0.5, 0.7, 0.9, 0.99)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 36, 8)
    )


def images(count=240, offset=0.0):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 6, 6, generator=generator) * torch.linspace(0.1, 3, 36).view(6, 6) + offset


def analyzed(data, device, narrow=True, model=None, layers=("0", "1"), worth=None, **options):
    constants = {"narrow_sides": narrow} | (worth or {})
    subject = Subject(model or network(), data)
    given = Options(layers=list(layers), thresholds=TAUS, device=device, **options)
    return analyze_with(subject, given, constants=replace(profile(torch.device(device)), **constants))


def dense(model, x, layer):
    """Variances along the principal axes of a layer's features, in float64."""
    y_ND = x.double()
    with torch.no_grad():
        for part in copy.deepcopy(model).double().eval()[: layer + 1]:
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


@pytest.mark.parametrize("offset", [1e4, 1e5])
def test_where_a_layers_own_roundings_count_it_is_summed_as_it_is(offset):
    """Means are so far from 0 that float32 rounds deviations by up to a hundredth of themselves."""
    x = images(offset=offset)
    layer = analyzed(x, "cpu", layers=("0",), rounding="fp32", batch_size=240)["0"]
    with torch.no_grad():
        y_ND = network()[0](x).double().flatten(1).numpy()
    values = np.linalg.svd(y_ND - y_ND.mean(0), compute_uv=False) ** 2 / (len(x) - 1)
    share = np.cumsum(values) / values.sum()
    assert layer.summed_dim is None
    assert layer.total_variance == pytest.approx(values.sum(), rel=1e-6)
    assert [int(layer.components(tau)) for tau in TAUS] == [int(np.searchsorted(share, t)) + 1 for t in TAUS]


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


def zeroed(layer):
    """Some of what it takes is multiplied by 0."""
    with torch.no_grad():
        layer.weight[:, 1] = 0.0
    return layer


def of_one_direction(layer):
    with torch.no_grad():
        layer.weight[:, 1:] = layer.weight[:, :1]
    return layer


#: Modules that a layer is made by, and an input's shape.
CHAINS = {
    "strides and padding": (lambda: [nn.Conv2d(2, 24, 3, stride=2, padding=2)], (2, 9, 10)),
    "dilation and groups": (lambda: [nn.Conv2d(4, 16, 3, dilation=2, groups=2, padding=2)], (4, 7, 6)),
    "1x1": (lambda: [nn.Conv2d(6, 20, 1)], (6, 5, 4)),
    "transposed": (lambda: [nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1)], (6, 5, 4)),
    "a norm after it": (lambda: [nn.Conv2d(2, 24, 3, padding=1), normed(24)], (2, 6, 6)),
    "a chain": (
        lambda: [nn.Conv2d(1, 9, 2, stride=2), normed(9), nn.Conv2d(9, 30, 3, padding=1)],
        (1, 12, 12),
    ),
    "a channel times 0": (lambda: [zeroed(nn.Conv2d(3, 24, 3, padding=1))], (3, 6, 6)),
    "lost directions": (lambda: [of_one_direction(nn.Conv2d(3, 24, 3, padding=1))], (3, 6, 6)),
    "linear": (lambda: [nn.Linear(30, 70), nn.Linear(70, 90)], (30,)),
}


@pytest.mark.parametrize("rounding", ["fp32", "fp64"])
@pytest.mark.parametrize("name", CHAINS)
def test_chains_of_modules(name, rounding):
    make, shape = CHAINS[name]
    torch.manual_seed(0)
    model = nn.Sequential(*make()).eval()
    x, last = torch.randn(150, *shape) @ torch.diag(torch.linspace(0.3, 3, shape[-1])) + 1.0, len(model) - 1
    options = {"layers": (str(last),), "rounding": rounding, "method": "covariance"}
    (found,) = analyzed(x, "cpu", model=model, worth={"float64_cost": 0.0}, **options).values()
    values = dense(model, x, last)
    assert found.summed_dim == math.prod(shape)
    share = np.cumsum(values) / values.sum()
    assert [found.components(tau) for tau in TAUS] == [
        (k, k) for k in (int(np.searchsorted(share, tau)) + 1 for tau in TAUS)
    ]
    known = min(len(found.eigenvalues), len(values))
    error = 1e-5 if rounding == "fp32" else 1e-10
    np.testing.assert_allclose(found.eigenvalues[:known], values[:known], rtol=0, atol=error * values[0])


#: Costs at which the narrow side is taken, with rows made in float64, and in float32.
WORTH = {False: {"float64_cost": 0.0}, True: {"float64_cost": 1e-9, "float32_cost": 0.0}}


@pytest.mark.parametrize("quick", [False, True])
def test_a_side_of_many_numbers(quick):
    """Its factor is a band: 12,288² numbers would take 1.2 GB."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1)).eval()
    x, options = (
        torch.randn(40, 3, 64, 64) * torch.linspace(0.1, 3, 64),
        {"method": "gram", "rounding": "fp32"},
    )
    (found,) = analyzed(x, "cpu", model=model, layers=("0",), worth=WORTH[quick], **options).values()
    values = dense(model, x, 0)
    assert found.summed_dim == 12_288
    np.testing.assert_allclose(found.eigenvalues, values[: len(found.eigenvalues)], rtol=1e-5)

    constants = replace(profile(torch.device("cpu")), **WORTH[quick])
    given = Options(layers=["0"], device="cpu", **options)
    (planned,) = plan_with(Subject(model, x), given, constants).layers
    assert planned.bytes < 0.5e9
    assert planned.candidate.quick_rows == quick
    (exact,) = plan_with(Subject(model, x), replace(given, rounding="fp64"), constants).layers
    assert not exact.candidate.quick_rows


def test_a_result_says_where_it_was_summed(tmp_path):
    found = analyzed(images(), "cpu", layers=("0", "2"))
    store.write(found, tmp_path / "a.arrow")
    again = store.read(tmp_path / "a.arrow")
    assert [layer.summed_dim for layer in again.values()] == [108, None]


def test_a_plan_says_why_and_counts_the_factor():
    def planned(sides):
        constants = replace(profile(torch.device("cpu")), narrow_sides=sides)
        options = Options(layers=["0"], device="cpu", method="covariance")
        return plan_with(Subject(network(), images()), options, constants).layers[0]

    narrow, wide = planned(True), planned(False)
    assert (narrow.summed_dim, wide.summed_dim) == (108, None)
    assert narrow.why.endswith("; of 108 numbers that have the inner products of its 864")
    assert any(text.startswith("covariance: ") for text in narrow.rejected)
    assert not any(" of 108: " in text for text in wide.rejected)
    assert narrow.state_bytes >= 8 * 108**2 / 2 + 8 * 108**2 / 2  # the factor and the scatter


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_sixteen_bits_is_summed_as_it_is(dtype):
    """Its own roundings are a part of what varies."""
    found = analyzed(images(40).to(dtype), "cpu", model=network().to(dtype), layers=("0",))
    assert found["0"].summed_dim is None


@pytest.mark.parametrize("rounding", ["auto", "fp32"])
def test_a_model_in_float64_keeps_digits_that_products_of_weights_lose(rounding):
    """Its inputs are some millions of times as large as what is left of them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 200, bias=False)).double()
    with torch.no_grad():
        model[0].weight -= model[0].weight.mean(1, keepdim=True)
    x = torch.randn(400, 64).double() * torch.logspace(0, -1, 64) + 1e7 * torch.randn(400, 1).double()
    (found,) = analyzed(x, "cpu", model=model, layers=("0",), rounding=rounding).values()
    values = dense(model, x, 0)
    share = np.cumsum(values) / values.sum()
    assert found.total_variance == pytest.approx(values.sum(), rel=1e-6)
    assert [found.components(tau) for tau in TAUS] == [
        (k, k) for k in (int(np.searchsorted(share, tau)) + 1 for tau in TAUS)
    ]


def test_a_side_that_is_hardly_narrower_is_not_worth_it():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(100, 101))
    assert analyzed(torch.randn(300, 100), "cpu", model=model, layers=("0",))["0"].summed_dim is None


def test_a_state_without_its_factor_is_refused():
    """Its rows would be those of another space, in silence."""
    device = torch.device("cpu")
    options = Options(layers=["0"], device="cpu", method="covariance")
    with observing(network(), images(), RunOptions(layers=["0"], device="cpu")) as observed:
        plan = planned_layers(observed, options).layers[0]
        layer = RunningLayer(plan, options, device, observed.sources["0"])
    layer.update(layer.prepared(images(20).flatten(1)))
    facts, tensors = layer.state()
    again = RunningLayer(plan, options, device)
    again.load_state(facts, tensors, None)
    assert torch.equal(again.prepared(images(5).flatten(1)), layer.prepared(images(5).flatten(1)))
    kept = {name: part for name, part in tensors.items() if not name.startswith("narrow.")}
    with pytest.raises(OptionError, match=r"holds no factor of the layer's narrow side\Z"):
        RunningLayer(plan, options, device).load_state(facts, kept, None)
