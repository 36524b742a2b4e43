"""How long a plan takes follows from its operations and the machine's pace."""

from dataclasses import replace

import pytest

from streamspread.accumulators.costs import NarrowSide
from streamspread.engine.plan import Pace, outlook, parts, work
from streamspread.system.devices import CPU
from tests.shapes import CPU as DEVICE
from tests.shapes import GIB, NO1, planned

PACE = Pace(products=1e12, forward=0.01, operations=305e6)


def ahead(samples, budget=60 * GIB, layers=NO1, pace=PACE, **options):
    plan = planned(layers, samples, budget, DEVICE, **options)
    return plan, outlook(plan, pace, CPU)


def test_forwards_are_those_of_all_passes_as_far_as_they_go():
    plan, found = ahead(1000, method="covariance", budget=20 * GIB)
    reach = {one.layer: one.of.operations for one in plan.layers}
    assert len(plan.passes) > 1
    shares = [max(reach[name] for name in step.layers) / 305e6 for step in plan.passes]
    assert found.forwards == pytest.approx(1000 * 0.01 * sum(shares))
    assert found.seconds == pytest.approx(found.forwards + sum(found.layers.values()))


def test_a_machine_that_is_twice_as_fast_takes_half_of_the_time():
    (_, slow), (_, fast) = (ahead(2000, pace=replace(PACE, products=rate)) for rate in (1e12, 2e12))
    for name, seconds in slow.layers.items():
        assert fast.layers[name] == pytest.approx(seconds / 2)


def test_exact_sums_take_as_long_as_they_were_measured_to_take():
    """All but the eigenvalue step, and staging, follows their speed; float32 sums do not know of it."""

    def ahead_at(rounding, exact):
        _, found = ahead(2000, pace=replace(PACE, exact=exact), rounding=rounding)
        return found.layers["c2"]

    assumed = 1.0 / CPU.int16_cost
    sums = CPU.int16_cost * 2000.0 * (2000.0 + 400.0) * 65_536 / PACE.products  # with the diagonal's blocks
    assert ahead_at("int16", None) == pytest.approx(ahead_at("int16", assumed))
    assert ahead_at("int16", assumed) - ahead_at("int16", 2 * assumed) == pytest.approx(sums / 2)
    assert ahead_at("fp32", assumed) == ahead_at("fp32", 2 * assumed)


def test_rows_of_a_narrow_side_are_not_made_by_exact_sums():
    side = NarrowSide(3072, 3.5e6, 0, 3072, 3072**2, 3072**3 / 3)
    layers = [replace(NO1[0], operations=3.5e6, narrow=side)]
    found = {}
    for exact in (2.0, 4.0):
        pace = replace(PACE, exact=exact)
        plan, found[exact] = ahead(5000, layers=layers, pace=pace, rounding="int16", method="covariance")
        assert plan.layers[0].summed_dim == 3072
    sums = CPU.int16_cost * 5000.0 * 3072 * (3072 + 400) / PACE.products
    assert found[2.0].layers["c1"] - found[4.0].layers["c1"] == pytest.approx(sums / 2)


def test_the_forwards_of_further_passes_are_counted_once():
    deep = [replace(NO1[0], operations=305e6)]
    plan, found = ahead(2000, budget=GIB // 2, layers=deep, method="gram")
    light, less = ahead(2000, budget=GIB // 2, layers=[replace(NO1[0], operations=0.0)], method="gram")
    assert plan.layers[0].candidate.passes == light.layers[0].candidate.passes > 1
    assert found.layers["c1"] == pytest.approx(less.layers["c1"])
    assert found.forwards == pytest.approx(2000 * 0.01 * plan.layers[0].candidate.passes)


def test_at_the_narrow_side_the_layer_itself_is_not_run():
    narrow = [
        replace(NO1[0], operations=3.5e6, narrow=NarrowSide(3072, 3.5e6, 0, 3072, 3072**2, 3072**3 / 3))
    ]
    plan, found = ahead(5000, layers=narrow)
    assert plan.layers[0].summed_dim == 3072
    assert found.forwards == 0.0


def seldom(plan, usual):
    """The plan, of whose layers each takes so many of its passes as a rule."""
    layers = (
        replace(row, candidate=replace(row.candidate, usual_passes=usual[row.layer])) for row in plan.layers
    )
    return replace(plan, layers=tuple(layers))


@pytest.mark.parametrize(
    ("usual", "through"),
    [
        ({"c1": None, "c2": None}, [79e6, 79e6, 79e6]),
        ({"c1": None, "c2": 2}, [79e6, 79e6, 3.5e6]),
        ({"c1": 2, "c2": 2}, [79e6, 79e6, 0.0]),
        ({"c1": 2, "c2": 1}, [79e6, 3.5e6, 0.0]),
        ({"c1": 1, "c2": 3}, [79e6, 79e6, 79e6]),
    ],
)
def test_forwards_are_those_of_usual_passes_as_far_as_their_layers_go(usual, through):
    plan, _ = ahead(2000, layers=NO1[:2], method="sketch", rank=64, max_passes=3)
    assert [step.layers for step in plan.passes] == [("c1", "c2")] * 3
    plan = seldom(plan, usual)
    found = outlook(plan, PACE, CPU)
    assert found.forwards == pytest.approx(2000 * 0.01 * sum(through) / 305e6)
    each = parts(plan, CPU)
    assert sum(part.all for part in each) == pytest.approx(work(plan, CPU))
    for part, reach in zip(each, through, strict=True):
        assert part.streamed >= CPU.forward_cost * 2000 * reach
        assert (part.all == 0.0) == (reach == 0.0)


def test_sums_are_what_operations_are_beside_the_forwards_of_usual_passes():
    """Of a candidate that counts two of three passes, one forward is that of a further pass."""
    (plan, _), forward = ahead(2000, layers=NO1[1:2], method="sketch", max_passes=3), 2000 * 79e6
    for usual, further in ((1, 0), (2, 1), (3, 2), (None, 2)):
        rows = seldom(plan, {"c2": usual}).layers
        costly = replace(rows[0].candidate, operations=1e13 + CPU.forward_cost * further * forward)
        found = outlook(replace(plan, layers=(replace(rows[0], candidate=costly),)), PACE, CPU)
        sums = found.layers["c2"]
        assert sums == pytest.approx((1e13 + 250.0 * 2000 * 65_536) / PACE.products)


def test_nothing_is_foretold_of_data_whose_number_is_not_known():
    assert ahead(None)[1] is None
