"""What holds for every command: help, version, exit codes, one line per error."""

import os
import re
import subprocess
import sys

import pytest

import streamspread
from streamspread import store
from streamspread.errors import DataError
from streamspread.spectrum import Spectra

COMMANDS = ["run", "plan", "layers", "show", "report", "study", "embed", "train"]


def test_version(cli):
    assert cli("--version") == (0, f"streamspread {streamspread.__version__}\n", "")


def test_no_command_shows_the_commands(cli):
    code, out, err = cli()
    assert (code, err) == (0, "")
    assert all(re.search(rf"^│ {command} ", out, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_examples_that_call_it(cli, command):
    code, out, err = cli(command, "--help")
    assert (code, err) == (0, "")
    assert "Examples:" in out
    assert out.count(f"streamspread {command}") >= 3  # the usage line and two examples
    assert cli(command, "-h").out == out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["walk"], "No such command 'walk'"),
        (["run", "--fast"], "No such option: --fast"),
        (["run", "--samples", "many"], "'--samples'"),
        (["run", "--split", "half"], "'--split'"),
        (["run", "--format", "xml"], "'--format'"),
        (["run", "--batch-size", "0"], "'--batch-size'"),
        (["run", "--image-size", "0"], "'--image-size'"),
        (["run", "--model"], "--model"),
        (["show"], "Missing argument"),
        (["layers", "extra"], "extra"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(cli, arguments, words):
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert words in err
    assert err.count("\n") == 1
    assert "--help" in err


def test_an_error_of_the_library_is_one_line_even_if_it_has_two(cli, monkeypatch):
    def fail(path):
        raise DataError("first\nsecond")

    monkeypatch.setattr(store, "read", fail)
    assert cli("show", "x.arrow") == (2, "", "error: first second\n")


def test_a_defect_keeps_its_traceback(cli, monkeypatch):
    def fail(path):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(store, "read", fail)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        cli("show", "x.arrow")


def test_an_interruption_is_one_line_and_exit_code_130(cli, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "read", interrupt)
    assert cli("show", "x.arrow") == (130, "", "interrupted\n")


def process(*arguments, **options):
    command = [sys.executable, "-m", "streamspread", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, **options)


def test_a_process_exits_with_the_code(tmp_path):
    done = process("show", "missing.arrow", stdout=subprocess.PIPE, cwd=tmp_path, env=environment())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no such file: 'missing.arrow'")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_went_away_is_no_defect(tmp_path):
    path = tmp_path / "none.arrow"
    store.write(Spectra([]), path)
    reading, writing = os.pipe()
    os.close(reading)
    done = process("show", str(path), stdout=writing, env=environment())
    os.close(writing)
    assert "Traceback" not in done.stderr
    assert done.returncode != 0


def test_an_ascii_output_does_not_crash(tmp_path):
    path = tmp_path / "none.arrow"
    store.write(Spectra([], provenance={"title": "64×32×32 · 239…243"}), path)
    done = process("show", str(path), stdout=subprocess.PIPE, env=environment(PYTHONIOENCODING="ascii"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "64?32?32" in done.stdout


def environment(**more):
    root = os.path.dirname(os.path.dirname(streamspread.__file__))
    return os.environ | {"PYTHONPATH": root} | more
