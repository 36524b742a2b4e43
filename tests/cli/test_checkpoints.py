"""``run --checkpoint``: ended by a signal it says so as any program does, and goes on where it was."""

import os
import signal
import subprocess
import sys

import pytest

import streamspread
from streamspread.cli import main
from streamspread.engine import checkpoints
from streamspread.errors import StoreError
from tests.bits import bits
from tests.fresh import ROOT

ARGUMENTS = "run --model plan:4,M,8 --weights none --data noise -n 60 --layers all --batch-size 10"
ARGUMENTS += " --rounding fp32 --quiet"

CHILD = """
import os, signal, sys
from streamspread.cli import main
from streamspread.engine import checkpoints
state, calls = checkpoints.Keeper.offer, []
def offer(self, asked):
    calls.append(None)
    if len(calls) == 3:
        os.kill(os.getpid(), int(sys.argv[1]))
    state(self, asked)
checkpoints.Keeper.offer = offer
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_a_checkpoint_that_the_same_command_goes_on_from(number, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = [*ARGUMENTS.split(), "--checkpoint", "run.ck", "--out", "run.arrow"]
    child = [sys.executable, "-c", CHILD, str(int(number)), *line]
    done = subprocess.run(child, capture_output=True, text=True, cwd=tmp_path, env=_path(), check=False)
    assert done.returncode == code, done.stderr
    assert (tmp_path / "run.ck").is_file()
    assert not (tmp_path / "run.arrow").exists()
    assert main(line) == 0
    assert not (tmp_path / "run.ck").exists()
    assert main([*ARGUMENTS.split(), "--out", "whole.arrow"]) == 0
    resumed, whole = streamspread.read("run.arrow"), streamspread.read("whole.arrow")
    assert bits(resumed) == bits(whole)
    notes = resumed.provenance["notes"]
    assert any(note == "resumed from a checkpoint, pass 1, 30 samples into it" for note in notes)


def test_a_result_that_cannot_be_written_is_not_computed_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = [*ARGUMENTS.split(), "--checkpoint", "run.ck", "--out", "run.arrow"]
    with monkeypatch.context() as full:

        def write(spectra, path):
            raise StoreError("the disk is full")

        full.setattr("streamspread.store.write", write)
        assert main(line) == 2
    monkeypatch.setattr(checkpoints.Keeper, "offer", None)  # nothing is summed
    assert main(line) == 0
    assert list(streamspread.read("run.arrow")) != []
    assert not (tmp_path / "run.ck").exists()


def test_what_is_no_checkpoint_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("not to be lost")
    assert main([*ARGUMENTS.split(), "--checkpoint", "notes.txt"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: 'notes.txt' is no whole checkpoint")
    assert "\n" not in said
    assert (tmp_path / "notes.txt").read_text() == "not to be lost"


def _path():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_a_result_is_not_written_over_its_checkpoint(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*ARGUMENTS.split(), "--checkpoint", "./x.arrow", "--out", "x.arrow"]) == 2
    assert capsys.readouterr().err == "error: --checkpoint and --out name one file, 'x.arrow': give two\n"
    assert list(tmp_path.iterdir()) == []
