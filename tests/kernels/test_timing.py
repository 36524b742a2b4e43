"""What a product takes, whatever else the machine does."""

import time

import numba
import pytest
import torch
from threadpoolctl import threadpool_info

from streamspread.kernels.timing import seconds
from tests.fresh import output_of


def threads():
    blas = [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]
    return torch.get_num_threads(), numba.get_num_threads(), blas


def test_waiting_does_not_count_and_working_does():
    def work():
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass

    assert seconds(lambda: time.sleep(0.02)) < 0.01
    assert 0.02 <= seconds(work) < 0.04


def test_it_is_on_one_thread_and_threads_are_as_before():
    before, within = threads(), []
    seconds(lambda: within.append(threads()))
    assert len(within) == 5
    assert all(found == (1, 1, [1] * len(before[2])) for found in within)
    assert threads() == before


def test_threads_are_as_before_where_the_product_fails():
    before = threads()
    with pytest.raises(ZeroDivisionError, match="division"):
        seconds(lambda: 1 // 0)
    assert threads() == before


def test_the_shortest_time_counts_and_the_first_does_not(monkeypatch):
    # Of four calls, since the first is not timed.
    clock = iter([0.0, 5.0, 10.0, 13.0, 20.0, 24.0, 30.0, 38.0])
    monkeypatch.setattr(time, "thread_time", lambda: next(clock))
    assert seconds(lambda: None) == 3.0


def test_the_first_of_a_process_is_on_one_thread_too():
    """Numba's threads, which begin there, set torch's."""
    code = """
import torch
from streamspread.kernels.timing import seconds
torch.set_num_threads(2)
found = []
seconds(lambda: found.append(torch.get_num_threads()))
print(found, torch.get_num_threads())
"""
    assert output_of(code).strip() == "[1, 1, 1, 1, 1] 2"
