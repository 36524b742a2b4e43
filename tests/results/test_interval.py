"""An interval is a number where it is closed, and says what is proved where it is not."""

import operator
import pickle

import numpy as np
import pytest
import torch

from streamspread.results.interval import Interval

CLOSED, OPEN = Interval(241, 241), Interval(239, 243)


def test_a_closed_one_is_a_number():
    assert int(CLOSED) == operator.index(CLOSED) == CLOSED.value == 241
    assert float(Interval(0.25, 0.25)) == 0.25
    assert list(range(CLOSED))[-1] == 240
    assert np.arange(1000)[:CLOSED].shape == (241,)
    assert CLOSED == 241
    assert CLOSED != 240
    assert CLOSED < 242 <= Interval(242, 242) < 243.5
    assert not CLOSED < 241
    assert max(CLOSED, Interval(7, 7)) == 241


def test_a_closed_one_is_reckoned_with():
    assert CLOSED + 1 == 1 + CLOSED == sum([CLOSED, 1]) == 242
    assert (CLOSED - 1, 500 - CLOSED, CLOSED - Interval(41, 41)) == (240, 259, 200)
    assert CLOSED * 2 == 2 * CLOSED == 482  # and not the pair four times
    assert (CLOSED / 482, 482 / CLOSED, CLOSED // 2, 500 // CLOSED) == (0.5, 2.0, 120, 2)
    assert (CLOSED % 2, 500 % CLOSED, CLOSED**2, 2 ** Interval(3, 3)) == (1, 18, 58081, 8)
    assert (-CLOSED, abs(CLOSED), round(Interval(0.126, 0.126), 2)) == (-241, 241, 0.13)
    assert (bool(CLOSED), bool(Interval(0, 0))) == (True, False)


def test_a_closed_one_is_reckoned_with_beside_numbers_of_numpy_and_torch():
    assert np.float64(2) * CLOSED == np.int64(481) - CLOSED + 242 == 482
    assert (np.arange(3) + CLOSED).tolist() == (CLOSED + np.arange(3)).tolist() == [241, 242, 243]
    assert (torch.arange(3) * CLOSED).tolist() == (CLOSED * torch.arange(3)).tolist() == [0, 241, 482]


@pytest.mark.parametrize(
    "reckon", [lambda k: k + 1, lambda k: 2 * k, lambda k: k - k, abs, round, operator.neg]
)
def test_an_open_one_is_not_reckoned_with(reckon):
    with pytest.raises(ValueError, match=r"239…243 is an interval .* take its \.low or \.high"):
        reckon(OPEN)
    with pytest.raises(ValueError, match=r"whether 0…3 == 0 is not known"):
        bool(Interval(0, 3))


@pytest.mark.parametrize("as_number", [int, float, operator.index, range])
def test_an_open_one_is_no_number(as_number):
    with pytest.raises(
        ValueError, match=r"239…243 is an interval .* not one number: take its \.low or \.high"
    ):
        as_number(OPEN)


@pytest.mark.parametrize(
    ("compare", "true", "false", "unknown"),
    [
        (operator.lt, (244, 243.5), (239, 100), (240, 243)),
        (operator.le, (243, 244), (238, 100), (239, 242)),
        (operator.gt, (238, 100), (243, 244), (239, 242)),
        (operator.ge, (239, 100), (244, 243.5), (240, 243)),
        (operator.ne, (238, 244), (), (239, 241, 243)),
        (operator.eq, (), (238, 244), (239, 241, 243)),
    ],
)
def test_an_open_one_compares_where_all_its_values_do(compare, true, false, unknown):
    assert all(compare(OPEN, number) is True for number in true)
    assert all(compare(OPEN, number) is False for number in false)
    for number in unknown:
        with pytest.raises(ValueError, match=rf"whether 239…243 [<>=]+ {number} is not known"):
            compare(OPEN, number)


@pytest.mark.parametrize("kind", [np.int64, np.float32, np.float64])
def test_numbers_of_numpy_on_the_left_are_numbers_too(kind):
    assert (kind(241) == CLOSED) is True
    assert (kind(241) != CLOSED) is False
    assert (kind(250) > OPEN) is True
    assert (kind(250) <= OPEN) is False
    with pytest.raises(ValueError, match=r"whether 239…243 < 240.* is not known"):
        _ = kind(240) > OPEN
    with pytest.raises(TypeError, match="not supported between"):
        _ = np.arange(3) < OPEN


def test_it_is_still_a_pair():
    low, high = OPEN
    assert (low, high) == OPEN == (239, 243)
    assert Interval(239, 243) == OPEN != Interval(239, 244)
    assert hash(OPEN) == hash((239, 243))
    assert OPEN != "239…243"
    assert OPEN < (240, 0)  # as any pair
    assert pickle.loads(pickle.dumps(OPEN)) == OPEN
    assert np.asarray(OPEN).tolist() == [239, 243]
