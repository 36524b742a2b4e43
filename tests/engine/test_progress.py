"""Signs of life while an analysis runs."""

import pytest

import streamspread
from streamspread.engine.plan import parts
from streamspread.engine.whole import Whole
from streamspread.system.devices import CPU
from streamspread.system.progress import Progress
from tests import shapes
from tests.networks import network, smallest_budget


def test_progress_tells_each_pass_and_each_layer():
    model, x = network("cnn", 150)
    events = []
    options = {"method": "gram", "batch_size": 40}
    budget = smallest_budget(model, x, ["0", "1"], **options)
    streamspread.analyze(model, x, ["0", "1"], memory=budget, progress=events.append, **options)
    passes = [e for e in events if e.stage == "pass"]
    count = passes[0].count
    assert count > 1
    assert [e.done for e in passes if e.index == 1] == [0, 40, 80, 120, 150]
    assert {e.index for e in passes} == set(range(1, count + 1))
    assert all(e.total == 150 and e.unit == "images" for e in passes)
    solved = [e for e in events if e.stage == "eigenvalues"]
    assert {e.label for e in solved} == {"0", "1"}
    assert solved[-1].done == solved[-1].total


@pytest.mark.parametrize("rounding", ["fp32", "int16"])
def test_inner_products_tell_how_far_they_are(rounding):
    model, x = network("cnn", 150)
    events = []
    plan = streamspread.plan(model, x, ["0", "1"], method="gram", rounding=rounding)
    streamspread.analyze(model, x, ["0", "1"], method="gram", rounding=rounding, progress=events.append)
    for layer in plan.layers:
        told = [e for e in events if (e.stage, e.label) == ("inner products", layer.layer)]
        shares = [(e.index, e.done) for e in told]
        assert shares == sorted(shares)
        assert [number for number, done in shares if done == 100] == [1]
        assert all((e.total, e.unit, e.count) == (100, "%", len(plan.passes)) for e in told)
        assert all(e.whole is not None for e in told)


def test_what_comes_after_a_pass_counts_in_the_order_in_which_it_is_done():
    model, x = network("cnn", 150)
    plan = streamspread.plan(model, x, ["0", "1"], method="gram")
    (work,) = parts(plan, CPU)
    assert list(work.products) == list(work.steps) == ["0", "1"]
    assert min(work.streamed, *work.products.values(), *work.steps.values()) > 0.0
    said = []
    whole = Whole(said.append, CPU)
    whole.begin(plan)
    for stage, done, label in [
        ("pass", 75, "0 … 1"),
        ("inner products", 50, "0"),
        ("inner products", 100, "1"),
        ("eigenvalues", 0, "1"),
    ]:
        whole.report(Progress(stage, 1, 1, done, 150 if stage == "pass" else 100, "%", label))
    ends = [
        0.5 * work.streamed,
        work.streamed + 0.5 * work.products["0"],
        work.streamed + sum(work.products.values()),
        work.all - work.steps["1"],
    ]
    assert [one.whole for one in said] == pytest.approx([end / work.all for end in ends])


def test_the_share_of_the_whole_grows_to_one():
    model, x = network("cnn", 150)
    events = []
    options = {"method": "gram", "batch_size": 40}
    budget = smallest_budget(model, x, ["0", "1"], **options)
    streamspread.analyze(
        model, x, ["0", "1"], memory=budget, progress=events.append, with_random=True, **options
    )
    shares = [event.whole for event in events if event.whole is not None]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert 0.5 in shares  # the random twin begins
    counted = [event for event in events if event.stage in ("pass", "eigenvalues")]
    assert counted
    assert all(event.whole is not None for event in counted)


def test_a_pass_that_is_seldom_taken_is_not_done_before_it_begins():
    plan = shapes.planned([shapes.layer(65536)], 50_000, 60 * shapes.GIB, rounding="int16", thresholds=(0.5,))
    row = plan.layers[0]
    assert (row.passes, row.candidate.usual_passes) == (3, 2)
    said = []
    whole = Whole(said.append, CPU)
    whole.begin(plan)
    for number in (1, 2, 3):
        for done in (0, 50, 100):
            whole.report(Progress("pass", number, 3, done, 100, "images", "c1"))
    shares = [one.whole for one in said]
    assert shares[2] == pytest.approx(shares[8] / 3)
    assert shares[5] == pytest.approx(shares[8] * 2 / 3)
    assert shares[7] == pytest.approx(shares[8] * 5 / 6)
    whole.again("c1")
    whole.begin(plan)  # as of a layer that was unfit
    whole.report(Progress("pass", 1, 3, 0, 100, "images", "c1"))
    assert shares[8] == said[-1].whole < 1.0
