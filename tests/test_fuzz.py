"""Some of what ``make fuzz`` gives: whatever is wrong, it is said in one line."""

from tests.fuzz import GROUPS, REFUSED, TAKEN, fuzz, numbers, table


def test_malformed_inputs_of_every_group_are_one_line():
    outcomes = fuzz(110, 1)
    others = [one for one in outcomes if one.became not in (REFUSED, TAKEN)]
    assert others == []
    assert {one.group for one in outcomes} == set(GROUPS)
    assert sum(one.became == REFUSED for one in outcomes) > len(outcomes) / 2
    assert len(table(outcomes)) == len(GROUPS) + 2


def test_the_numbers_of_cases_are_shares_of_all():
    assert sum(numbers(5000).values()) == 5000
