"""No bound is wrong, and no K is open without need: 2,000 generated cases; 100,000 by `make truth`."""

import pytest

from tests.networks import one_thread
from tests.truth.cases import NAMES, attack

CASES = 67  # of every category


@pytest.mark.parametrize("category", NAMES)
def test_no_bound_is_wrong_and_none_is_open_without_need(category):
    with one_thread():
        outcomes = [outcome for seed in range(CASES) for outcome in attack(category, seed)]
    wrong = [outcome for outcome in outcomes if outcome.misses]
    assert not wrong, f"{len(wrong)} of {len(outcomes)}:\n" + "\n".join(map(str, wrong[:10]))
    open_ = [outcome for outcome in outcomes if outcome.needless and not outcome.sketched]
    assert not open_, f"open at {len(open_)} of {len(outcomes)}:\n" + "\n".join(map(str, open_[:10]))
