"""Specs: every form that `load` takes, with and without weights, and what it says to the rest."""

import io
import os
import sys

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from PIL import Image

from streamspread.errors import ModelError, OptionError, WeightsError
from streamspread.models import PLANS, Network, NormalizeUint8, load, weights
from streamspread.models.weights import rounded_state, save_weights

BYTES = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """A function that writes a module into the current folder, which is not on sys.path; returns its name."""
    monkeypatch.chdir(tmp_path)
    names = []

    def write(source):
        names.append(f"users_models_{os.getpid()}_{len(names)}_{tmp_path.name}")
        (tmp_path / f"{names[-1]}.py").write_text("import torch\nfrom torch import nn\n" + source)
        return names[-1]

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_a_reference_network_with_random_weights():
    loaded = load("no2", "none")
    assert isinstance(loaded.module, Network)
    assert not loaded.module.training
    assert loaded.module.c2.weight.is_contiguous(memory_format=torch.channels_last)
    assert (loaded.name, loaded.plan, loaded.image_size) == ("no2", PLANS["no2"], 32)
    assert (loaded.weights, loaded.weights_sha256, loaded.note) == ("none", None, None)


def test_random_weights_follow_the_seed_and_leave_the_generator():
    before = torch.get_rng_state()
    one, same, other = (load("plan:4,M,8", "none", seed=seed).module for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one(BYTES), same(BYTES))
    assert not torch.equal(one(BYTES), other(BYTES))
    for spec in ("plan:4", "torchvision:squeezenet1_1", "torch.nn:Identity"):
        with pytest.raises(OptionError, match="seeds are whole numbers"):
            load(spec, "none", seed=-1)


def test_bytes_and_normalized_floats_give_the_same():
    module = load("plan:4,M,8", "none").module
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
    floats = (BYTES / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(module(BYTES), module(floats))


def test_weights_from_a_file_and_what_it_says_of_itself(tmp_path):
    source = load("plan:4,M,8", "none", seed=3).module
    path = tmp_path / "w.safetensors"
    sha256 = save_weights(rounded_state(source), path, {"plan": "4,M,8", "accuracy": "0.1"})
    loaded = load("plan:4 M 8", path)
    assert (loaded.weights, loaded.weights_sha256) == (str(path), sha256)
    assert loaded.note == {"plan": "4,M,8", "accuracy": "0.1"}
    assert loaded.plan == "4,M,8"
    assert loaded.module.c1.weight.dtype == torch.float32
    torch.testing.assert_close(loaded.module(BYTES), source(BYTES), rtol=1e-2, atol=1e-2)
    with pytest.raises(WeightsError, match="do not fit the model"):
        load("no2", str(path))


def test_shipped_weights_are_taken_by_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHIPPED", tmp_path)
    with pytest.raises(WeightsError, match="no weights for no2; give --weights PATH, or --weights none"):
        load("no2")
    sha256 = save_weights(
        rounded_state(Network(PLANS["no2"])), tmp_path / "no2.safetensors", {"accuracy": "0.9"}
    )
    for given in (None, "default"):
        loaded = load("no2", given)
        assert (loaded.weights, loaded.weights_sha256) == ("shipped", sha256)
        assert loaded.note == {"accuracy": "0.9"}
    with pytest.raises(WeightsError, match="nobody publishes weights for plan:8; give --weights PATH"):
        load("plan:8", "default")


@pytest.mark.parametrize("spec", ["plan:8,8", "torchvision:squeezenet1_1", f"plan:{','.join(['8'] * 150)}"])
def test_models_without_shipped_weights_ask_for_them(spec):
    with pytest.raises(WeightsError, match=f"no weights for {spec}; give --weights PATH, or --weights none"):
        load(spec)


def test_torchvision_models_have_their_size_their_layers_and_their_constants():
    loaded = load("torchvision:resnet18", "none")
    assert (loaded.plan, loaded.image_size, loaded.weights) == (None, 224, "none")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        floats = (BYTES / 255 - mean[:, None, None]) / std[:, None, None]
        torch.testing.assert_close(loaded.module(BYTES), loaded.module(floats))


@pytest.mark.parametrize(
    ("name", "size"), [("efficientnet_b1", 240), ("inception_v3", 299), ("vit_b_16", 224)]
)
def test_torchvision_models_say_the_size_they_are_made_for(name, size):
    assert load(f"torchvision:{name}", "none").image_size == size


def test_a_users_callable_is_found_in_the_current_folder(user_module):
    name = user_module(
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 2))\n"
    )
    path = list(sys.path)
    loaded = load(f"{name}:build", seed=4)
    assert sys.path == path
    assert (loaded.weights, loaded.plan) == ("as built", None)
    assert not loaded.module.training
    assert loaded.module(BYTES).shape == (2, 2)
    assert torch.equal(load(f"{name}:build", seed=4).module(BYTES), loaded.module(BYTES))
    assert load(f"{name}:build", "none").weights == load(f"{name}:build", "default").weights == "as built"
    torch.save(loaded.module.state_dict(), "w.pt")
    again = load(f"{name}:build", "w.pt", seed=5)
    assert again.weights == "w.pt"
    assert torch.equal(again.module(BYTES), loaded.module(BYTES))


def test_a_users_module_may_bring_its_size_its_layers_and_its_constants(user_module):
    name = user_module(
        "from streamspread.models import NormalizeUint8\n"
        "class Net(nn.Identity):\n"
        "    image_size = 48\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.register_forward_pre_hook(NormalizeUint8((0.0,) * 3, (1.0,) * 3))\n"
    )
    loaded = load(f"{name}:Net")
    assert loaded.image_size == 48
    assert sum(isinstance(h, NormalizeUint8) for h in loaded.module._forward_pre_hooks.values()) == 1
    assert torch.equal(loaded.module(BYTES), BYTES / 255)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("build = 3\n", "TypeError: 'int' object is not callable"),
        ("def build():\n    return 3\n", "must return a torch.nn.Module, but returned int"),
        ("def build(width):\n    return nn.ReLU()\n", "TypeError: .* missing 1 required positional argument"),
        ("def build():\n    raise RuntimeError('one\\ntwo')\n", "RuntimeError: one$"),
        ("def other():\n    pass\n", "AttributeError: .*has no attribute 'build'"),
        ("def build(:\n", "SyntaxError"),
        ("import a_package_that_is_not_there\n", "No module named 'a_package_that_is_not_there'"),
    ],
)
def test_a_callable_that_fails_is_refused_in_one_line(user_module, source, message):
    with pytest.raises(ModelError, match=message) as caught:
        load(f"{user_module(source)}:build")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no5", r"unknown model 'no5', did you mean 'no\d'\?; a model is one of hf:NAME, no1"),
        ("resnet50", r"unknown model 'resnet50', did you mean 'torchvision:resnet50'\?"),
        ("64,64,M", r"unknown model '64,64,M', did you mean 'plan:64,64,M'\?"),
        ("zzzzzz", "unknown model 'zzzzzz'; a model is one of hf:NAME, no1"),
        ("", "unknown model ''; a model is one of hf:NAME, no1"),
        ("a b:c", "unknown model 'a b:c'"),
        ("torchvision:resnet5", r"torchvision has no model 'resnet5', did you mean 'torchvision:resnet50'\?"),
        ("torchvison:resnet50", r"No module named 'torchvison', did you mean 'torchvision:resnet50'\?"),
        ("plan:64,Q", "step 'Q' is neither"),
        (3, "a model is named by a text such as no1, not by int"),
    ],
)
def test_an_unknown_spec_is_refused_with_the_nearest_known_one(spec, message):
    with pytest.raises(ModelError, match=message):
        load(spec, "none")


@pytest.mark.parametrize("name", list(PLANS))
def test_shipped_weights_are_as_good_as_they_say(name, cifar_parquet):
    loaded = load(name)
    assert loaded.note["plan"] == PLANS[name]
    said = float(loaded.note["accuracy"])
    assert said > 0.88
    images, labels = first_rows(cifar_parquet / "test.parquet", 400)
    with torch.inference_mode():
        measured = (loaded.module(images).argmax(dim=1) == labels).float().mean().item()
    assert abs(measured - said) < 4 * (said * (1 - said) / len(labels)) ** 0.5  # four standard errors


def first_rows(path, count):
    """Return uint8 (count, 3, 32, 32) images and int64 labels of a parquet file."""
    rows = parquet.read_table(path).slice(0, count).to_pylist()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(row["img"]["bytes"]))) for row in rows])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.tensor([row["label"] for row in rows])


@pytest.mark.parametrize(
    ("name", "brought"),
    [
        ("timm:vit_tiny_patch16_224", "224x224 of 248 (bicubic)"),
        ("timm:convnext_tiny.in12k_ft_in1k_384", "384x384 (bicubic, squashed)"),
        ("torchvision:resnet18", "224x224 of 256"),
        ("no1", "32x32"),
    ],
)
def test_images_are_scaled_as_the_makers_of_a_model_do(name, brought):
    assert str(load(name, "none").image_size) == brought
