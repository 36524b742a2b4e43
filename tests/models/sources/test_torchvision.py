"""``torchvision:NAME`` with published weights: from torch's cache, and without a network."""

import pytest
import torch
from torchvision import models

from streamspread.errors import WeightsError
from streamspread.models import load


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """The folder in which torch looks for what torchvision downloads; nothing can be downloaded."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def refuse(*args, **kwargs):
        raise OSError("no network in tests")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return folder


def test_default_weights_come_from_the_cache(checkpoints):
    source = models.squeezenet1_1(weights=None)
    weights = models.SqueezeNet1_1_Weights.DEFAULT
    torch.save(source.state_dict(), checkpoints / weights.url.rpartition("/")[2])
    loaded = load("torchvision:squeezenet1_1", "default")
    assert (loaded.weights, loaded.note) == ("default", {"published": f"torchvision {weights}"})
    assert len(loaded.weights_sha256) == 64
    assert torch.equal(loaded.module.features[0].weight, source.features[0].weight)


def test_weights_that_are_nowhere_are_refused_with_the_cache_that_was_looked_at(checkpoints, capsys):
    with pytest.raises(
        WeightsError,
        match=rf"torchvision's weights for 'squeezenet1_1' are not in the cache {checkpoints} and cannot be "
        r"downloaded \(no network in tests\)$",
    ):
        load("torchvision:squeezenet1_1", "default")
    assert capsys.readouterr().out == ""  # where a result may be printed to a pipe


def test_a_model_without_published_weights_is_refused(monkeypatch):
    monkeypatch.setattr("streamspread.models.sources.torchvision._default", lambda models, name: None)
    with pytest.raises(WeightsError, match="torchvision has no weights for 'alexnet': give --weights PATH"):
        load("torchvision:alexnet", "default")
