"""Signs of life while an analysis runs."""

import streamspread
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
