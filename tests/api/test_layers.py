"""The layers of a network, from Python."""

import pytest
import torch
from torch import nn

import streamspread
from streamspread.errors import DataError, ModelError

MODEL = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(), nn.Flatten(), nn.Linear(4 * 36, 10))
TEXT = """\
0: Conv2d (4, 6, 6), D = 144
1: Dropout (4, 6, 6), D = 144
2: Flatten (144,), D = 144
3: Linear (10,), D = 10"""


@pytest.mark.parametrize(
    "data",
    [(3, 8, 8), torch.zeros(5, 3, 8, 8), lambda: iter([torch.zeros(1, 3, 8, 8)] * 3)],
    ids=["shape", "tensor", "batches"],
)
def test_layers_have_names_shapes_and_dims(data):
    MODEL.train()
    found = streamspread.layers(MODEL, data)
    assert repr(found) == TEXT
    assert [tap.name for tap in found] == ["0", "1", "2", "3"]
    assert (found[0].shape, found[0].dim, found[3].kind) == ((4, 6, 6), 144, "Linear")
    assert all(module.training for module in MODEL.modules())
    assert {tap.name for tap in found} == set(streamspread.analyze(MODEL, torch.randn(9, 3, 8, 8), "*"))


def test_a_name_is_enough():
    found = streamspread.layers("plan:4,M,8")
    assert {tap.name: tap.shape for tap in found if tap.name in ("c1", "c2")} == {
        "c1": (4, 32, 32),
        "c2": (8, 16, 16),
    }
    assert streamspread.layers("plan:4", (3, 16, 16))[0].shape == (4, 16, 16)


def test_a_model_of_another_dtype_is_given_its_own():
    assert streamspread.layers(nn.Sequential(nn.Linear(3, 2)).double(), (3,))[0].dim == 2


def test_bad_input_is_refused_in_a_line():
    with pytest.raises(DataError, match=r"give data, or the shape of one sample, such as \(3, 32, 32\)"):
        streamspread.layers(MODEL)
    with pytest.raises(ModelError, match="does not run"):
        streamspread.layers(MODEL, (3, 9, 9))
    with pytest.raises(ModelError, match="no5"):
        streamspread.layers("no5")
