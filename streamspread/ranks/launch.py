"""Which ranks there are: those of a launcher such as torchrun, or of the caller's process group."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from streamspread.errors import RanksError, first_line
from streamspread.ranks import ALONE, Ranks
from streamspread.system.process import launched

# Held, a group would outlive its end: see ranks/transport.py.
_known: tuple[weakref.ref[Any], Ranks] | None = None


def ranks_here(alone: bool = False) -> Ranks:
    """All ranks of the process group that is initialised here; this process by itself where there is none, or
    it is to work ``alone``."""
    global _known
    import torch.distributed as dist

    if alone or not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return ALONE
    if _known is None or _known[0]() is not dist.group.WORLD:  # one of its own for each, made once
        from streamspread.ranks.group import Group

        _known = weakref.ref(dist.group.WORLD), Group()
    return _known[1]


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """The ranks of a launcher's processes, joined until the end; this process by itself where no launcher
    started it. ``device``: that is asked for.

    Raises:
        RanksError: the others cannot be reached.
    """
    global _known
    import torch
    import torch.distributed as dist

    if launched()[1] == 1 or dist.is_initialized():
        yield ranks_here()
        return
    cards = device != "cpu" and torch.cuda.is_available() and dist.is_nccl_available()
    try:
        with _silent():
            dist.init_process_group("cpu:gloo,cuda:nccl" if cards else "gloo")
            here = ranks_here()
    except (RuntimeError, ValueError) as error:
        first = first_line(error)
        raise RanksError(f"the other processes cannot be reached ({first}): see the launcher") from error
    try:
        yield here
    finally:
        _known = None
        here.leave()
        with suppress(RuntimeError):
            dist.destroy_process_group()


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing reaches stdout meanwhile, where results go: up to torch 2.10 Gloo says there with whom it is
    connected, beneath Python."""
    try:
        out = os.dup(1)
    except OSError:  # it is closed
        yield
        return
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(out, 1)
        os.close(out)
