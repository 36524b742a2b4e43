"""Progress off a terminal, and how long a run will still take."""

import threading

import pytest

from streamspread.system import progress
from streamspread.system.progress import Left, Progress, doing, heard, silent, speed, telling
from streamspread.system.progress_display import lines


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr("streamspread.system.progress_display.time", clock)
    return clock


def event(done, whole=None, stage="pass", unit="images", total=500):
    return Progress(stage, 1, 2, done, total, unit, "c1 … gap", whole)


def test_a_line_comes_without_anybody_asking_and_none_after_the_end():
    said, came = [], threading.Event()

    def say(line):
        said.append(line)
        came.set()

    with lines(say, every=0.01) as see:
        see(event(0))
        assert came.wait(20)
    count = len(said)
    assert said[0].startswith("pass 1 of 2: c1 … gap: 0 of 500 images")
    came.clear()
    assert not came.wait(0.05)
    assert len(said) == count


def test_a_line_has_what_is_done_how_fast_and_what_is_left(clock):
    from streamspread.system.progress_display import _Log

    log = _Log()
    log.see(event(0, 0.1))
    clock.now += 20
    log.see(event(100, 0.2))
    assert log.line() == "pass 1 of 2: c1 … gap: 100 of 500 images, 5.0 images/s, about 2.7 minutes left"
    clock.now += 60
    assert log.line().endswith("about 100 s left") or "minutes left" in log.line()
    log.see(event(30, None, "all eigenvalues", "%", 100))
    assert "30 %" in log.line()


@pytest.mark.parametrize(
    ("per_second", "unit", "expected"),
    [
        (61.4, "images", "61 images/s"),
        (3.44, "layers", "3.4 layers/s"),
        (0.4, "layers", "2.5 s/layer"),
        (0.001, "images", "1,000 s/image"),
        (0.0, "layers", ""),
        (5.0, "%", ""),
    ],
)
def test_speeds_below_one_are_times(per_second, unit, expected):
    assert speed(per_second, unit) == expected


def test_what_is_left_is_told_by_what_went_before(clock):
    left = Left()
    assert (left.seconds, left.share) == (None, None)
    left.see(event(0, None))
    assert left.share is None
    left.see(event(0, 0.5))  # a run that was taken up again
    assert left.seconds is None
    clock.now += 10
    left.see(event(0, 0.75))
    assert left.seconds == pytest.approx(10.0)
    clock.now += 4
    assert left.seconds == pytest.approx(6.0)
    left.see(event(0, 0.6))  # brings no time back
    assert left.share == 0.75
    clock.now += 40
    assert left.seconds == 0.0


def test_what_is_done_is_told_to_whoever_listens():
    told = []
    doing("nothing")
    assert heard() is silent
    with telling(told.append):
        assert heard() is not silent
        doing("opening no1")
    with telling(silent):
        assert heard() is silent
    assert [one.stage for one in told] == ["opening no1"]
