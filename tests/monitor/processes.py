"""One process of a distributed training, for tests: ``RANK WORLD PORT CASE OUT``."""

import os
import sys

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import streamspread
from tests.training_loops import images, network, train


def wrapped(net, how):
    if how == "ddp":
        return DistributedDataParallel(net)
    from torch.distributed.fsdp import fully_shard

    fully_shard(net)
    return net


def main(rank, world, port, case, out):
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
    distributed.init_process_group("gloo", rank=rank, world_size=world)
    how, what = case.split("-")
    net = network()
    model = wrapped(net, how)
    # The first rank has batches of 8 and the second of 5.
    mine = images(40)[:24] if rank == 0 else images(40)[24:]
    given = {"probe": images(30, seed=4)} if what == "probe" else {"samples": 31}
    options = {"view": ("whole", "position")} if what == "views" else {}
    with streamspread.Monitor(model, every=100, out=out, **given, **options) as spread:
        train(net, mine.split(8 if rank == 0 else 5)[:3], spread, model=model)
    assert len(spread.history) > 0, "no look"
    told = [one.row() | {"seconds": None} for one in spread.history.readings]
    everyones = [None] * world
    distributed.all_gather_object(everyones, told)
    assert all(repr(each) == repr(told) for each in everyones), "ranks differ"
    assert (spread.files is None) == (rank != 0)
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
