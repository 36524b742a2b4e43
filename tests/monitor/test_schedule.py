"""Which steps are due."""

import pytest

from streamspread.errors import OptionError
from streamspread.monitor.settings import Schedule


@pytest.mark.parametrize(
    ("every", "due", "text"),
    [
        (3, [0, 3, 6, 9], "every 3 steps"),
        ([0, 1, 7], [0, 1, 7], "at 3 chosen steps"),
        (range(2, 5), [2, 3, 4], "at 3 chosen steps"),
        (lambda step: step > 7, [8, 9], "at the steps that a function says"),
    ],
)
def test_steps_are_due(every, due, text):
    schedule = Schedule(every)
    assert [step for step in range(10) if schedule.due(step)] == due
    assert str(schedule) == text


@pytest.mark.parametrize(
    ("every", "match"),
    [
        (0, "every 0 steps asked for"),
        (True, "every True steps asked for"),
        ("often", "every 'often' steps asked for"),
        (2.5, "every 2.5 steps asked for"),
        ([], "no step asked for"),
        ([1, -1], "step -1 asked for"),
    ],
)
def test_what_tells_no_steps_is_refused(every, match):
    with pytest.raises(OptionError, match=match):
        Schedule(every)
