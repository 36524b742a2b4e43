"""Options are stated once: from one field follow the argument, its documentation, the flag, its help, the
check and what a result keeps."""

import inspect
import subprocess
import sys
from dataclasses import KW_ONLY, dataclass, fields
from typing import Annotated

import pytest
import torch
import typer
from torch import nn
from typer.testing import CliRunner

import streamspread
from streamspread.api.analyze import AnalyzeCall, analyze_with
from streamspread.api.calls import Subject, door
from streamspread.cli.app import COMMANDS
from streamspread.errors import OptionError
from streamspread.options import (
    METHODS,
    EmbedOptions,
    Flag,
    Option,
    Options,
    RunOptions,
    documented,
    option_of,
)
from tests.diagonal import Diagonal
from tests.fresh import ROOT


@dataclass(frozen=True)
class MoreOptions(Options):
    """An option more than there is: the only place where it is stated."""

    _: KW_ONLY
    sharpness: Annotated[int, Option("How sharp the result is.", Flag(metavar="N", least=1))] = 3


@dataclass(frozen=True)
class MoreCall(MoreOptions, AnalyzeCall):
    """What a door is made of."""


class Sharp(Diagonal):
    """An accumulator that reads it."""

    seen: list[int] = []  # noqa: RUF012 - for the test to look into

    @classmethod
    def candidate(cls, layer, setting):
        cls.seen.append(setting.options.sharpness)
        return Diagonal.candidate(layer, setting)


@door(MoreCall)
def sharp_analyze(call: MoreCall) -> streamspread.Spectra:
    """Analyze.

    Args:
        {options}
    """
    return analyze_with(call, call)


def test_one_more_field_is_an_argument_a_flag_help_and_provenance(tmp_path, monkeypatch):
    undo = METHODS.add("diagonal", Sharp)
    try:
        # From Python: an argument with its type, default and documentation.
        parameter = inspect.signature(sharp_analyze).parameters["sharpness"]
        assert (parameter.default, parameter.kind) == (3, inspect.Parameter.KEYWORD_ONLY)
        assert "sharpness: How sharp the result is." in sharp_analyze.__doc__
        model, data = nn.Sequential(nn.Linear(3, 4)), torch.randn(10, 3)
        spectra = sharp_analyze(model, data, method="diagonal", sharpness=5)
        assert spectra.provenance["options"]["sharpness"] == 5
        # On the command line: a flag with its help, and the same provenance.
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("streamspread.cli.commands.run.Options", MoreOptions)
        app = typer.Typer()
        app.command()(COMMANDS.get("run").function())
        helped = " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "300"}).output.split())
        assert "--sharpness N [x>=1] How sharp the result is. [default: 3]" in helped
        line = "--model plan:4 --weights none --data noise -n 16 --layers gap --method diagonal --out x.arrow"
        done = CliRunner().invoke(app, [*line.split(), "--sharpness", "7"], obj=["streamspread"])
        assert done.exit_code == 0, done.output
        assert streamspread.read("x.arrow").provenance["options"]["sharpness"] == 7
        # And the accumulator read it.
        assert set(Sharp.seen) == {5, 7}
    finally:
        undo()


@pytest.mark.parametrize("kind", [RunOptions, Options, EmbedOptions])
def test_every_field_is_documented_and_has_a_default(kind):
    options = kind()
    for one in documented(kind):
        assert option_of(one).text, one.name
        assert hasattr(options, one.name)
    assert {one.name for one in documented(kind)} == {one.name for one in fields(kind)}
    assert set(options.asked()) == {one.name for one in fields(kind)}


def test_analyze_plan_and_run_take_the_same_options():
    names = [one.name for one in documented(Options)]
    for function in (streamspread.analyze, streamspread.plan):
        parameters = inspect.signature(function).parameters
        assert list(parameters)[:4] == ["model", "data", "layers", "thresholds"]
        assert set(names) <= set(parameters)
        for one in documented(Options):
            assert parameters[one.name].default == one.default
            assert f"{one.name}: " in function.__doc__
    for name in ("run", "plan"):
        assert set(names) <= set(inspect.signature(COMMANDS.get(name).function()).parameters)


def test_grams_and_cka_take_what_every_run_takes():
    names = [one.name for one in documented(RunOptions)]
    parameters = inspect.signature(streamspread.grams).parameters
    assert list(parameters)[:3] == ["model", "data", "layers"]
    assert set(names) <= set(parameters)
    assert all(f"{name}: " in streamspread.grams.__doc__ for name in names)
    assert set(names) <= set(inspect.signature(COMMANDS.get("cka").function()).parameters)


def test_all_options_are_in_the_provenance():
    spectra = streamspread.analyze(
        nn.Sequential(nn.Linear(3, 4)), torch.randn(10, 3), seed=11, rank=2, memory=10**9
    )
    assert spectra.provenance["options"] == Options(seed=11, rank=2, memory=10**9).asked()
    assert spectra.provenance["options"]["thresholds"] == [0.7]


def test_a_wrong_argument_is_named_with_the_function():
    with pytest.raises(TypeError, match=r"analyze\(\): got an unexpected keyword argument 'metod'"):
        streamspread.analyze(nn.ReLU(), torch.zeros(2, 2), metod="gram")
    with pytest.raises(TypeError, match=r"plan\(\): missing a required argument: 'data'"):
        streamspread.plan(nn.ReLU())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "foo"}, "method 'foo' is unknown: choose from auto, covariance, gram, sketch"),
        ({"rounding": "fp8"}, "rounding 'fp8' is unknown: choose from auto, fp16, bf16, fp32, fp64"),
        ({"rank": 0}, "rank 0 is neither auto nor a positive number"),
        ({"rank": "many"}, "rank 'many' is neither auto nor a positive number"),
        ({"rank": 1.5}, "rank 1.5 is neither auto nor a positive number"),
        ({"width": -1}, "width -1 asked for; it must be a whole number, 0 or more"),
        ({"max_passes": 0}, "max passes 0 asked for; it must be a whole number, 1 or more"),
        ({"batch_size": 0}, "batch size 0 asked for; it must be a whole number, 1 or more"),
        ({"batch_size": "x"}, "batch size 'x' asked for; it must be a whole number, 1 or more"),
        ({"width": "x"}, "width 'x' asked for"),
        ({"max_passes": None}, "max passes None asked for"),
        ({"view": 3}, "view 3 is no text: choose from whole, position"),
        ({"seed": -1}, "seed -1 asked for"),
        ({"memory": "much"}, "memory 'much' is not a size"),
        ({"thresholds": (0.7, 2)}, r"thresholds must lie in \(0, 1\], got 2"),
        ({"thresholds": ()}, "no threshold given"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(wrong, message):
    def never():
        raise AssertionError("data was read")

    with pytest.raises(streamspread.StreamspreadError, match=message):
        Options(**wrong)
    with pytest.raises(streamspread.StreamspreadError, match=message):
        streamspread.analyze(nn.ReLU(), never, **wrong)


def test_an_embedding_needs_two_axes():
    with pytest.raises(OptionError, match="1 principal components asked for; a plane needs 2 or more"):
        EmbedOptions(axes=1)


def test_type_checkers_see_names_types_and_defaults(tmp_path):
    """mypy reads the doors as users' editors do; defaults show as optional arguments."""
    code = tmp_path / "user.py"
    code.write_text(
        "import streamspread\nfrom torch import nn\n"
        "reveal_type(streamspread.analyze)\n"
        "streamspread.analyze(nn.ReLU(), 3, 'all', (0.7,), method='gram', rank=5)\n"
        "streamspread.analyze(nn.ReLU(), data=3, metod='gram')\n"
        "streamspread.plan(nn.ReLU(), 3, rank=[])\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(code)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    seen = done.stdout
    assert "def (model: torch.nn.modules.module.Module, data: Any, layers: str | " in seen, seen + done.stderr
    for part in ("method: str =", "rank: str | int =", "seed: int =", "proof: bool ="):
        assert part in seen
    assert 'user.py:5: error: Unexpected keyword argument "metod"' in seen
    assert 'user.py:6: error: Argument "rank"' in seen
    assert "Found 2 errors in 1 file" in seen


def test_subject_is_what_every_door_is_given_first():
    assert [one.name for one in fields(Subject)] == ["model", "data", "forward"]
