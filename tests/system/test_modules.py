"""Modules of somebody else's, which may be half made or raise when they are looked at."""

import pytest
import torch
from torch import nn

from streamspread.errors import ModelError
from streamspread.system.tensors import check_made, own


class HalfMade(nn.Module):
    def __init__(self):
        pass


class Unlisted(nn.Module):
    def named_modules(self, *given, **named):
        raise ValueError("not\nyet")


class Raising(nn.Module):
    @property
    def default_layers(self):
        raise OSError("gone")


def chain(length):
    """Modules within each other."""
    model = nn.Sequential()
    for _ in range(length):
        model = nn.Sequential(model)
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (HalfMade(), r"HalfMade is half made: its __init__ must begin with super\(\)\.__init__\(\)"),
        (nn.ModuleList([HalfMade()]), "HalfMade is half made"),
        (Unlisted(), r"Unlisted: its modules cannot be listed: ValueError: not\Z"),
        (nn.ModuleDict({"caf\udce9": nn.ReLU()}), "its modules cannot be listed: UnicodeEncode"),
        (chain(3000), "Sequential: its modules lie too deep within each other"),
    ],
    ids=["half made", "half made within", "raises", "no text", "deep"],
)
def test_a_module_that_cannot_be_looked_at_is_refused(model, said):
    with pytest.raises(ModelError, match=said):
        check_made(model)


def test_a_module_that_can_be_is_not():
    check_made(nn.Sequential(nn.Linear(2, 2), chain(3)))
    check_made(torch.jit.script(nn.ReLU()))


def test_an_attribute_that_a_module_may_have():
    assert own(nn.ReLU(), "default_layers", 3) == 3
    assert own(nn.ReLU(inplace=True), "inplace", None) is True
    with pytest.raises(ModelError, match=r"Raising\.default_layers cannot be read: OSError: gone"):
        own(Raising(), "default_layers", None)
