"""Files of weights are never run: what SECURITY.md says of them."""

import os

import pytest
import torch
from torchvision import models

from streamspread.errors import StreamspreadError
from streamspread.models import load
from streamspread.models.hub import numbers_alone

_SWITCHES = ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")


class Trap:
    """Makes a folder when it is unpickled in full."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("source", ["a file", "torchvision's cache"])
def test_weights_that_would_run_code_are_refused_and_run_none(tmp_path, monkeypatch, source):
    spec, weights, path = "plan:4", str(tmp_path / "a.pt"), tmp_path / "a.pt"
    if source == "torchvision's cache":
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        spec, weights = "torchvision:squeezenet1_1", "default"
        url = models.SqueezeNet1_1_Weights.DEFAULT.url
        path = tmp_path / "checkpoints" / url.rpartition("/")[2]
        path.parent.mkdir()
    torch.save({"a": Trap(tmp_path / "sprung")}, path)
    with pytest.raises(StreamspreadError, match=r"pickled objects|Weights only load failed"):
        load(spec, weights)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("given", [{}, {_SWITCHES[0]: "0"}, {_SWITCHES[1]: "1"}])
def test_the_environment_is_afterwards_as_it_was(tmp_path, monkeypatch, given):
    for name in _SWITCHES:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    torch.save({"a": Trap(tmp_path / "sprung")}, tmp_path / "a.pt")
    with pytest.raises(Exception, match="Weights only load failed"), numbers_alone():
        torch.load(tmp_path / "a.pt", weights_only=False)
    assert {name: os.environ[name] for name in _SWITCHES if name in os.environ} == given
    assert not (tmp_path / "sprung").exists()
