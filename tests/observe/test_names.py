"""Names of modules are the same whatever a network is wrapped in, and a module stands for its name."""

import numpy as np
import pytest
import torch
from torch import nn

import streamspread
from streamspread.errors import LayerError, OptionError
from streamspread.observe.network import check_not_copied, layer_patterns, named, unwrapped
from tests.networks import activations, small_cnn

IMAGES = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def compiled(module):
    return torch.compile(module, backend="eager")


def parts_compiled(model):
    """Every second part is compiled by itself, the model anew around all of them."""
    return nn.Sequential(*(compiled(part) if i % 2 == 0 else part for i, part in enumerate(model)))


def in_place(model):
    model.compile(backend="eager")
    return model


WRAPPED = {
    "compile": compiled,
    "module.compile": in_place,
    "compiled parts": parts_compiled,
    "DataParallel": nn.DataParallel,
    "compiled DataParallel": lambda model: compiled(nn.DataParallel(model)),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
def test_a_wrapped_network_has_the_names_and_the_numbers_of_the_network(wrap, used):
    torch._dynamo.reset()
    model = small_cnn().eval()
    wanted = streamspread.analyze(model, IMAGES, ["*"])
    wrapper = wrap(model)
    if used:  # by then it is compiled, without the hooks that are to come
        with torch.no_grad():
            wrapper(IMAGES)
    found = streamspread.analyze(wrapper, IMAGES, ["*"])
    assert list(found) == list(wanted) == ["0", "1", "2", "3", "4"]
    for name, spectrum in wanted.items():
        assert found[name].eigenvalues.tolist() == spectrum.eigenvalues.tolist()
    with torch.no_grad():
        torch.testing.assert_close(wrapper(IMAGES), model(IMAGES))


def test_a_hook_on_the_wrapper_is_not_passed_by():
    model = small_cnn()
    wrapper = compiled(model)
    assert unwrapped(wrapper) is model
    wrapper.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    assert unwrapped(wrapper) is wrapper
    assert [name for name, _ in named(wrapper)] == ["0", "1", "2", "3", "4"]
    twice = streamspread.analyze(wrapper, IMAGES, "0")["0"].total_variance
    once = streamspread.analyze(model, IMAGES, "0")["0"].total_variance
    assert twice == pytest.approx(4 * once, rel=1e-5)


def test_a_module_is_a_layer_beside_names():
    model = small_cnn()
    for layers in ([model[0], "4"], (model[0], model[4])):
        spectra = streamspread.analyze(model, IMAGES, layers)
        assert list(spectra) == ["0", "4"]
        assert spectra.provenance["options"]["layers"] == ["0", "4"]
    assert list(streamspread.analyze(model, IMAGES, model[4])) == ["4"]
    assert [one.layer for one in streamspread.plan(compiled(model), IMAGES, [model[0]]).layers] == ["0"]
    parts = parts_compiled(model)
    assert layer_patterns(parts, [parts[0], model[2]]) == ["0", "2"]


def test_a_name_with_signs_of_a_glob_stands_for_itself():
    model = nn.Sequential(nn.ModuleDict({"a*": nn.Linear(3, 2), "ab": nn.Linear(3, 2)}))
    model.forward = lambda x: model[0]["a*"](x) + model[0]["ab"](x)
    assert list(streamspread.analyze(model, torch.randn(5, 3), [model[0]["a*"]])) == ["0.a*"]


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm", "orthogonal"])
def test_what_makes_the_weights_of_another_module_is_no_layer(norm):
    torch.manual_seed(0)
    make = getattr(nn.utils.parametrizations, norm)
    model = nn.Sequential(make(nn.Conv2d(3, 5, 3)), nn.ReLU(), nn.Flatten(), make(nn.Linear(180, 4))).eval()
    assert [name for name, _ in named(model)] == ["0", "1", "2", "3"]
    assert [tap.name for tap in streamspread.layers(model, IMAGES)] == ["0", "1", "2", "3"]
    found = streamspread.analyze(model, IMAGES, "*", thresholds=(0.5, 0.9))
    for name, x_ND in activations(model, IMAGES, list("0123")).items():
        values = np.linalg.eigvalsh(np.cov(x_ND.flatten(1).double().numpy().T))[::-1]
        for tau in (0.5, 0.9):
            k = int(np.searchsorted(np.cumsum(values), tau * values.sum())) + 1
            assert found[name].components(tau) == k


def test_a_module_of_another_network_is_refused():
    model = small_cnn()
    with pytest.raises(
        LayerError, match="the layer given as a Conv2d is no module of this network: give one"
    ):
        streamspread.analyze(model, IMAGES, [small_cnn()[0]])
    with pytest.raises(LayerError, match="the layer given as a Sequential is the network itself"):
        streamspread.analyze(compiled(model), IMAGES, [model])


def test_copies_on_several_devices_are_refused_and_one_is_not():
    model = nn.DataParallel(nn.Sequential(nn.Linear(2, 2)))
    check_not_copied(model)
    model.device_ids = [0, 1]
    for look in (check_not_copied, lambda model: streamspread.Monitor(model, out=None)):
        with pytest.raises(OptionError, match="DataParallel runs copies of the network"):
            look(model)
    with pytest.raises(OptionError, match="DataParallel runs copies of the network"):
        streamspread.SpreadLoss(model, "0")
