"""The machine's pace is measured on the network and data themselves, and told before an analysis begins."""

import pytest
import torch

from streamspread.api.analyze import analyze_with, plan_with
from streamspread.api.calls import Subject
from streamspread.engine import pace
from streamspread.engine.pace import Announce, measured
from streamspread.observe.observed import observing
from streamspread.options import Options
from tests.devices import DEVICES
from tests.networks import network


@pytest.mark.parametrize("device", DEVICES)
def test_a_pace_is_of_this_network_and_leaves_the_data_as_they_were(device):
    model, x = network("cnn", 60)
    before = x.clone()
    with observing(model, x, Options(device=device)) as observed:
        found = measured(observed)
        assert found.operations == observed.operations > 0
    assert found.products > 1e6
    assert 0.0 < found.forward < 10.0
    assert torch.equal(x, before)


@pytest.mark.parametrize(("quick", "timed"), [(1e9, {15, 60}), (-1.0, {15})])
def test_a_whole_batch_is_timed_where_a_quarter_is_quick(quick, timed, monkeypatch):
    model, x = network("cnn", 100)
    monkeypatch.setattr(pace, "_QUICK", quick)
    with observing(model, x, Options(device="cpu", batch_size=60)) as observed:
        seen, forward = set(), pace.forward
        monkeypatch.setattr(
            pace, "forward", lambda model, x, call: (seen.add(len(x)), forward(model, x, call))
        )
        measured(observed)
    assert seen == timed


def test_data_that_can_be_read_once_are_not_used_up_for_it():
    model, x = network("cnn", 60)
    with observing(model, iter(x.split(20)), Options(device="cpu")) as observed:
        assert measured(observed) is None
        assert sum(len(batch) for batch in observed.stream.batches()) == 60


def test_a_plan_says_how_long_only_where_it_is_asked():
    model, x = network("cnn", 60)
    options = Options(device="cpu")
    assert plan_with(Subject(model, x), options).outlook is None
    ahead = plan_with(Subject(model, x), options, timed=True).outlook
    assert ahead.samples == 60
    assert ahead.seconds > 0.0


@pytest.mark.parametrize(("total", "more"), [(None, None), (60, None), (600, 600)])
def test_it_is_told_with_that_of_all_samples(total, more, monkeypatch):
    monkeypatch.setattr(pace, "_WORTH_A_WORD", 0.0)
    model, x = network("cnn", 60)
    told = []
    announce = Announce(lambda now, all_of_them: told.append((now, all_of_them)), total)
    analyze_with(Subject(model, x), Options(device="cpu"), announce=announce)
    ((now, all_of_them),) = told
    assert now.samples == 60
    assert (all_of_them and all_of_them.samples) == more
    if more:
        assert all_of_them.seconds > now.seconds


def test_of_a_moment_nothing_is_told():
    model, x = network("cnn", 60)
    analyze_with(Subject(model, x), Options(device="cpu"), announce=Announce(pytest.fail))
