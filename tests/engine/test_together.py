"""Eigenvalue steps side by side: which, how many, and that they are the layers' own."""

import time
from dataclasses import replace

import pytest
import torch

from streamspread import analyze
from streamspread.engine import course
from streamspread.engine.course import Analysis
from streamspread.engine.planning import kept_bytes, plan_for
from streamspread.observe.observed import observing
from streamspread.options import Options, RunOptions
from streamspread.system.switches import side_by_side
from tests.networks import known, ks, network
from tests.samples import TAUS

LAYERS = ["0", "4", "7"]


@pytest.fixture
def groups(monkeypatch):
    """How many were computed together, each time that it was more than one."""
    found = []
    monkeypatch.setattr(
        course, "side_by_side", lambda call, items: found.append(len(items)) or side_by_side(call, items)
    )
    return found


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_all_on_as_many_threads_as_there_are(groups, threads):
    model, x = network("cnn", 150)
    began = time.perf_counter()
    spectra = analyze(model, x, LAYERS, TAUS, device="cpu")
    taken = time.perf_counter() - began
    assert groups == {1: [], 2: [3], 3: [3]}[threads]
    assert torch.get_num_threads() == threads
    for name, spectrum in spectra.items():
        assert ks(spectrum) == known("cnn", 150)[name].ks()
    assert sum(spectrum.seconds for spectrum in spectra.values()) <= taken


def together(change, monkeypatch, **constants):
    """The layers that an analysis on three threads, with a changed plan, computes first."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    model, x = network("cnn", 150)
    options = Options(device="cpu", directions=2)
    with observing(model, x, RunOptions(layers=LAYERS, device="cpu")) as observed:
        observed = replace(observed, profile=replace(observed.profile, **constants))
        analysis = Analysis(observed, options, lambda _: None, None)
        plan = plan_for(observed, options, observed.taps, "fp32")
        analysis.plans = {one.layer: one for one in plan.layers}
        states = sum(one.state_bytes for one in plan.layers)
        own = observed.resident_bytes + kept_bytes(observed, options) + states
        return analysis._together(change(plan, own), LAYERS)


def test_no_more_than_the_plan_has_room_for(monkeypatch):
    def with_room(plan, own, less):
        own += sum(one.finish_bytes for one in plan.layers[:2]) - less
        return replace(plan, passes=(replace(plan.passes[0], bytes=own),))

    assert together(lambda plan, own: with_room(plan, own, 0), monkeypatch) == LAYERS[:2]
    assert together(lambda plan, own: with_room(plan, own, 1), monkeypatch) == LAYERS[:1]


def test_none_beside_one_that_uses_its_sums_up(monkeypatch):
    assert together(lambda plan, own: plan, monkeypatch, dense_limit=0) == LAYERS[:1]
