"""Training from Python is what the command does."""

import inspect

import pytest
import torch

import streamspread
from streamspread.datasets import Labelled
from streamspread.errors import OptionError
from streamspread.training import Recipe, train


@pytest.fixture(scope="module")
def splits():
    generator = torch.Generator().manual_seed(0)

    def drawn(count):
        images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return Labelled(images, torch.arange(count) % 10, f"noise, {count} images")

    return drawn(40), drawn(20)


def test_it_gives_what_training_gives(splits, tmp_path):
    events = []
    recipe = {"epochs": 2, "batch_size": 10, "seed": 3}
    path = tmp_path / "x.safetensors"
    found = streamspread.train("plan:4", splits, **recipe, device="cpu", out=path, progress=events.append)
    expected = train("plan:4", *splits, Recipe(**recipe), device="cpu")
    assert found.accuracy == expected.accuracy
    for a, b in zip(found.network.parameters(), expected.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert path.is_file()
    assert found.sha256 is not None
    assert [event.done for event in events] == [10 * n for n in range(1, 9)]
    assert {(event.stage, event.total) for event in events} == {("training", 80)}


def test_it_takes_what_a_recipe_does():
    parameters = inspect.signature(streamspread.train).parameters
    assert list(parameters)[:2] == ["model", "data"]
    for name, one in Recipe.__dataclass_fields__.items():
        assert parameters[name].default == one.default
        assert name in streamspread.train.__doc__


def test_bad_options_are_refused_before_any_image_is_read():
    with pytest.raises(OptionError, match="epochs must be at least 1, not 0"):
        streamspread.train("plan:4", "parquet:nowhere", epochs=0)
