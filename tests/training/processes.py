"""One process of a distributed training with a spreading term, for tests: ``RANK WORLD PORT FOLDER``."""

import gc
import os
import sys
from pathlib import Path

import torch
from torch import distributed

from streamspread import SpreadLoss
from tests.monitor.processes import wrapped
from tests.training_loops import images, labels, network

WAYS = ("ddp", "fsdp", "fsdp1")
SIZE = 20


def loss(model, rank):
    """Of the rank's own batch, with the term of it; the target is the first convolution's ratio."""
    with SpreadLoss(model, "c2", weight=1.0) as spread:
        mine = images(2 * SIZE)[rank * SIZE : (rank + 1) * SIZE]
        return torch.nn.functional.cross_entropy(model(mine), labels(SIZE)) + spread()


def weights(model, how):
    """After a step, whole, by the network's own names."""
    if how == "fsdp":
        return {name: each.full_tensor().detach() for name, each in model.named_parameters()}
    if how == "ddp":
        return {name: each.detach() for name, each in model.module.named_parameters()}
    from torch.distributed.fsdp import FullyShardedDataParallel

    with FullyShardedDataParallel.summon_full_params(model):
        return {name: each.detach().clone() for name, each in model.module.named_parameters()}


def main(rank, world, port, folder):
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
    distributed.init_process_group("gloo", rank=rank, world_size=world)
    for how in WAYS:
        model = wrapped(network(), how)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        loss(model, rank).backward()
        optimizer.step()
        found = weights(model, how)
        if rank == 0:
            torch.save(found, Path(folder) / f"{how}.pt")
    # What holds the group, in cycles too, goes first: its threads must not outlive it.
    del model, optimizer
    gc.collect()
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
