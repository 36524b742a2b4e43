"""Products in bfloat16 are taken where they are faster, and nowhere else."""

import pytest
import torch

from streamspread.kernels import bfloat16


@pytest.mark.parametrize(("usual", "faster"), [(2e-3, True), (1.2e-3, False), (1e-3, False), (1e-5, False)])
def test_what_is_faster_is_measured(usual, faster, monkeypatch):
    dtypes = []

    def seconds(call):
        dtypes.append(call().dtype)
        return usual if dtypes[-1] == torch.float32 else 1e-3

    monkeypatch.setattr(bfloat16, "seconds", seconds)
    assert bfloat16.faster.__wrapped__() is faster
    assert sorted(dtypes, key=str) == [torch.bfloat16, torch.float32]
