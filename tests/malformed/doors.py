"""The doors from Python with one argument that is not what they take."""

import functools
import inspect

import numpy as np
import torch
from torch import nn

import streamspread
from streamspread.reports.build import report
from tests.malformed.values import objects

#: What stands for other programs' affairs, is asked for on purpose, or takes long whatever is given.
_LEFT = {"progress", "with_random", "twin", "copy"}


def _network():
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))


def _rows():
    return torch.rand(12, 5, generator=torch.Generator().manual_seed(0))


def _square():
    x = np.random.default_rng(0).normal(size=(6, 6))
    return x + x.T


@functools.cache
def _spectra():
    return streamspread.analyze(_network(), _rows(), device="cpu")


@functools.cache
def _grams():
    return streamspread.grams(_network(), _rows(), device="cpu")


def _of_layer(name):
    """A method of a layer's result, with a threshold or a count."""
    return lambda given: getattr(_spectra()["0"], name)(given)


DOORS = {
    "analyze": (streamspread.analyze, lambda: {"model": _network(), "data": _rows(), "device": "cpu"}),
    "plan": (streamspread.plan, lambda: {"model": _network(), "data": _rows(), "device": "cpu"}),
    "grams": (streamspread.grams, lambda: {"model": _network(), "data": _rows(), "device": "cpu"}),
    "layers": (streamspread.layers, lambda: {"model": _network(), "data": _rows()}),
    "data": (streamspread.data, lambda: {"spec": "noise", "samples": 4, "image_size": 8}),
    "PCA": (streamspread.PCA, lambda: {"X": _rows().numpy(), "n_components": 2}),
    "eigvalsh": (streamspread.eigvalsh, lambda: {"a": _square()}),
    "eigh_leading": (streamspread.eigh_leading, lambda: {"a": _square(), "k": 2}),
    "read": (streamspread.read, dict),
    "read_grams": (streamspread.read_grams, dict),
    "read_history": (streamspread.read_history, dict),
    "write": (streamspread.write, lambda: {"spectra": _spectra(), "path": "x.arrow"}),
    "write_grams": (streamspread.write_grams, lambda: {"grams": _grams(), "path": "x.safetensors"}),
    "cka": (streamspread.cka, lambda: {"a": _grams(), "b": _grams()}),
    "report": (report, lambda: {"results": _spectra(), "out": "page", "figures": False}),
    "compare": (lambda other, threshold: _spectra().compare(other, threshold), lambda: {"other": _spectra()}),
    "at": (lambda thresholds: _spectra().at(thresholds), dict),
    "components": (_of_layer("components"), dict),
    "share": (_of_layer("share"), dict),
    "estimate": (_of_layer("estimate"), dict),
    "SpreadLoss": (streamspread.SpreadLoss, lambda: {"model": _network(), "layers": "0"}),
    "Monitor": (streamspread.Monitor, lambda: {"model": _network(), "layers": "0"}),
    "train": (streamspread.train, lambda: {"model": "plan:2", "data": "folder:missing", "device": "cpu"}),
}


def doors(random, folder):
    """A call, as a text and a function."""
    name = random.choice(list(DOORS))
    function, base = DOORS[name]
    given = base()
    names = [one for one in inspect.signature(function).parameters if one not in _LEFT]
    if name == "PCA":
        names.append("X")
    if not given:
        given = {one: objects(random) for one in names[:2]}
    chosen = random.choice(names)
    given[chosen] = value = objects(random)

    def call():
        if name == "PCA":
            x = given.pop("X")
            streamspread.PCA(**given).fit(x)
        else:
            function(**given)

    return f"{name}({chosen}={type(value).__name__} {value!r:.60})".replace("\n", " "), call
