"""Nothing that a text holds is obeyed by a terminal."""

import pytest

from streamspread.system.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("c1.bn · 64×32 猫 ñ", "c1.bn · 64×32 猫 ñ"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b31m", "\\x9b31m"),
        ("gap\u202egnp", "gap\\u202egnp"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, shown):
    assert printable(text) == shown
