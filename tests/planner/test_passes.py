"""Which layers share a pass, and how many passes there are."""

import pytest

from streamspread.errors import BudgetError, DataError
from tests.networks import advised
from tests.shapes import CUDA, GIB, MIB, NO1, layer, planned


def test_one_pass_where_everything_fits():
    plan = planned(NO1, 2000, 60 * GIB, CUDA, "fp16")
    assert len(plan.passes) == 1
    assert plan.passes[0].layers == tuple(one.name for one in NO1)
    assert plan.passes[0].deepest == "gap"


def test_less_memory_means_more_passes():
    plan = planned(NO1, 5000, 2 * GIB, method="gram")
    fewer = planned(NO1, 5000, 8 * GIB, method="gram")
    assert len(plan.passes) > len(fewer.passes) > 1
    assert plan.passes[0].layers[0] == fewer.passes[0].layers[0] == "c1"


def test_data_in_another_order_each_time_takes_no_second_tile():
    budget = 40 * MIB
    assert planned([layer(65536)], 500, budget).layers[0].passes > 1
    with pytest.raises(BudgetError, match=r"fits by no method .* gram: needs 1\d\dMiB") as caught:
        planned([layer(65536)], 500, budget, ordered=False)
    enough = advised(caught)
    assert planned([layer(65536)], 500, enough, ordered=False).layers[0].passes == 1


def test_a_one_shot_iterator_is_taken_for_one_pass_only():
    layers = [layer(4096, "a"), layer(4096, "b")]
    assert len(planned(layers, None, 2 * GIB, repeatable=False).passes) == 1
    one = planned(layers[:1], None, 2 * GIB).peak_bytes
    with pytest.raises(
        DataError, match=r"2 passes are needed and the data is a one-shot iterator: give a callable"
    ):
        planned(layers, None, one, repeatable=False)
