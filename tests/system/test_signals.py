"""Signals are held back, passed on, or taken as Ctrl-C; and everything is afterwards as it was."""

import os
import signal
import threading
from types import SimpleNamespace

import pytest

from streamspread.system.process import Held, as_ctrl_c

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def as_before():
    before = [signal.getsignal(number) for number in ENDING]
    yield
    assert [signal.getsignal(number) for number in ENDING] == before


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_they_are_taken_as_ctrl_c(number):
    with pytest.raises(KeyboardInterrupt), as_ctrl_c() as came:
        send(number)
    assert came.number == number


def test_of_several_processes_none_outlives_its_signal(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with as_ctrl_c():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("number", ENDING)
def test_one_is_held_until_it_is_passed_on(number):
    seen = []

    def hold():
        with as_ctrl_c(), Held() as held:
            send(number)
            seen.append(held.came)
            held.pass_on(held.came)
            seen.append("it was lost")

    with pytest.raises(KeyboardInterrupt):
        hold()
    assert seen == [number]


def test_a_second_one_waits_for_nothing():
    seen = []

    def hold():
        with Held():
            send(signal.SIGINT)
            seen.append("held")
            send(signal.SIGINT)
            seen.append("held too")

    with pytest.raises(KeyboardInterrupt):
        hold()
    assert seen == ["held"]


def test_one_that_follows_at_once_is_the_same_where_launchers_pass_it_on(monkeypatch):
    seen, now = [], [100.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("streamspread.system.process.time", clock)

    def hold():
        with Held(apart=0.2):
            send(signal.SIGINT)
            send(signal.SIGINT)
            seen.append("held")
            now[0] += 0.21
            send(signal.SIGINT)
            seen.append("held too")

    with pytest.raises(KeyboardInterrupt):
        hold()
    assert seen == ["held"]


def test_one_that_came_to_another_process_has_its_effect_here():
    with pytest.raises(KeyboardInterrupt), Held() as held:
        held.pass_on(signal.SIGINT)


def test_what_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with as_ctrl_c() as came, Held() as held:
            send(signal.SIGHUP)
        assert (came.number, held.came) == (0, None)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_threads_are_left_alone():
    done = []

    def run():
        with as_ctrl_c(), Held():
            done.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done == [signal.SIG_DFL]
