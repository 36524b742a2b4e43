"""Eigenvalue steps side by side: which, how many, and that they are the layers' own."""

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from streamspread import analyze
from streamspread.engine import run
from streamspread.engine.planning import kept_bytes, plan_for
from streamspread.engine.run import Analysis
from streamspread.observe.observed import observing
from streamspread.options import Options, RunOptions
from streamspread.system.threads import side_by_side
from tests.networks import known, ks, network
from tests.samples import TAUS

LAYERS = ["0", "4", "7"]


@pytest.fixture
def groups(monkeypatch):
    """How many were computed together, each time that it was more than one."""
    found = []
    monkeypatch.setattr(
        run, "side_by_side", lambda call, items: found.append(len(items)) or side_by_side(call, items)
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


def together(monkeypatch, sizes, room, **constants):
    """The layers that an analysis on three threads computes first, with a changed profile, where their steps
    take so many bytes and there is room for so many."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    model, x = network("cnn", 150)
    options = Options(device="cpu", method="gram")
    with observing(model, x, RunOptions(layers=LAYERS, device="cpu")) as observed:
        plan = plan_for(observed, options, observed.taps, "fp32")
        observed = replace(observed, profile=replace(observed.profile, **constants))
        analysis = Analysis(observed, options, lambda _: None, None)
    for one, size in zip(plan.layers, sizes, strict=True):
        candidate = replace(one.candidate, finish_bytes=size)
        analysis.plans = getattr(analysis, "plans", {}) | {one.layer: replace(one, candidate=candidate)}
    return analysis._together(LAYERS, room)


@pytest.mark.parametrize(
    ("sizes", "count"),
    [((3, 3, 4), 3), ((0, 0, 10), 3), ((10, 5, 5), 3), ((10, 0, 11), 2), ((5, 6, 6), 2), ((11, 0, 0), 1)],
)
def test_none_that_there_is_no_room_for_and_one_at_most_that_waits(sizes, count, monkeypatch):
    assert together(monkeypatch, sizes, 10) == LAYERS[:count]


def test_room_is_what_the_plan_has_beside_all_sums():
    model, x = network("cnn", 150)
    options = Options(device="cpu", directions=2)
    with observing(model, x, RunOptions(layers=LAYERS, device="cpu")) as observed:
        plan = plan_for(observed, options, observed.taps, "fp32")
        analysis = Analysis(observed, options, lambda _: None, None)
        analysis.plans, analysis.index = {one.layer: one for one in plan.layers}, 0
        own = observed.resident_bytes + kept_bytes(observed, options)
        own += sum(one.state_bytes for one in plan.layers)
        assert analysis._room(replace(plan, passes=(replace(plan.passes[0], bytes=own + 7),))) == 7


def test_no_more_at_a_time_than_there_is_room_for(monkeypatch, threads):
    """However many threads there are, and whatever each layer's step takes."""
    model, x = network("cnn", 150)
    with observing(model, x, RunOptions(layers=LAYERS, device="cpu")) as observed:
        analysis = Analysis(observed, Options(device="cpu"), lambda _: None, None)
    sizes, now, most, lock = [5, 3, 3, 2, 4, 1, 1, 5], [0], [0], threading.Lock()

    def finish(layer, among):
        with lock:
            now[0] += layer.plan.finish_bytes
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= layer.plan.finish_bytes
        return layer.plan.finish_bytes

    monkeypatch.setattr(analysis, "_finish", finish)
    layers = [SimpleNamespace(scoring=None, plan=SimpleNamespace(finish_bytes=size)) for size in sizes]
    assert analysis._spectra(layers, 5) == sizes
    assert most[0] == 5


def test_none_beside_one_that_uses_its_sums_up(monkeypatch):
    assert together(monkeypatch, (0, 0, 0), 0, dense_limit=150) == LAYERS
    assert together(monkeypatch, (0, 0, 0), 0, dense_limit=149) == LAYERS[:1]
