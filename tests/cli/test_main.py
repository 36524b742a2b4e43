"""What holds for every command: help, version, exit codes, one line per error."""

import os
import re
import subprocess
import sys

import pytest

from streamspread import store
from streamspread.errors import DataError, StoreError
from streamspread.results.spectra import Spectra
from tests.fresh import environment

_WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")

COMMANDS = ["run", "plan", "layers", "show", "report", "study", "embed", "cka", "train"]


def test_no_command_shows_the_commands(cli):
    code, out, err = cli()
    assert (code, err) == (0, "")
    assert all(re.search(rf"^│ {command} ", out, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["walk"], "No such command 'walk'"),
        (["run", "--fast"], "--fast"),
        (["run", "--samples", "many"], "'--samples'"),
        (["run", "--split", "half"], "'--split'"),
        (["run", "--format", "xml"], "'--format'"),
        (["run", "--batch-size", "0"], "'--batch-size'"),
        (["run", "--image-size", "0"], "'--image-size'"),
        (["run", "--model"], "--model' requires an argument (see streamspread run --help)"),
        (["--samples"], "(see streamspread --help)"),
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

    monkeypatch.setattr(store, "is_history", fail)
    assert cli("show", "x.arrow") == (2, "", "error: first second\n")


def test_a_defect_keeps_its_traceback(cli, monkeypatch):
    def fail(path):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(store, "is_history", fail)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        cli("show", "x.arrow")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError("Unable to allocate 745. GiB for an array"), "not enough memory: give fewer --samples"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "not enough memory: "),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "not enough memory: "),
        (OverflowError("Python int too large to convert to C long"), "a number is too large (Python int"),
    ],
)
def test_what_is_too_much_for_the_machine_is_one_line(cli, monkeypatch, error, words):
    def fail(path):
        raise error

    monkeypatch.setattr(store, "is_history", fail)
    code, out, err = cli("show", "x.arrow")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {words}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "error", [RuntimeError("a defect"), OSError(2, "a defect", "x"), OSError("a defect")]
)
def test_other_errors_of_these_kinds_are_defects(cli, monkeypatch, error):
    def fail(path):
        raise error

    monkeypatch.setattr(store, "is_history", fail)
    with pytest.raises(type(error), match="a defect"):
        cli("show", "x.arrow")


def test_an_interruption_is_one_line_and_exit_code_130(cli, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "is_history", interrupt)
    assert cli("show", "x.arrow") == (130, "", "interrupted\n")


def process(*arguments, **options):
    command = [sys.executable, "-m", "streamspread", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, **options)


def test_a_process_exits_with_the_code(tmp_path):
    done = process("show", "missing.arrow", stdout=subprocess.PIPE, cwd=tmp_path, env=environment())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no such file: 'missing.arrow'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_reader_that_went_away_is_no_defect(tmp_path, form):
    path = tmp_path / "none.arrow"
    store.write(Spectra([]), path)
    reading, writing = os.pipe()
    os.close(reading)
    done = process("show", str(path), "--format", form, stdout=writing, env=environment())
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_ascii_output_does_not_crash(tmp_path):
    path = tmp_path / "none.arrow"
    store.write(Spectra([], provenance={"title": "64×32×32 · 239…243"}), path)
    done = process("show", str(path), stdout=subprocess.PIPE, env=environment(PYTHONIOENCODING="ascii"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "64?32?32" in done.stdout


def test_libraries_are_not_looked_for_in_the_current_folder(tmp_path):
    for name in ("typer", "torch", "pyarrow", "rich", "numpy"):
        (tmp_path / f"{name}.py").write_text("print('taken from here')\nraise SystemExit(7)\n")
    (tmp_path / "own.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Conv2d(3, 4, 1))\n"
    )
    done = process("layers", "--model", "own:make", stdout=subprocess.PIPE, cwd=tmp_path, env=environment())
    assert (done.returncode, done.stderr) == (0, "")
    assert "taken from here" not in done.stdout
    assert "4" in done.stdout


@pytest.fixture
def stored(tmp_path):
    """An empty result, s.arrow, in tmp_path."""
    store.write(Spectra([]), tmp_path / "s.arrow")
    return tmp_path


def shell(folder, arguments, redirection):
    """``streamspread`` in a shell, with redirections that Python cannot ask for."""
    line = f'"$0" -m streamspread {arguments} {redirection}'
    command = ["bash", "-c", line, sys.executable]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, env=environment())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments",
    ["show s.arrow", "show s.arrow --format json", "layers --model plan:4", "--version", "run --help"],
)
def test_an_output_that_is_full_is_one_line_and_exit_code_2(stored, arguments):
    done = shell(stored, arguments, ">/dev/full")
    said = "error: cannot write to standard output: No space left on device\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.parametrize("arguments", ["show s.arrow", "show s.arrow --format json", "--version"])
def test_an_output_that_is_closed_is_one_line_and_exit_code_2(stored, arguments):
    done = shell(stored, arguments, ">&-")
    said = "error: standard output is closed: send it to a file, or to /dev/null\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.parametrize(("arguments", "code"), [("show s.arrow", 0), ("show missing.arrow", 2)])
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_notes_that_nobody_can_hear_change_nothing(stored, arguments, code, redirection):
    if "full" in redirection and not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    done = shell(stored, arguments, redirection)
    assert (done.returncode, done.stderr) == (code, "")
    assert ("no layers" in done.stdout) == (code == 0)


def test_a_run_whose_notes_nobody_hears_is_done_all_the_same(stored, tiny):
    done = shell(stored, " ".join(["run", *tiny, "--out", "r.arrow"]), "2>&-")
    assert (done.returncode, done.stderr) == (0, "")
    assert "c1" in done.stdout
    assert (stored / "r.arrow").is_file()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_run_whose_table_cannot_be_printed_is_written_all_the_same(stored, tiny):
    done = shell(stored, " ".join(["run", *tiny, "--out", "r.arrow"]), ">/dev/full")
    assert done.returncode == 2
    assert list(store.read(stored / "r.arrow")) == ["c1", "c2", "gap"]


def test_a_table_is_printed_before_the_disk_turns_out_to_be_full(cli, tiny, monkeypatch):
    def full(spectra, path):
        raise StoreError("cannot write 'r.arrow': No space left on device: give another path")

    monkeypatch.setattr(store, "write", full)
    code, out, err = cli("run", *tiny, "--out", "r.arrow", "--quiet")
    assert (code, err) == (2, "error: cannot write 'r.arrow': No space left on device: give another path\n")
    assert "gap" in out


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "2000 None"),
        ({"GOMP_SPINCOUNT": "7"}, "7 None"),
        ({"OMP_WAIT_POLICY": "active"}, "None active"),
    ],
)
def test_idle_threads_sleep_soon_unless_it_is_said_otherwise(said, expected):
    code = (
        "import os, sys; from streamspread import cli\n"
        "assert 'torch' not in sys.modules and 'numba' not in sys.modules\n"
        "sys.argv = ['streamspread', '-V']; cli.main()\n"
        "print(*map(os.environ.get, ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')))"
    )
    given = {name: value for name, value in environment().items() if name not in _WAITING} | said
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=given)
    assert done.stdout.splitlines()[-1] == expected
