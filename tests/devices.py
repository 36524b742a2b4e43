"""The devices that one table of tests runs on: the CPU always, CUDA where a card is there (marked gpu)."""

import pytest
import torch

CPU = torch.device("cpu")
DEVICES = [
    pytest.param(CPU, id="cpu"),
    pytest.param(torch.device("cuda", 0), id="cuda", marks=pytest.mark.gpu),
]
