"""What names and titles hold reaches a terminal as text; what goes to files and pipes is as it is."""

import json
import sys

import pytest

from streamspread import store
from streamspread.results.spectra import Spectra
from tests.spectra import layer

EVIL = "c\x1b]0;owned\x07\x9b2J"


@pytest.fixture
def evil(tmp_path):
    path = tmp_path / "evil.arrow"
    facts = {"title": f"no1 {EVIL}", "notes": [f"seen {EVIL}"], "command": ["streamspread", "```\n# owned"]}
    store.write(Spectra([layer(EVIL)], provenance=facts), path)
    return path


class Terminal:
    """Standard output as if it were a terminal."""

    def __init__(self, stream):
        self.stream = stream

    def isatty(self):
        return True

    def __getattr__(self, name):
        return getattr(self.stream, name)


def controls(text):
    return {c for c in text if c in "\x07\x1b\x9b"}


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_no_layer_name_or_title_commands_a_terminal(cli, evil, form, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal(sys.stdout))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("NO_COLOR", "1")
    code, out, _ = cli("show", evil, "--format", form)
    assert code == 0
    assert controls(out) == set()
    assert "x1b]0;owned" in out or "u001b]0;owned" in out


def test_a_pipe_gets_the_names_as_they_are(cli, evil):
    assert json.loads(cli("show", evil, "--format", "json").out)["layers"][0]["layer"] == EVIL


def test_a_command_does_not_leave_its_fence(cli, evil):
    text = cli("report", evil, "--format", "markdown").out
    *_, fenced = text.split("### ")
    fence = fenced.splitlines()[2]
    assert fence == "````"
    assert fenced.rstrip().endswith("# owned'\n````")


@pytest.mark.parametrize("flag", ["--thresholds", "--method", "--data", "--model", "--memory", "--layers"])
def test_a_value_that_is_echoed_is_cut_at_a_readable_length(cli, flag):
    code, out, err = cli(
        "run",
        "-q",
        "--samples",
        "9",
        "--data",
        "noise",
        "--model",
        "plan:4",
        "--weights",
        "none",
        flag,
        "x" * 100_000,
    )
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert " … " in err
    assert len(err) < 1_100
