"""The random twin: every trained number drawn anew, or none at all; the network itself as it was."""

import copy

import pytest
import torch
from torch import nn

from streamspread.errors import ModelError
from streamspread.models import load
from streamspread.models.network import build, seeded
from streamspread.models.twin import random_twin, twin_of, twin_seed
from tests.networks import small_cnn


def trained(model):
    """The model with numbers in it that no initialisation would draw."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(5 + torch.rand_like(tensor))
    return model


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_all_numbers_are_fresh_and_follow_the_seed_and_the_network_is_as_it_was():
    model = trained(build("4,M,6", 0))
    before, drawn = state(model), torch.get_rng_state()
    one, same, other = (random_twin(model, seed).module for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), drawn)
    for name, tensor in before.items():
        assert torch.equal(model.state_dict()[name], tensor)
        if tensor.is_floating_point():
            assert not (one.state_dict()[name] >= 5).any(), name
        assert torch.equal(one.state_dict()[name], same.state_dict()[name])
    assert not torch.equal(one.c1.weight, other.c1.weight)
    assert one.c1.bn.running_var.eq(1).all()
    usual = build("4,M,6", 1).c1.weight.std().item()
    assert one.c1.weight.std().item() == pytest.approx(usual, rel=0.2)


def test_hooks_modes_and_dtype_are_those_of_the_network():
    model = load("plan:4,8", "none").module.double()
    model.c2.train()
    twin = random_twin(model, 1).module
    assert len(twin._forward_pre_hooks) == 1
    assert [module.training for module in twin.modules()] == [module.training for module in model.modules()]
    assert {p.dtype for p in twin.parameters()} == {torch.float64}


class Tokens(nn.Module):
    """A parameter that no method sets."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.token = nn.Parameter(torch.randn(4))

    def forward(self, x):
        return self.linear(x + self.token)


class Failing(nn.Linear):
    def reset_parameters(self, **wanted):
        if hasattr(self, "ready"):
            raise RuntimeError("not again\nand more")
        self.ready = True
        super().reset_parameters()


class Uncopied(nn.Linear):
    def __deepcopy__(self, memo):
        raise TypeError("no copies")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Tokens, r"no random twin: no reset_parameters sets token; "),
        (lambda: Failing(3, 3), r"Failing\.reset_parameters\(\) fails \(RuntimeError: not again\)$"),
        (lambda: Uncopied(3, 3), r"no copy \(TypeError: no copies\)$"),
        (lambda: nn.ParameterList(torch.ones(1) for _ in range(7)), r"sets 0, 1, 2, 3, 4 and 2 more;"),
        (
            lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)),
            r"parametrizations\.weight\.original0, parametrizations\.weight\.original1;",
        ),
    ],
)
def test_a_network_whose_weights_would_stay_is_refused(model, message):
    with pytest.raises(ModelError, match=message):
        random_twin(model(), 1)


def test_stored_buffers_are_kept_and_named():
    model = small_cnn()
    model.register_buffer("scale", torch.full((2,), 3.0))
    model.register_buffer("table", torch.full((2,), 3.0), persistent=False)
    twin = random_twin(model, 1)
    assert twin.notes == ("the random twin has the same scale as the network, which are buffers",)
    assert twin.module.scale.eq(3).all()


def test_a_model_of_transformers_is_built_anew_from_its_configuration():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        image_size=8,
        patch_size=4,
    )
    backbone = trained(transformers.ViTModel(config))
    model = nn.Sequential(backbone)  # also within another
    twin = random_twin(model, 4).module
    assert all(not (p >= 5).any() for p in twin.parameters())
    with seeded(4):
        fresh = transformers.ViTModel(copy.deepcopy(config))
    assert torch.equal(twin[0].embeddings.cls_token, fresh.embeddings.cls_token)


@pytest.mark.parametrize("spec", ["no2", "torchvision:squeezenet1_1", "plan:4,8"])
def test_the_twin_of_a_named_network_is_built_as_weights_none_would(spec):
    loaded = load(spec, None if spec == "no2" else "none", seed=0)
    twin, fresh = twin_of(loaded, twin_seed(0))
    assert (fresh.weights, fresh.weights_sha256, fresh.note, fresh.name) == ("none", None, None, spec)
    wanted = load(spec, "none", seed=1).module.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in twin.module.state_dict().items())
    own = loaded.module.state_dict()
    assert any(not torch.equal(tensor, own[name]) for name, tensor in wanted.items())


def test_the_twin_of_a_callables_network_is_drawn_and_not_built_again(tmp_path, monkeypatch):
    (tmp_path / "pretrained_here.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def build():\n    model = nn.Linear(3, 3)\n    nn.init.constant_(model.weight, 7.0)\n"
        "    return model\n"
    )
    monkeypatch.chdir(tmp_path)
    twin, _ = twin_of(load("pretrained_here:build"), 1)
    assert (twin.module.weight.abs() < 1).all()
