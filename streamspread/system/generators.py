"""The random generators that belong to the whole process, put back where they stood."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch


def kept(device: torch.device) -> Callable[[], None]:
    """A call that puts torch's generators (the CPU's, and the device's where it is a card), NumPy's and
    Python's back to where they stand now."""
    calls: list[Callable[[], Any]] = [
        partial(torch.set_rng_state, torch.get_rng_state()),
        partial(np.random.set_state, np.random.get_state(legacy=False)),
        partial(random.setstate, random.getstate()),
    ]
    if device.type == "cuda":
        calls.append(partial(torch.cuda.set_rng_state, torch.cuda.get_rng_state(device), device))

    def put_back() -> None:
        for call in calls:
            call()

    return put_back


@contextmanager
def as_before(device: torch.device) -> Iterator[None]:
    """The generators afterwards as they are now, also after an error."""
    put_back = kept(device)
    try:
        yield
    finally:
        put_back()


def drawn_seed() -> int:
    """A seed that follows from where torch's generator stands, which does not move by it."""
    state = torch.get_rng_state()
    try:
        return int(torch.randint(2**62, ()))
    finally:
        torch.set_rng_state(state)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """The generators that a forward on the device draws from, at a place that follows from the seed alone.

    On the CPU they are afterwards as they are now, so that what the data draw does not depend on what a model
    draws. On a card it is the card's alone, which stays where it is left: the others may be in use by a
    thread that reads the next batches.
    """
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)
        yield
        return
    with as_before(device):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        yield
