"""Threads take turns, and what was forked too late is refused in a line."""

import os
import threading

import pytest
import torch
from torch import nn

import streamspread
from streamspread.errors import DeviceError
from tests.fresh import output_of

X = torch.randn(64, 3, 8, 8)


def net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(80, 3))


def switches():
    return (
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
    )


def analysed(model):
    spectra = streamspread.analyze(model, X, batch_size=8, method="covariance", device="cpu")
    return [(name, s.total_variance, s.eigenvalues.tobytes()) for name, s in spectra.items()]


@pytest.mark.parametrize("shared", [True, False])
def test_analyses_in_several_threads_give_what_they_give_one_by_one(shared):
    models = [net(0)] * 4 if shared else [net(seed) for seed in range(4)]
    want = [analysed(model) for model in models]
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    try:
        before, modes = switches(), [m.training for model in models for m in model.modules()]
        got, errors = [None] * 4, []

        def work(index):
            try:
                got[index] = analysed(models[index])
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert switches() == before
        assert [m.training for model in models for m in model.modules()] == modes
        assert got == want
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.benchmark = False


def test_turns_nest_within_a_thread():
    inside = []
    streamspread.analyze(
        net(0), X, device="cpu", progress=lambda event: inside or inside.append(analysed(net(1)))
    )
    assert inside == [analysed(net(1))]


FORKED = """
import os, warnings
import torch
from torch import nn
import streamspread
warnings.simplefilter("ignore")

def analysed():
    model = nn.Sequential(nn.Linear(4, 3))
    return list(streamspread.analyze(model, torch.ones(9, 4), "0", device="cpu"))

def forked():
    if os.fork() == 0:
        try:
            print(analysed(), flush=True)
        except streamspread.StreamspreadError as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(0)
    os.wait()

forked()
print(analysed(), flush=True)
forked()
print(analysed(), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_was_forked_after_an_analysis_is_refused_and_before_it_is_not():
    before, first, refused, second = output_of(FORKED).splitlines()
    assert before == first == second == "['0']"
    assert refused.startswith(f"{DeviceError.__name__}: this process was forked from one that had computed")


FORKED_EIGENVALUES = """
import os
from dataclasses import replace
import numpy as np
import streamspread
from streamspread.api import eigen
from streamspread.system.devices import CPU

eigen.profile = lambda device: replace(CPU, search_limit=50)  # above which Numba takes part

def solved():
    try:
        print(streamspread.eigvalsh(np.eye(100)).sum(), flush=True)
    except streamspread.StreamspreadError as error:
        print(f"{type(error).__name__}: {error}", flush=True)

solved()
if os.fork() == 0:
    solved()
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_all_eigenvalues_of_a_large_matrix_are_refused_in_a_fork_too():
    solved, refused = output_of(FORKED_EIGENVALUES).splitlines()
    assert float(solved) == pytest.approx(100)
    assert refused.startswith(f"{DeviceError.__name__}: this process was forked from one that had computed")
