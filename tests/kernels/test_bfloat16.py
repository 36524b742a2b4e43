"""Products in bfloat16 are taken where they are faster, and nowhere else."""

import itertools

import pytest
import torch

from streamspread.kernels import bfloat16


@pytest.mark.parametrize(
    ("usual", "coarse", "rounds", "faster"),
    [
        ([2.0], [1.0], bfloat16._ROUNDS, True),
        ([1.2], [1.0], bfloat16._ROUNDS, False),
        ([2.0, 2.0, 9.0], [1.9, 1.0, 9.0], bfloat16._ROUNDS, True),  # of times that other work makes longer
        ([9.0, 1.2, 9.0], [1.0, 1.9, 9.0], bfloat16._ROUNDS, False),
        ([1.0], [30.0], 1, False),
    ],
)
def test_what_is_faster_is_measured(usual, coarse, rounds, faster, monkeypatch):
    times = {torch.float32: itertools.cycle(usual), torch.bfloat16: itertools.cycle(coarse)}
    dtypes = []

    def seconds(call):
        dtypes.append(call().dtype)
        return next(times[dtypes[-1]])

    monkeypatch.setattr(bfloat16, "seconds", seconds)
    assert bfloat16.faster.__wrapped__() is faster
    assert dtypes == [torch.float32, torch.bfloat16] * rounds
