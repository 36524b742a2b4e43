"""In several processes the term is of each one's own batch, and its gradient is their mean."""

import pytest
import torch

from tests.processes import run_all
from tests.training.processes import WAYS, loss
from tests.training_loops import network

WORLD = 2


@pytest.mark.slow
def test_a_step_of_two_processes_is_one_of_their_mean(tmp_path):
    run_all("tests.training.processes", WORLD, tmp_path)
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    for rank in range(WORLD):
        (loss(net, rank) / WORLD).backward()
    optimizer.step()
    for how in WAYS:
        found = torch.load(tmp_path / f"{how}.pt")
        for name, wanted in net.named_parameters():
            assert torch.allclose(found[name], wanted, rtol=1e-4, atol=1e-6), (how, name)
