"""The command line run in this process, in an empty folder."""

from typing import NamedTuple

import pytest

from streamspread.cli import main


class Result(NamedTuple):
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(tmp_path, tmp_path_factory, monkeypatch, capsys):
    """Runs ``cli("run", "--model", …)`` in tmp_path and returns a Result."""
    monkeypatch.chdir(tmp_path)
    # No CIFAR-10, whatever this machine has: a folder that is there but empty is not downloaded either.
    root = tmp_path_factory.mktemp("data")
    (root / "cifar-10-batches-py").mkdir()
    monkeypatch.setenv("STREAMSPREAD_DATA", str(root))
    monkeypatch.setattr("streamspread.system.progress_display.EVERY", 1e6)  # however slow the machine is

    def run(*arguments: str) -> Result:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


TINY = ("--model", "plan:4,M,6", "--weights", "none", "--data", "noise", "--samples", "24", "--device", "cpu")


@pytest.fixture
def tiny():
    """Options of run and plan that take a moment on any machine."""
    return TINY
