"""Arguments of other kinds than the doors take: one line, before anything is run."""
# ruff: noqa: E501

import numpy as np
import pytest
import torch
from torch import nn

import streamspread
from streamspread.errors import BudgetError, DataError, LayerError, OptionError, StoreError

NET, X = nn.Sequential(nn.Linear(5, 4)), torch.rand(12, 5)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: streamspread.analyze(NET, X, provenance=3), OptionError, "provenance must be facts by name"),
        (lambda: streamspread.grams(NET, X, provenance=[1]), OptionError, "provenance must be facts by name"),
        (
            lambda: streamspread.analyze(NET, X, method=np.zeros(2)),
            OptionError,
            r"analyze\(\): an argument is of a kind that is not taken here",
        ),
        (lambda: streamspread.plan(NET, X, proof=torch.ones(3)), OptionError, "proof is True or False, not ten"),
        (lambda: streamspread.analyze(NET, X, alone=np.zeros((2, 3))), OptionError, r"alone is True or False, not array\("),
        (lambda: streamspread.train(average=np.zeros((2, 0))), OptionError, r"average is True or False, not array\("),
        (lambda: streamspread.eigvalsh(torch.eye(3), overwrite=torch.zeros(0)), OptionError, "overwrite is True or False, not ten"),
        (lambda: streamspread.eigh_leading(torch.eye(3), 1, proof=torch.ones(2)), OptionError, "proof is True or False, not ten"),
        (lambda: streamspread.analyze(NET, X, memory=torch.zeros(2, 2)), BudgetError, "is not a size: write"),
        (lambda: streamspread.analyze(NET, X, checkpoint=np.zeros(0)), OptionError, "checkpoint is the name of"),
        (lambda: streamspread.layers([3], X), OptionError, "the model must be a torch.nn.Module, got list"),
        (lambda: streamspread.layers(NET, X, layers=3), LayerError, "layers are named by texts, got 3"),
        (lambda: streamspread.layers(NET, X, layers=torch.tensor(3)), LayerError, r"by texts, got tensor\(3\)"),
        (lambda: streamspread.layers(NET, X, layers=np.array(3)), LayerError, r"by texts, got array\(3\)"),
        (lambda: streamspread.SpreadLoss("x", "0"), OptionError, "the model must be a torch.nn.Module, got str"),
        (lambda: streamspread.SpreadLoss(NET, np.zeros(0)), LayerError, "no layer asked for"),
        (lambda: streamspread.train(data=[1, 2]), DataError, "or two Labelled, not list"),
        (lambda: streamspread.train(label_smoothing=NET), OptionError, r"train\(\): an argument is of a kind"),
        (lambda: streamspread.data("noise", image_size=b"x"), OptionError, "image size b'x' asked for"),
        (lambda: streamspread.data("noise", split=np.zeros(0)), OptionError, "split .* asked for; there are"),
        (lambda: streamspread.write([3], "x.arrow"), StoreError, "cannot write list: give the Spectra"),
        (lambda: streamspread.write_grams(3, "x.safetensors"), StoreError, "cannot write int: give the Grams"),
        (lambda: streamspread.cka(3), DataError, "int cannot be compared: give what streamspread.grams"),
        (lambda: streamspread.eigh_leading(torch.eye(3), 1, tolerance="x"), OptionError, "tolerance 'x' asked"),
        (lambda: streamspread.PCA(nope=3), TypeError, r"^PCA\.__init__\(\) got an unexpected keyword"),
    ],
)  # fmt: skip
def test_it_is_one_line(call, kind, words):
    with pytest.raises(kind, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_axes_that_are_given_twice_are_refused():
    for axes in ("c1=NCHW,c1=NHWC", "NCHW,NHWC"):
        with pytest.raises(OptionError, match=f"axes '{axes}' give those of .* twice: give them once"):
            streamspread.analyze(NET, X, axes=axes)
    streamspread.analyze(NET, X, axes="0=NC,NC", device="cpu")


def test_images_that_there_is_no_room_for_are_refused(monkeypatch):
    monkeypatch.setattr("streamspread.datasets.specs.free_bytes", lambda device: 1 << 30)
    with pytest.raises(BudgetError, match=r"images at 65,535x65,535 take 120 GiB or more, and 1.0 GiB"):
        streamspread.data("noise", samples=2, image_size=65_535)
