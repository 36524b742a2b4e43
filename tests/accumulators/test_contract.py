"""The contract that all accumulators keep, and what follows from it: another one is one file."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import streamspread
from streamspread.accumulators.base import Candidate, LayerShape, Setting
from streamspread.cli import main
from streamspread.errors import OptionError
from streamspread.options import METHODS, Options
from streamspread.streams.labels import Labels
from tests.diagonal import Diagonal

CPU = torch.device("cpu")
DIM, SAMPLES = 40, 200
LABELS = Labels(np.arange(SAMPLES) % 5, tuple("abcde"))


@pytest.fixture
def diagonal():
    undo = METHODS.add("diagonal", Diagonal)
    yield
    undo()


def batches(dim=DIM, samples=SAMPLES, offset=3.0):
    generator = torch.Generator().manual_seed(0)
    x_ND = torch.randn(samples, dim, generator=generator) * torch.arange(1, dim + 1) ** -0.7 + offset
    return list(x_ND.split(37))


def made(method, rounding="fp32", labels=None, **options):
    """The accumulator that a plan would make of a layer, and what it offered."""
    asked = Options(method=method, **options)
    setting = Setting.of(CPU, asked, samples=SAMPLES, budget=1 << 30, rounding=rounding)
    offer = METHODS.get(method).candidate(LayerShape("c1", (DIM,), DIM, 0.0), setting)
    assert isinstance(offer, Candidate)
    return offer.make(**({} if labels is None else {"labels": labels})), offer


def run(accumulator, passes, data):
    for _ in range(passes):
        for batch in data:
            accumulator.update(batch)
        accumulator.end_pass()


def same(a, b):
    return (
        np.array_equal(a.eigenvalues, b.eigenvalues)
        and np.array_equal(a.upper_sums, b.upper_sums)
        and a.total_variance == b.total_variance
        and a.growth == b.growth
    )


def same_arrays(a, b):
    """Of directions or classes: every array and number."""
    for name, value in vars(a).items():
        if isinstance(value, (np.ndarray, float)):
            np.testing.assert_array_equal(value, getattr(b, name))


#: Methods, and what may be asked beside the spectrum.
CASES = [
    ("covariance", {}),
    ("gram", {}),
    ("sketch", {"rank": 12}),
    ("sketch", {"rank": 20, "directions": 6}),
    ("covariance", {"directions": 6, "labels": LABELS}),
    ("gram", {"directions": 6, "labels": LABELS}),
]


@pytest.mark.parametrize("rounding", ["fp16", "fp32", "int16"])
@pytest.mark.parametrize(
    ("method", "options"), CASES, ids=lambda one: one if isinstance(one, str) else len(one)
)
@pytest.mark.parametrize("taken_at", [0, 3, 6, 7, 10, 20])
def test_a_state_goes_on_to_the_same_bits(method, options, rounding, taken_at):
    """Taken anywhere, also in the middle of a pass, a later one too; and what was taken may change."""
    (whole, offer), (first, _), (second, _) = (made(method, rounding, **options) for _ in range(3))
    steps = [*batches(), None] * offer.passes  # None ends a pass
    taken_at = min(taken_at, len(steps) - 1)
    going_on = first
    for index, batch in enumerate(steps):
        if index == taken_at:
            taken = {name: part.tensor.clone() for name, part in first.state().items()}
            second.load_state(taken)
            for tensor in taken.values():
                tensor.zero_()
            going_on = second
        for accumulator in (whole, going_on):
            accumulator.end_pass() if batch is None else accumulator.update(batch)
    assert going_on is second
    asked = Options(thresholds=(0.5, 0.9), proof=False)
    one, other = whole.spectrum(asked), second.spectrum(asked)
    assert same(one, other)
    if "directions" in options:
        same_arrays(one.leading, other.leading)
    if "labels" in options:
        same_arrays(one.classes, other.classes)
        assert np.array_equal(one.classes.within.eigenvalues, other.classes.within.eigenvalues)


def test_a_fourth_accumulator_is_known_everywhere(diagonal, tmp_path, capsys):
    """One file, added by name: analyze, plan, the file, show, the help and the messages know it."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(20, 30)), torch.randn(100, 20)
    spectra = streamspread.analyze(model, x, "0", thresholds=(0.7,), method="diagonal")
    variances = np.sort(model(x).detach().double().var(0).numpy())[::-1]
    reached = int(np.searchsorted(np.cumsum(variances), 0.7 * variances.sum())) + 1
    assert spectra["0"].method == "diagonal"
    assert spectra["0"].components(0.7) == (1, reached)
    exact = streamspread.analyze(model, x, "0", thresholds=(0.7,))["0"]
    assert exact.method != "diagonal"
    assert exact.components(0.7).high <= reached

    planned = streamspread.plan(model, x, "0", method="diagonal").layers[0]
    assert (planned.method, planned.why) == ("diagonal", "the variances of 30 features")
    rejected = streamspread.plan(model, x, "0").layers[0].rejected
    assert any(reason.startswith("diagonal: ") for reason in rejected)

    path = tmp_path / "x.arrow"
    streamspread.write(spectra, path)
    assert streamspread.read(path)["0"].proof == "Schur and Horn"
    assert main(["show", str(path)]) == 0
    assert "diagonal fp32" in capsys.readouterr().out
    assert main(["run", "--help"]) == 0
    assert "gram, sketch or diagonal" in " ".join(capsys.readouterr().out.replace("│", " ").split())
    with pytest.raises(OptionError, match="choose from auto, covariance, gram, sketch, diagonal"):
        streamspread.analyze(model, x, "0", method="cholesky")


def test_a_method_that_was_taken_back_is_unknown():
    METHODS.add("diagonal", Diagonal)()
    with pytest.raises(OptionError, match="method 'diagonal' is unknown"):
        Options(method="diagonal")


def test_accumulators_can_be_copied():
    accumulator, _ = made("covariance")
    run(accumulator, 1, batches())
    asked = Options(proof=False)
    assert same(copy.deepcopy(accumulator).spectrum(asked), accumulator.spectrum(asked))
