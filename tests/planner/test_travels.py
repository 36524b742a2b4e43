"""What goes between processes that share a plan: how many bytes, how long, where it outweighs the sums."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from streamspread.accumulators.costs import NOTHING, Travels, Wire
from streamspread.engine.plan import Pace, outlook
from streamspread.ranks import Ranks
from streamspread.reports.plan_table import outlook_lines, print_plan
from streamspread.system.devices import CPU
from tests.shapes import GIB, layer, planned

N, D = 1000, 16_384
FAST, SLOW = Wire(1e12, 1e12, 1e12), Wire(1e6, 1e6, 1e6)
PACE = Pace(products=1e12, forward=0.01, operations=1e6)


class Several(Ranks):
    def __init__(self, size):
        self.size = size


def plan(size, method, budget=60 * GIB, dim=D, **more):
    more = {"ranks": Several(size), "shares": size, "method": method, "estimate": False, **more}
    return planned([layer(dim)], N, budget, **more)


@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
def test_of_one_process_nothing_travels(method):
    alone = plan(1, method)
    assert alone.layers[0].candidate.travels == NOTHING
    assert alone.sent_bytes == 0.0
    assert not outlook(alone, PACE, CPU).wire


def test_rows_of_a_covariance_go_to_all_and_columns_are_dealt_in_every_pass():
    def travels(method, **more):
        (row,) = plan(4, method, **more).layers
        return row.candidate.travels, row.passes

    covariance, _ = travels("covariance")
    assert (covariance.rows, covariance.columns) == (4 * N * D, 0)
    gram, passes = travels("gram", budget=GIB // 16, dim=8 * D)
    assert passes > 1
    assert (gram.rows, gram.columns) == (0, passes * 4 * N * 8 * D)
    assert gram.sums >= 4 * N**2 / 4
    sketch, passes = travels("sketch")
    assert passes > 1
    assert (sketch.rows, sketch.columns) == (0, 2 * 4 * N * D)
    scores, _ = travels("covariance", directions=3, scores=True)
    assert scores.rows == 2 * covariance.rows
    assert travels("covariance", itemsize=2)[0].rows == covariance.rows / 2


def test_each_is_sent_what_the_others_have_and_its_share_of_columns():
    assert Travels(rows=800.0).to_each(4) == 600.0
    assert Travels(columns=800.0).to_each(4) == 150.0
    assert Travels(sums=800.0).to_each(4) == 1200.0
    assert NOTHING.more(Travels(1.0, 2.0, 3.0)).seconds(Wire(1.0, 2.0, 3.0)) == 3.0


@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
def test_a_wire_that_is_slow_outweighs_the_sums_and_is_said_to(method):
    shared = plan(4, method)
    fast, slow = (outlook(shared, replace(PACE, wire=wire), CPU) for wire in (FAST, SLOW))
    assert fast.outweighed == ()
    assert slow.outweighed == ("c1",)
    assert slow.seconds - slow.waits == pytest.approx(fast.seconds - fast.waits)
    assert slow.waits == pytest.approx(1e6 * fast.waits)
    printed = io.StringIO()
    print_plan(replace(shared, outlook=slow), Console(file=printed, width=200))
    assert "4 processes share it: each is sent " in printed.getvalue()
    assert "c1: sending rows between processes takes longer than summing them" in printed.getvalue()
    assert "of which the processes wait about " in outlook_lines(slow, None)[0]


@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_sums_and_forwards_are_shared(method):
    alone, shared = plan(1, method), plan(4, method)
    one, each = outlook(alone, PACE, CPU), outlook(shared, replace(PACE, wire=FAST), CPU)
    assert each.forwards == pytest.approx(one.forwards / 4)
    assert each.layers["c1"] < one.layers["c1"]
    assert max(row.state_bytes for row in shared.layers) < max(row.state_bytes for row in alone.layers)


def test_a_sketch_holds_a_share_of_its_columns():
    alone, shared = plan(1, "sketch"), plan(4, "sketch")
    assert shared.layers[0].sizes["rank"] == alone.layers[0].sizes["rank"]
    assert shared.layers[0].state_bytes < 0.65 * alone.layers[0].state_bytes
    assert "of which each of 4 ranks holds a share" in shared.layers[0].why
