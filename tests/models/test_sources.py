"""The registry of model sources: one file adds one, and asking for their forms imports no library."""

import re
import sys
from pathlib import Path

import pytest
from torch import nn

from streamspread import models
from streamspread.errors import ModelError, WeightsError
from streamspread.models import SOURCES, Built, ModelSource, load, model_forms, sources
from tests.fresh import loaded_by

USAGE = Path(__file__).resolve().parents[2] / "docs" / "usage.md"

LINEAR = """
from streamspread.models import Built, ModelSource

def _build(name, seed):
    from torch import nn
    from streamspread.models.network import seeded
    with seeded(seed):
        module = nn.Sequential(nn.Flatten(), nn.Linear(48, int(name)))
    return Built(module=module, mean=(0.0,) * 3, std=(1.0,) * 3, image_size=4)

SOURCE = ModelSource(form="linear:OUTPUTS", about="one linear layer", build=_build)
"""


@pytest.fixture
def linear(tmp_path):
    """A model source that is one file more in the folder of sources."""
    (tmp_path / "linear.py").write_text(LINEAR)
    sources.__path__.append(str(tmp_path))
    yield
    sources.__path__.remove(str(tmp_path))
    sys.modules.pop("streamspread.models.sources.linear", None)


def test_a_file_in_the_folder_is_a_source(linear):
    loaded = load("linear:5", "none", seed=1)
    assert (loaded.name, loaded.image_size, loaded.weights, loaded.plan) == ("linear:5", 4, "none", None)
    assert "linear:OUTPUTS" in model_forms()
    with pytest.raises(WeightsError, match="the package has no weights for linear:5"):
        load("linear:5")
    with pytest.raises(ModelError, match=r"cannot build .*, did you mean 'linear:x'\?"):
        load("linaer:x")
    with pytest.raises(
        ModelError, match=r"unknown model 'zzzzzz'; a model is one of hf:NAME, linear:OUTPUTS, no1"
    ):
        load("zzzzzz")


def test_a_source_can_be_added_for_a_time():
    def build(spec, seed):
        return Built(module=nn.ReLU(), mean=(0.0,), std=(1.0,), image_size=seed, has_weights=True)

    source = ModelSource(
        form="@NAME", about="a ReLU", build=build, takes=lambda spec: spec[:1] == "@", guess="@{}".format
    )
    remove = SOURCES.add("at", source)
    try:
        assert model_forms()[-1] == "@NAME"
        loaded = load("@any:thing", seed=9)
        assert (loaded.weights, loaded.image_size) == ("as built", 9)
        with pytest.raises(ModelError, match=r"unknown model 'zzzzzz', did you mean '@zzzzzz'\?.*, @NAME$"):
            load("zzzzzz")
    finally:
        remove()
    with pytest.raises(ModelError, match="unknown model '@any'; a model is one of hf:NAME, no1"):
        load("@any")


def test_a_form_with_a_name_begins_with_that_of_its_file():
    assert SOURCES.names() == ("hf", "reference", "timm", "torchvision", "user")
    for name, source in SOURCES.items():
        assert source.takes is not None or source.form.startswith(f"{name}:")
        assert source.about
        assert "\n" not in source.about


def test_the_documents_name_the_same_forms():
    table = USAGE.read_text(encoding="utf-8").partition("| `--model` | ")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([^`]+)`", table, re.MULTILINE) == list(model_forms())


def test_names_forms_and_plans_cost_no_library():
    heavy = {"torch", "torchvision", "timm", "transformers", "safetensors", "numpy", "rich", "typer"}
    names = "import streamspread.models as m\nm.model_forms(), [one.about for _, one in m.SOURCES.items()]"
    assert loaded_by(f"{names}\nm.parse_plan(m.PLANS['no1'])") & heavy == set()


def test_every_public_name_is_there_and_an_unknown_one_is_not():
    for name in models._HOMES:
        assert getattr(models, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'resnet'"):
        _ = models.resnet
