"""Whether a server answers: told in time, also where nothing ever comes."""

import threading
import time

import pytest

from streamspread.system.downloads import expect_answer


def test_a_server_that_says_nothing_is_given_up_in_time(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: over.wait(60))
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
        expect_answer("https://example.org", 0.2)
    assert time.monotonic() - start < 30
    over.set()


def test_a_refusal_is_passed_on(monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionRefusedError("go away")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(ConnectionRefusedError, match="go away"):
        expect_answer("https://example.org", 5)


def test_an_answer_is_enough(monkeypatch):
    import contextlib

    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: contextlib.nullcontext())
    expect_answer("https://example.org", 5)
