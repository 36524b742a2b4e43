"""Messages are one line of bounded words, whatever they echo."""

import pytest

from streamspread.errors import LONGEST_WORD, OptionError


@pytest.mark.parametrize("length", [1, LONGEST_WORD, LONGEST_WORD + 1, 10_000])
def test_a_long_word_is_cut_in_the_middle(length):
    word = "a" * (length // 2) + "b" * (length - length // 2)
    line = str(OptionError(f"no layer {word!r}:\n  take another"))
    if length + 3 <= LONGEST_WORD:
        assert line == f"no layer {word!r}: take another"
    else:
        assert line.startswith("no layer 'aaa")
        assert line.endswith("bbb': take another")
        assert max(len(part) for part in line.split()) == LONGEST_WORD
