"""The study's room can be deleted: reports and the command line work without it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streamspread import store
from streamspread.results.spectra import Spectra
from tests.fresh import environment
from tests.spectra import layer

PACKAGE = Path(__file__).parents[2] / "streamspread"


@pytest.fixture(scope="module")
def without_study(tmp_path_factory):
    """Runs a command line of a copy of the package in which there is no ``study``."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, folder / "streamspread", ignore=shutil.ignore_patterns("study", "__pycache__"))
    store.write(Spectra([layer()]), folder / "one.arrow")

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "streamspread", *arguments],
            cwd=folder,
            env=environment(PYTHONPATH=str(folder)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_help_lists_all_other_commands(without_study):
    listed = without_study("--help")
    assert "report" in listed
    assert "study " not in listed


def test_results_are_shown_and_reported(without_study):
    assert "K(0.7)" in without_study("show", "one.arrow")
    assert "| layer |" in without_study("report", "one.arrow", "--format", "markdown")
    assert without_study("report", "one.arrow").strip().endswith("index.html")
