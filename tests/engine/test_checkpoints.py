"""A run that is kept and resumed ends with the same bits as one that nobody disturbed, wherever it ended."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import streamspread
from streamspread.engine import checkpoints
from streamspread.errors import DataError, StoreError
from streamspread.options import Options
from tests.networks import Sign, growing, network, smallest_budget

TIMES = {"seconds", "peak_bytes"}  # what no two runs have alike


class Stop(Exception):
    """Ends a run."""


@pytest.fixture(autouse=True)
def _after_every_batch(monkeypatch):
    monkeypatch.setattr(checkpoints, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", 0.0)


def stopping(after):
    """A progress callback that ends the run at its so many-th call."""
    calls = []

    def report(event):
        calls.append(event)
        if len(calls) == after:
            raise Stop

    return report


def plain(value):
    """What two values have alike if they have the same bits."""
    if dataclasses.is_dataclass(value):
        names = {one.name for one in dataclasses.fields(value)} - TIMES
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, np.ndarray | np.generic | float):
        return np.asarray(value).dtype.str, np.shape(value), np.asarray(value).tobytes()
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def bits(spectra):
    """All numbers of spectra, and the hash of what was seen."""
    own = {name: plain(one) for name, one in spectra.items()} | {"seen": spectra.provenance["data_seen"]}
    return own if spectra.twin is None else {**own, "twin": bits(spectra.twin)}


def resumed(model, data, layers, path, every=1, **options):
    """The run that is ended again and again, at every so many-th sign of life, and how often it was."""
    ends = 0
    while True:
        try:
            done = streamspread.analyze(
                model, data, layers, checkpoint=path, progress=stopping(1 + every), **options
            )
        except Stop:
            ends += 1
            assert path.is_file()
            assert ends < 300
        else:
            return done, ends


GENERAL = {"thresholds": (0.5, 0.9), "batch_size": 50}


def several(method, **options):
    """A network of three layers with so little memory that it takes several passes."""
    model, x = network("cnn", 170)
    options = {**GENERAL, "method": method, **options}
    budget = smallest_budget(model, x, ["0", "1", "4"], **options)
    options["memory"] = budget
    return model, x, ["0", "1", "4"], options


CASES = {
    "covariance": lambda: (*network("cnn", 170), ["1", "4"], {**GENERAL, "method": "covariance"}),
    "gram": lambda: (*network("cnn", 170), ["1", "4"], {**GENERAL, "method": "gram"}),
    "sketch": lambda: (*network("cnn", 170), ["1", "4"], {**GENERAL, "method": "sketch", "rank": 20}),
    "int16": lambda: (*network("cnn", 170), ["1", "4"], {**GENERAL, "rounding": "int16"}),
    "several passes of grams": lambda: several("gram"),
    "several passes of covariances": lambda: several("covariance"),
}


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_ended_again_and_again_has_the_bits_of_one_that_is_not(case, every, tmp_path):
    model, x, layers, options = CASES[case]()
    whole = streamspread.analyze(model, x, layers, **options)
    done, ends = resumed(model, x, layers, tmp_path / "run", every, **options)
    assert ends >= 2
    assert bits(done) == bits(whole)
    assert list(tmp_path.iterdir()) == []
