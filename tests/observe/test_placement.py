"""A model where it is to run: what its caller switched on does not reach it, and is on again afterwards."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import streamspread
from streamspread.api.analyze import analyze_with
from streamspread.api.calls import Subject
from streamspread.errors import ModelError
from streamspread.observe.placement import prepared
from streamspread.options import Options
from streamspread.system.devices import profile
from tests.devices import DEVICES
from tests.networks import images

TAUS = (0.5, 0.9)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 20))


def found(model, device, method, **constants):
    options = Options("*", TAUS, rounding="fp32", device=device, method=method)
    constants = replace(profile(device), **constants)
    return analyze_with(Subject(model, images(300)), options, constants=constants)


def check_same(spectra, expected):
    for name, want in expected.items():
        got = spectra[name]
        assert [got.components(tau) for tau in TAUS] == [want.components(tau) for tau in TAUS]
        scale = want.total_variance
        assert got.total_variance == pytest.approx(scale, rel=1e-9)
        np.testing.assert_allclose(got.eigenvalues, want.eigenvalues, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
@pytest.mark.parametrize("eigenvalues", ["all", "leading"])
def test_autocast_around_an_analysis_changes_nothing(eigenvalues, method, dtype, device):
    constants = {"dense_limit": 10} if eigenvalues == "leading" else {}
    model = network()
    expected = found(model, device, method, **constants)
    with torch.autocast("cpu", dtype), torch.autocast(device.type, dtype):
        check_same(found(model, device, method, **constants), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_autocast_is_on_again_afterwards_also_after_an_error(device):
    model, x = network(), images(4)

    def fail():
        with prepared(model, device):
            assert model(x.to(device)).dtype == torch.float32
            raise KeyError("inside")

    with torch.autocast("cpu", torch.bfloat16), torch.autocast(device.type, torch.bfloat16):
        with pytest.raises(KeyError, match="inside"):
            fail()
        assert model(x).dtype == torch.bfloat16
        assert model.to(device)(x.to(device)).dtype == torch.bfloat16


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
def test_the_grad_mode_around_an_analysis_changes_nothing(method, mode, device):
    model = network()
    expected = found(model, device, method)
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        check_same(found(model, device, method), expected)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    model(images(4)).sum().backward()  # the model can still be trained


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_products_are_exact_inside_whatever_precision_was_set_before(precision):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        with prepared(network(), torch.device("cpu")):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)


class Merging(nn.Linear):
    """As low-rank adapters do it: eval() changes the weights, and train() back, but for rounding."""

    def train(self, mode=True):
        if self.training != mode:
            self.weight.data += 0.1 if self.training else -0.1
        return super().train(mode)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen += len(x)
        return x


def test_no_train_or_eval_of_the_models_own_is_called_and_buffers_are_put_back():
    model = nn.Sequential(Merging(8, 8), Counting())
    before = model[0].weight.detach().clone()
    streamspread.analyze(model, torch.randn(20, 8), "0", device="cpu")
    assert torch.equal(model[0].weight, before)
    assert (model.training, model[0].training, float(model[1].seen)) == (True, True, 0.0)


@pytest.mark.parametrize("give", [lambda x: x, lambda x: iter(x.split(25)), lambda x: lambda: x.split(25)])
def test_a_model_that_works_in_place_on_its_input_leaves_the_data_as_it_was(give):
    class InPlace(nn.Module):
        def forward(self, x):
            return x.sub_(5).mul_(10)

    x = torch.randn(50, 6)
    kept = x.clone()
    found = streamspread.analyze(
        nn.Sequential(InPlace(), nn.Identity()), give(x), "1", method="covariance", device="cpu"
    )
    assert torch.equal(x, kept)
    assert found["1"].total_variance == pytest.approx(100 * float(x.var(0).sum()), rel=1e-5)


def test_weights_without_numbers_are_refused():
    with torch.device("meta"):
        model = nn.Linear(3, 3)
    with pytest.raises(ModelError, match="lie on the meta device, where they have no numbers"):
        streamspread.analyze(model, torch.randn(5, 3), device="cpu")


def test_weights_that_a_first_batch_would_make_are_refused():
    model = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(
        ModelError, match="weights whose shape is not known yet: run a batch through it first"
    ):
        streamspread.analyze(model, torch.randn(5, 3), device="cpu")
    assert model[0].has_uninitialized_params()


class Holding(nn.Module):
    """A module with a buffer, which its forward may treat in some way."""

    def __init__(self, buffer, use=None):
        super().__init__()
        self.register_buffer("kept", buffer)
        self.use = use

    def forward(self, x):
        if self.use is not None:
            self.use(self)
        return x


def rebind(module):
    module.kept = module.kept + 1


def resize(module):
    module.kept.resize_(9).zero_()


def inference(numbers):
    with torch.inference_mode():
        return torch.tensor(numbers)


BUFFERS = {
    "sparse": (lambda: torch.eye(3).to_sparse(), None),
    "sparse rows": (lambda: torch.eye(3).to_sparse_csr(), None),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), None),
    "expanded, NaN": (lambda: torch.full((1, 1), torch.nan).expand(3, 3), None),
    "from inference mode, NaN": (lambda: inference([torch.nan, 1.0]), None),
    "with gradient, NaN": (lambda: torch.tensor([torch.nan, 1.0], requires_grad=True), None),
    "integers, counted": (lambda: torch.tensor([1, 2]), lambda module: module.kept.add_(1)),
    "rebound": (lambda: torch.tensor([1.0, 2.0]), rebind),
    "resized": (lambda: torch.tensor([1.0, 2.0]), resize),
}


@pytest.mark.filterwarnings("ignore:.*(prototype|beta|Sparse|requires_grad|invariant)")
@pytest.mark.parametrize("kind", BUFFERS)
def test_buffers_of_every_kind_are_the_very_same_afterwards(kind):
    make, use = BUFFERS[kind]
    model = nn.Sequential(Holding(make(), use), nn.Linear(4, 4))
    buffer = model[0].kept
    streamspread.analyze(model, torch.randn(30, 4), "1", device="cpu")
    assert model[0].kept is buffer
    if use is not None:
        assert torch.equal(buffer, make())
