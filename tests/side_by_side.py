"""Ranks that are threads of this process, for what needs no torch.distributed to be tried: sums, what the
first one has, and what it decides."""

import threading

import torch

from streamspread.ranks import Ranks


class Thread(Ranks):
    """One of several, which meet at a barrier."""

    def __init__(self, rank, size, barrier, board):
        self.rank, self.size = rank, size
        self._barrier, self._board = barrier, board

    def gather(self, value):
        self._board[self.rank] = value
        self._barrier.wait()
        told = list(self._board)
        self._barrier.wait()
        return told

    def tell(self, *numbers):
        return self.gather(numbers)

    def share(self, value):
        return self.gather(value)[0]

    def led(self, work, served=None):
        return self.share(work() if self.leads else None)

    def broadcast(self, x, source):
        whole = self.gather(x)[source]
        if self.rank != source:
            x.copy_(whole)
        self._barrier.wait()
        return x

    def add_to_owners_(self, parts):
        for part, owner in parts:
            whole = torch.stack(self.gather(part.clone())).sum(0)
            if self.rank == owner:
                part.copy_(whole)
            self._barrier.wait()

    def sum_(self, x):
        whole = torch.stack(self.gather(x.clone())).sum(0)
        return x.copy_(whole)


def together(size, work):
    """What ``work(ranks)`` gives on each of so many ranks, in their order; raises what one of them raises."""
    barrier, board, gave, failed = threading.Barrier(size, timeout=60), [None] * size, [None] * size, []

    def run(rank):
        try:
            gave[rank] = work(Thread(rank, size, barrier, board))
        except BaseException as error:
            failed.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for error in failed:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    assert not failed
    return gave
