"""The processes of a distributed training, whose windows are joined: each layer's rows go to one of them, in
the order of the ranks, so that they are summed as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import distributed

from streamspread.system.packing import bytes_of


class Ranks(Protocol):
    """``rank`` of ``world`` processes."""

    rank: int
    world: int

    def share(self, samples: int) -> int:
        """How many of so many samples are this one's."""

    def of_all(self, mine: Any) -> list[Any]:
        """What each of them gives, in their order."""

    def brought(self, parts: Sequence[torch.Tensor], owner: int) -> list[torch.Tensor]:
        """The parts of all of them, in their order, for the owner; nothing for others."""


class Alone:
    """One process."""

    rank, world = 0, 1

    def share(self, samples: int) -> int:
        return samples

    def of_all(self, mine: Any) -> list[Any]:
        return [mine]

    def brought(self, parts: Sequence[torch.Tensor], owner: int) -> list[torch.Tensor]:
        return list(parts)


class Together:
    """Several processes, by a group of their own on the CPU: what a training sends is not disturbed, and all
    dtypes and devices are served alike."""

    def __init__(self) -> None:
        self.rank, self.world = distributed.get_rank(), distributed.get_world_size()
        self._group = distributed.new_group(backend="gloo")

    def share(self, samples: int) -> int:
        return samples // self.world + (self.rank < samples % self.world)

    def of_all(self, mine: Any) -> list[Any]:
        given: list[Any] = [None] * self.world
        distributed.all_gather_object(given, mine, self._group)
        return given

    def brought(self, parts: Sequence[torch.Tensor], owner: int) -> list[torch.Tensor]:
        told = self.of_all([(tuple(part.shape), part.dtype) for part in parts])
        if self.rank != owner:
            for part in parts:
                distributed.send(bytes_of(part.cpu()), owner, self._group)
            return []
        every: list[torch.Tensor] = []
        for source, shapes in enumerate(told):
            if source == owner:
                every += parts
                continue
            for shape, dtype in shapes:
                part = torch.empty(shape, dtype=dtype)
                distributed.recv(bytes_of(part), source, self._group)
                every.append(part)
        device = parts[0].device if parts else torch.device("cpu")
        return [part.to(device) for part in every]


def ranks() -> Ranks:
    """Those of the training that runs; every one of them must ask."""
    several = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    return Together() if several else Alone()
