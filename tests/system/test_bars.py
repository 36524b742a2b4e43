"""Who is told of progress: a function, bars, or nobody."""

import sys
from types import SimpleNamespace

import pytest

from streamspread.errors import OptionError
from streamspread.system import progress_display
from streamspread.system.progress import Progress, silent
from streamspread.system.progress_display import shown

EVENT = Progress("pass", 1, 2, 0, 100, "samples", "c1")


@pytest.mark.parametrize("quiet", [None, False, "auto"])
def test_a_script_is_silent(quiet, monkeypatch):
    monkeypatch.delattr(sys, "ps1", raising=False)
    with shown(quiet) as report:
        assert report is silent


def test_a_function_is_called_itself():
    seen = []
    with shown(seen.append) as report:
        report(EVENT)
    assert seen == [EVENT]


def test_true_draws_bars_on_stderr(capsys):
    with shown(True) as report:
        report(EVENT)
        report(Progress("pass", 1, 2, 100, 100, "samples", "c1"))
    out, err = capsys.readouterr()
    assert out == ""
    assert "pass 1 of 2: c1" in err
    assert "100/100" in err


@pytest.mark.parametrize(
    ("prompt", "terminal", "watched"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_auto_looks_for_a_prompt_on_a_terminal(monkeypatch, prompt, terminal, watched):
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    if not prompt:
        monkeypatch.delattr(sys, "ps1")
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: terminal, write=len, flush=int))
    assert progress_display._is_watched() is watched


@pytest.mark.parametrize("widgets", [True, False])
def test_auto_looks_for_a_notebook_that_can_show_bars(monkeypatch, widgets):
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(
        progress_display, "find_spec", lambda name: name if widgets and name == "ipywidgets" else None
    )
    assert progress_display._is_watched() is widgets


def test_anything_else_is_refused():
    with (
        pytest.raises(OptionError, match="progress 'yes' asked for; it is True, False, 'auto' or a function"),
        shown("yes"),
    ):
        pass
