"""The reference networks: names, shapes, and taps that see exactly the part they are named after."""

import pytest
import torch
from torch.nn import functional

from streamspread.errors import OptionError
from streamspread.models import PLANS, ConvLayer, Network
from streamspread.models.network import build

# The study's table: D of c1 ... c6 and gap.
DIMS = {
    "no1": [65536, 65536, 32768, 32768, 16384, 16384, 256],
    "no2": [32768, 32768, 16384, 16384, 8192, 8192, 128],
    "no3": [65536, 65536, 32768, 32768, 32768, 32768, 128],
    "no4": [65536, 65536, 32768, 16384, 16384, 16384, 256],
}


def taps(network, names, images):
    seen = {}
    modules = dict(network.named_modules())
    handles = [
        modules[name].register_forward_hook(
            lambda _m, _i, out, name=name: seen.__setitem__(name, out.detach())
        )
        for name in names
    ]
    with torch.no_grad():
        seen["output"] = network(images)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("name", list(DIMS))
def test_default_layers_have_the_dimensions_of_the_study(name):
    network = Network(PLANS[name]).eval()
    assert network.default_layers == ("c1", "c2", "c3", "c4", "c5", "c6", "gap")
    seen = taps(network, network.default_layers, torch.zeros(2, 3, 32, 32))
    assert [seen[layer][0].numel() for layer in network.default_layers] == DIMS[name]
    assert seen["gap"].shape == (2, DIMS[name][-1])
    assert seen["output"].shape == (2, 10)


def test_every_part_is_a_named_module_and_nothing_else_is():
    names = [name for name, _ in Network("4,M,6").named_modules() if name]
    assert names == ["c1", "c1.bn", "c1.relu", "c2", "c2.bn", "c2.relu", "gap", "classifier"]
    keys = {key for key in Network("4").state_dict() if not key.startswith("c1.bn")}
    assert keys == {"c1.weight", "classifier.weight", "classifier.bias"}


def test_taps_see_convolution_batch_norm_and_relu_apart():
    torch.manual_seed(1)
    network = Network("5,M,7").eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.normal_()
    images = torch.randn(3, 3, 32, 32)
    seen = taps(network, ["c1", "c1.bn", "c1.relu", "c2", "c2.bn", "c2.relu", "gap"], images)
    x = images
    for layer, pool in (("c1", True), ("c2", False)):
        conv = getattr(network, layer)
        assert isinstance(conv, ConvLayer)
        x = functional.conv2d(x, conv.weight, padding=1)
        torch.testing.assert_close(seen[layer], x)
        bn = conv.bn
        scale = (bn.weight / (bn.running_var + bn.eps).sqrt())[:, None, None]
        x = (x - bn.running_mean[:, None, None]) * scale + bn.bias[:, None, None]
        torch.testing.assert_close(seen[f"{layer}.bn"], x, rtol=1e-4, atol=1e-5)
        assert (seen[f"{layer}.bn"] < 0).any()  # an in-place ReLU would have wiped these out
        x = x.clamp(min=0)
        torch.testing.assert_close(seen[f"{layer}.relu"], x, rtol=1e-4, atol=1e-5)
        if pool:
            x = x.unflatten(3, (16, 2)).unflatten(2, (16, 2)).amax(dim=(3, 5))
    torch.testing.assert_close(seen["gap"], x.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen["output"], network.classifier(seen["gap"]), rtol=1e-4, atol=1e-5)


def test_build_depends_on_the_seed_alone_and_leaves_the_generator():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = build("4,8", seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    same, other = build("4,8", seed=1), build("4,8", seed=2)
    assert torch.equal(one.c2.weight, same.c2.weight)
    assert not torch.equal(one.c2.weight, other.c2.weight)
    assert one.c2.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5])
def test_a_seed_outside_its_range_is_refused(seed):
    with pytest.raises(OptionError, match="seeds are whole numbers from 0"):
        build("4", seed=seed)
