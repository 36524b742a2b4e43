"""A short soak; ``make soak`` is of a thousand analyses."""

from tests.soak import MOST_BYTES, Held, leaks, soak


def test_seventy_analyses_leave_nothing_behind():
    before, after = soak(70, warm=35)
    assert leaks(before, after, 35) == []


def test_what_grows_is_named():
    flat = Held(100, 5, 2, 0, 9)
    assert leaks(flat, flat, 10) == []
    assert leaks(flat, flat._replace(files=6, hooks=1), 10) == ["files: 5 became 6", "hooks: 0 became 1"]
    (line,) = leaks(flat, flat._replace(resident=(40 << 20) + 10 * MOST_BYTES), 10)
    assert line.startswith("resident bytes: 100 became ")
