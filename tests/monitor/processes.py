"""One process of a distributed training, for tests: ``RANK WORLD PORT FOLDER``."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import streamspread
from tests.training_loops import images, network, train

#: How the network is wrapped, and what its monitor is given.
CASES = {
    "ddp": ("ddp", {"samples": 31}),
    "ddp-views": ("ddp", {"samples": 31, "view": ("whole", "position")}),
    "ddp-probe": ("ddp", {"probe": images(30, seed=4)}),
    "fsdp": ("fsdp", {"samples": 31}),
    "fsdp-probe": ("fsdp", {"probe": images(30, seed=4)}),
    "fsdp1": ("fsdp1", {"samples": 31}),
    "fsdp1-probe": ("fsdp1", {"probe": images(30, seed=4)}),
    "fsdp1-own-probe": ("fsdp1-own", {"probe": images(30, seed=4)}),
}


def wrapped(net, how):
    if how == "ddp":
        return DistributedDataParallel(net)
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    if how.startswith("fsdp1"):
        cpu, own = torch.device("cpu"), how.endswith("own")
        return FullyShardedDataParallel(net, device_id=cpu, use_orig_params=own)
    for part in (net.c1, net.c2, net.fc, net):
        fully_shard(part)
    return net


def run(rank, world, out, how, given):
    net = network()
    model = wrapped(net, how)
    # The first rank has batches of 8 and the second of 5.
    mine = images(40)[:24].split(8) if rank == 0 else images(40)[24:39].split(5)
    with streamspread.Monitor(model, every=100, out=out, **given) as spread:
        train(model, mine, spread)
    told = [one.row() for one in spread.history.readings]
    everyones = [None] * world
    distributed.all_gather_object(everyones, told)
    assert told, "no look"
    assert all(repr(each) == repr(told) for each in everyones), "ranks differ"
    assert (spread.files is None) == (rank != 0)


def run_beside(how, probe):
    """A training with a look at each step, and the same without: weights, and how they lie, are the same."""
    watched, alone = (wrapped(network(), how) for _ in range(2))
    with streamspread.Monitor(watched, every=1, out=None, probe=probe) as spread:
        train(watched, images(32).split(8), spread, rate=0.5)
    assert len(spread.history.of("c1")) == 5
    train(alone, images(32).split(8), SimpleNamespace(step=lambda: None), rate=0.5)
    for a, b in zip(watched.parameters(), alone.parameters(), strict=True):
        a, b = (getattr(each, "_local_tensor", each) for each in (a, b))
        assert torch.equal(a, b), how


def main(rank, world, port, folder):
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
    distributed.init_process_group("gloo", rank=rank, world_size=world)
    for name, (how, given) in CASES.items():
        run(rank, world, Path(folder) / name, how, given)
        if "probe" in given:
            run_beside(how, given["probe"])
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
