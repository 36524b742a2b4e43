"""Which layers have a narrower source, that it is one, and what looks like one and is none."""

from functools import partial

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from streamspread.models.inputs import accept_uint8
from streamspread.models.network import build
from streamspread.observe.taps import Watch, list_taps
from streamspread.observe.tracing import find_sources
from tests.networks import Attention


class Does(nn.Module):
    """Parts by name, and a forward that uses them."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.do = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x):
        return self.do(self, x)


class Absolute(nn.Conv2d):
    """Changes what its forward calls, and so has the forward of a convolution."""

    def _conv_forward(self, *args):
        return super()._conv_forward(*args).abs()


class Clamped(nn.Conv2d):
    """Affine as long as its input is small."""

    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x.clamp(-100, 100), weight, bias)


class Squared(nn.Linear):
    def forward(self, x):
        return super().forward(x) ** 2


class Named(nn.Conv2d):
    """A convolution in all but its name."""


def patched():
    layer = nn.Linear(4, 9)
    layer.forward = lambda x: functional.linear(x, layer.weight).relu()
    return nn.Sequential(layer)


def hooked(hook, model=None):
    model = model or nn.Sequential(nn.Linear(4, 9))
    model[0].register_forward_hook(hook)
    return model


def squared_in_place(module, inputs, y):
    y.square_()


def pre_hooked(hook):
    model = nn.Sequential(nn.Identity(), nn.Linear(4, 9))
    model[1].register_forward_pre_hook(hook)
    return model


def normed(features):
    """A batch norm that has seen data."""
    norm = nn.BatchNorm2d(features)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def old_weight_norm(layer):
    with pytest.warns(FutureWarning, match="weight_norm"):
        return nn.utils.weight_norm(layer)


def cast(self, x):
    with torch.autocast("cpu", torch.bfloat16):
        return self.b(self.a(x))


SMALL = (1, 3, 3)
#: Networks: how they are made, one input's shape, and every layer that has a source, with that.
HAVE = {
    "a batch norm": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), normed(4)),
        SMALL,
        "0:input 1:input",
    ),
    "a ReLU in place": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 8, 1)),
        SMALL,
        "0:input 2:1",
    ),
    "depthwise": (lambda: nn.Sequential(nn.Conv2d(2, 6, 3, padding=1, groups=2)), (2, 3, 3), "0:input"),
    "grouped and dilated": (
        lambda: nn.Sequential(nn.Conv2d(4, 8, 2, padding=2, groups=2, dilation=2)),
        (4, 3, 3),
        "0:input",
    ),
    "strided": (lambda: nn.Sequential(nn.Conv2d(2, 16, 3, stride=2)), (2, 5, 5), "0:input"),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(2, 3, 2, stride=2)), (2, 3, 3), "0:input"),
    "one axis, three axes": (
        lambda: nn.Sequential(nn.Conv1d(1, 3, 2), nn.Unflatten(2, (2, 2, 1)), nn.Conv3d(3, 8, 1)),
        (1, 5),
        "0:input 1:input 2:input",
    ),
    "flattened": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(18, 40)),
        SMALL,
        "0:input 3:1",
    ),
    "flattened by a function": (
        lambda: Does(
            lambda self, x: self.b(torch.flatten(self.a(x), 1)), a=nn.AvgPool2d(2, 1), b=nn.Linear(4, 9)
        ),
        SMALL,
        "b:a",
    ),
    "through the narrowest": (lambda: nn.Sequential(nn.Linear(8, 3), nn.Linear(3, 20)), (8,), "1:0"),
    "from the start": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(), nn.Identity(), nn.Linear(6, 9)),
        (4,),
        "0:input 1:input 2:input 3:input",
    ),
    "pads, pools and enlarges": (
        lambda: nn.Sequential(
            nn.ZeroPad2d(1),
            nn.ReflectionPad2d(1),
            nn.ConstantPad2d(1, 2.0),
            nn.AvgPool2d(3, 1),
            nn.Upsample(20),
        ),
        SMALL,
        "0:input 1:input 2:input 3:input 4:input",
    ),
    "enlarges between": (
        lambda: nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.AdaptiveAvgPool2d(4)),
        SMALL,
        "0:input 1:input",
    ),
    "called twice": (
        lambda: Does(lambda self, x: self.up(self.up(x)), up=nn.Upsample(scale_factor=2)),
        SMALL,
        "up:input up#2:input",
    ),
    "called twice with more between": (
        lambda: Does(lambda self, x: self.up(self.up(x).relu()), up=nn.Upsample(scale_factor=2)),
        SMALL,
        "up:input up#2:into up",
    ),
    "a residual": (
        lambda: Does(
            lambda self, x: self.b(x + self.a(x)), a=nn.Conv2d(1, 1, 3, padding=1), b=nn.Conv2d(1, 3, 1)
        ),
        SMALL,
        "b:into b",
    ),
    "a block": (
        lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 9), nn.Linear(9, 7)), nn.Linear(7, 8)),
        (4,),
        "0.0:input 0.1:input 0:input 1:input",
    ),
    "a view of what a block gives": (
        lambda: nn.Sequential(Does(lambda self, x: self.a(x).flatten(1), a=nn.Conv2d(1, 2, 1))),
        SMALL,
        "0.a:input 0:input",
    ),
    "a subclass": (lambda: nn.Sequential(Named(1, 3, 1)), SMALL, "0:input"),
    "weight norm": (lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 9))), (4,), "0:input"),
    "spectral norm": (
        lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 9))),
        (4,),
        "0:input",
    ),
    "an older weight norm": (lambda: nn.Sequential(old_weight_norm(nn.Linear(4, 9))), (4,), "0:input"),
    "an older spectral norm": (
        lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 9))),
        (4,),
        "0:input",
    ),
    "a hook before it": (lambda: pre_hooked(lambda m, inputs: (inputs[0] ** 2,)), (4,), "1:into 1"),
    "what another layer takes is changed": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 9)),
        (4,),
        "0:input 1:input 3:2",
    ),
    "tokens": (lambda: nn.Sequential(nn.Tanh(), nn.Linear(3, 5)), (2, 3), "1:0"),
}

#: Networks no layer of which has a source, though it looks so.
HAVE_NOT = {
    "a forward of its own": (lambda: nn.Sequential(Squared(4, 9)), (4,)),
    "a convolution of its own": (lambda: nn.Sequential(Clamped(2, 9, 3, padding=1)), (2, 5, 5)),
    "a forward that was put there": (patched, (4,)),
    "a step of its own": (lambda: nn.Sequential(Absolute(1, 4, 1)), SMALL),
    "a hook that squares": (lambda: hooked(lambda m, i, y: y**2), (4,)),
    "a hook that squares in place": (lambda: hooked(squared_in_place), (4,)),
    "a hook that does nothing yet": (lambda: hooked(lambda m, i, y: y if y.max() > 1e9 else None), (4,)),
    "not narrower": (lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)), (4,)),
    "a function in place between": (
        lambda: Does(lambda self, x: self.b(self.a(x).relu_()), a=nn.Linear(4, 4), b=nn.Linear(4, 4)),
        (4,),
    ),
    "a change that is not counted": (
        lambda: nn.Sequential(Does(lambda self, x: _unseen(self.a(x)), a=nn.Linear(4, 4)), nn.Flatten()),
        (4,),
    ),
    "statistics of the batch": (
        lambda: Does(
            lambda self, x: self.b(self.a(x)),
            a=nn.BatchNorm2d(1, track_running_stats=False),
            b=nn.InstanceNorm2d(1),
        ),
        SMALL,
    ),
    "samples that mix": (
        lambda: Does(lambda self, x: self.a(x), a=nn.ConvTranspose1d(2, 2, 2, stride=2)),
        (7,),
    ),
    "arguments beside it": (
        lambda: Does(lambda self, x: self.a(x, [7, 7]), a=nn.ConvTranspose2d(1, 2, 2, stride=2)),
        SMALL,
    ),
    "a name for its argument": (lambda: Does(lambda self, x: self.a(input=x), a=nn.Linear(4, 9)), (4,)),
}


def _unseen(y):
    y.data.abs_()
    return y


def looked_at(make, shape, samples=2, dtype=torch.float64):
    """The network, some inputs, and all sources."""
    torch.manual_seed(5)
    model = make().eval().to(dtype)
    for part in model.modules():  # an older weight norm's own weight is no parameter
        if isinstance(getattr(part, "weight", None), torch.Tensor) and "weight" in vars(part):
            part.weight = part.weight.to(dtype)
    x = torch.randn(samples, *shape, dtype=dtype)
    with torch.no_grad():
        taps = list_taps(model, x[:2].clone())
        wanted = [tap for tap in taps if tap.observable]
        return model, x, find_sources(model, x[:2].clone(), taps, wanted)


def watched(model, x, source):
    """(rows of the source, rows of the layer) in one forward."""
    seen = {}
    Watch(model, [source.tap, source.layer]).run(
        x.clone(), lambda tap, rows: seen.update({tap.entering: rows.clone()})
    )
    return seen[True], seen[False]


def check_operator(source):
    """Linear, with its adjoint, both of them the same matrix; in float64."""
    a_KS, b_KS = torch.randn(2, 3, source.dim, dtype=torch.float64)
    y_KD = torch.randn(3, source.layer.dim, dtype=torch.float64)
    images = source.linear(a_KS)
    assert source.dtype == images.dtype == torch.float64
    torch.testing.assert_close(source.linear(a_KS - 2 * b_KS), images - 2 * source.linear(b_KS))
    torch.testing.assert_close(source.apply(a_KS) - source.apply(0 * a_KS), images)
    torch.testing.assert_close((images * y_KD).sum(1), (a_KS * source.adjoint(y_KD)).sum(1))


@pytest.mark.parametrize("kind", HAVE)
def test_a_layer_is_the_image_of_its_source(kind):
    make, shape, expected = HAVE[kind]
    model, x, found = looked_at(make, shape, 120)
    named = dict(pair.split(":") for pair in expected.split(" ") if ":" in pair)
    assert list(found) == list(named)
    for name, source in found.items():
        assert source.name.startswith(named[name])
        x_NS, y_ND = watched(model, x, source)
        assert (source.layer.name, source.layer.dim, source.dim) == (name, y_ND.shape[1], x_NS.shape[1])
        torch.testing.assert_close(source.apply(x_NS), y_ND)
        assert source.agrees(x_NS, y_ND)
        assert not source.agrees(x_NS, y_ND.roll(1, 0))
        assert source.dim < min(source.layer.dim, len(x) - 1)
        assert torch.linalg.matrix_rank(y_ND.T.cov(), hermitian=True) <= source.dim
        check_operator(source)
        w_DS = source.linear(torch.eye(source.dim, dtype=torch.float64)).T
        torch.testing.assert_close(source.adjoint(torch.eye(source.layer.dim, dtype=torch.float64)), w_DS)
        torch.testing.assert_close(x_NS @ w_DS.T + source.apply(0 * x_NS[:1]), y_ND)


@pytest.mark.parametrize("kind", HAVE_NOT)
def test_what_looks_affine_and_is_not_has_no_source(kind):
    make, shape = HAVE_NOT[kind]
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        assert looked_at(make, shape, dtype=dtype)[2] == {}


def test_what_autocast_computes_in_other_numbers_has_no_source():
    make = partial(Does, cast, a=nn.Linear(4, 9), b=nn.Linear(9, 12))
    assert list(looked_at(make, (4,))[2]) == ["a", "b"]  # it lets float64 be
    assert looked_at(make, (4,), dtype=torch.float32)[2] == {}


def test_a_module_in_training_mode_has_no_source():
    model, x, found = looked_at(HAVE["from the start"][0], (4,))
    assert list(found) == ["0", "1", "2", "3"]
    model[1].training = True
    taps = list_taps(model, x)
    assert list(find_sources(model, x, taps, taps)) == ["0", "3"]


def test_a_source_in_float64_is_the_float32_one_and_leaves_it_alone():
    for make, shape, _ in HAVE.values():
        model, x, found = looked_at(make, shape, 6, torch.float32)
        assert found
        for source in found.values():
            x_NS, y_ND = watched(model, x, source)
            twice = source.in_dtype(torch.float64)
            assert source.apply(x_NS).dtype == torch.float32
            torch.testing.assert_close(twice.apply(x_NS.double()), y_ND.double(), rtol=1e-5, atol=1e-5)
            check_operator(twice)
        assert {p.dtype for p in model.parameters()} <= {torch.float32}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sources_are_found_whatever_the_dtype(dtype):
    for name in ("a batch norm", "a ReLU in place", "depthwise", "flattened", "pads, pools and enlarges"):
        make, shape, expected = HAVE[name]
        found = looked_at(make, shape, dtype=dtype)[2]
        assert list(found) == [pair.split(":")[0] for pair in expected.split()]


def test_the_reference_networks_layers_are_images_of_what_enters_them():
    model = build("64,64,M,128,128,M,256,256", 0).eval()
    accept_uint8(model, (0.5,) * 3, (0.2,) * 3)
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8).to(memory_format=torch.channels_last)
    taps = list_taps(model, images)
    found = find_sources(model, images, taps, [tap for tap in taps if tap.name in model.default_layers])
    assert {name: (s.name, s.dim, s.layer.dim) for name, s in found.items()} == {
        "c1": ("input", 3072, 65536),
        "c3": ("into c3", 16384, 32768),
        "c5": ("into c5", 8192, 16384),
    }
    for source in found.values():
        assert source.tap.channels_last
        assert source.layer.channels_last
        x_NS, y_ND = watched(model, images, source)
        torch.testing.assert_close(source.apply(x_NS), y_ND)
        check_operator(source.in_dtype(torch.float64))
    conv = 2 * 27 * 65536
    assert (found["c1"].tap.operations, found["c3"].tap.operations) == (0, conv + 2 * 64 * 9 * 65536)


KNOWN = {
    "resnet18": (lambda: torchvision.models.resnet18(), 32, {"conv1": 3072, "bn1": 3072, "fc": 512}),
    "vgg11": (
        lambda: torchvision.models.vgg11(),
        32,
        {
            "features.0": 3072,
            "features.3": 16384,
            "features.6": 8192,
            "features.11": 4096,
            "avgpool": 512,
            "classifier.0": 512,
        },
    ),
    "vit": (
        lambda: torchvision.models.VisionTransformer(
            image_size=16, patch_size=8, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=48, num_classes=30
        ),
        16,
        {
            "encoder.layers.encoder_layer_0.mlp.0": 60,
            "encoder.layers.encoder_layer_1.mlp.0": 60,
            "heads.head": 12,
            "heads": 12,
        },
    ),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_sources_in_known_networks(kind):
    make, size, expected = KNOWN[kind]
    model, x, found = looked_at(make, (3, size, size), dtype=torch.float32)
    assert {name: source.dim for name, source in found.items()} == expected
    for source in found.values():
        x_NS, y_ND = watched(model, x, source)
        torch.testing.assert_close(source.apply(x_NS), y_ND)


def test_sources_within_attention_are_what_enters_a_linear_layer():
    found = looked_at(Attention, (5, 6))[2]
    assert {name: (s.name, s.dim) for name, s in found.items()} == {
        "embed": ("input", 30),
        "block.linear1": ("block.norm1", 40),
    }


def test_only_what_is_asked_for_is_looked_at_and_the_forward_ends_there():
    calls = []
    model = nn.Sequential(*(nn.Linear(n, n + 1) for n in range(4, 9))).eval()
    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda m, i, name=name: calls.append(name))
    x = torch.randn(2, 4)
    taps = list_taps(model, x)
    calls.clear()
    assert list(find_sources(model, x, taps, taps[1:3])) == ["1", "2"]
    assert calls == ["", "0", "1", "2"]
    assert not any(module._forward_hooks for module in model.modules())


def test_no_forward_is_spent_where_nothing_is_affine():
    model, x = nn.Sequential(nn.ReLU()), torch.randn(2, 4)
    taps = list_taps(model, x)
    model.register_forward_pre_hook(lambda m, i: pytest.fail("it was called"))
    assert find_sources(model, x, taps, taps) == {}


def test_a_model_that_takes_no_two_samples_has_no_sources():
    model = nn.Sequential(nn.Linear(4, 9), nn.Unflatten(0, (2, 2)))
    taps = list_taps(model, torch.randn(4, 4))
    assert find_sources(model, torch.randn(3, 4), taps, taps[1:]) == {}


def test_a_source_calls_no_hooks():
    model, x, found = looked_at(HAVE["weight norm"][0], (4,))
    source, calls = found["0"], []
    for module in model.modules():
        module.register_forward_hook(lambda m, i, o: calls.append(m))
    source.apply(x)
    assert calls == []
    model(x)
    assert calls != []
