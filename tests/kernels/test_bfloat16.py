"""Products in bfloat16 are taken where they are faster, and nowhere else."""

import pytest
import torch

from streamspread.kernels import bfloat16

HALF, LATE = bfloat16._HOPELESS / 2, 2 * bfloat16._HOPELESS


@pytest.mark.parametrize(
    ("coarse", "usual", "faster"), [(1e-3, 2e-3, True), (1e-3, 1.2e-3, False), (LATE, 10 * LATE, False)]
)
def test_what_is_faster_is_measured(coarse, usual, faster, monkeypatch):
    """Products that take this long, in turn; of a hopeless one no second is waited for."""
    seconds = iter([coarse, usual])
    monkeypatch.setattr(bfloat16, "_seconds", lambda call: next(seconds))
    assert bfloat16.faster.__wrapped__() is faster
    assert len(list(seconds)) == (coarse == LATE)


def test_a_hopeless_product_is_not_repeated(monkeypatch):
    times = iter([0.0, HALF, HALF, 2 * HALF, 10.0, 10.0 + LATE])
    monkeypatch.setattr(bfloat16.time, "thread_time", lambda: next(times))
    calls = []
    assert bfloat16._seconds(lambda: calls.append(1)) == HALF
    assert len(calls) == 3


def test_threads_are_as_many_as_before():
    before = torch.get_num_threads()
    assert bfloat16.faster.__wrapped__() in (False, True)
    assert torch.get_num_threads() == before
