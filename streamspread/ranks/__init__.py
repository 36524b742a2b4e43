"""The processes that share one analysis, as each of them sees the others; by default there are none.

All of them run the same code. What one does by itself lies between questions to the others, which all of them
ask at the same places: so code is written once, and one process alone answers itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch


T = TypeVar("T")


class Ranks:
    """One process that works alone; :class:`streamspread.ranks.group.Group` is one of several.

    Attributes:
        rank: this one's number, from 0. ``size``: how many there are.
        local_rank, local_size: the same on this machine.
    """

    rank, size = 0, 1
    local_rank, local_size = 0, 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that decides, prints and writes."""
        return self.rank == 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """What fails within it on one rank fails on all, with the same line, as soon as they ask each other
        anything. It ends on all at once, and may nest."""
        yield

    def leave(self) -> None:
        """Nobody is asked any more."""

    def use(self, device: torch.device) -> None:
        """Where tensors that come from others shall lie."""

    def tell(self, *numbers: int) -> list[Sequence[int]]:
        """What each rank tells, in their order: as many whole numbers of each, five at the most."""
        return [numbers]

    def share(self, value: T) -> T:
        """The leader's value."""
        return value

    def gather(self, value: T) -> list[T]:
        """Everyone's value, in their order; tensors come on the CPU."""
        return [value]

    def collect(self, parts: Sequence[torch.Tensor], owner: int) -> list[torch.Tensor]:
        """Everyone's tensors, in their order, at the owner, where its own lie; none at the others."""
        return list(parts)

    def broadcast(self, x: torch.Tensor, source: int) -> torch.Tensor:
        """The source's tensor, in the memory of those that the others give."""
        return x

    def scatter(self, x_ND: torch.Tensor, bounds: Sequence[int], source: int) -> torch.Tensor:
        """The source's rows, of which each rank gets the columns between its bound and the next one. Who
        receives gives a tensor for them."""
        return x_ND

    def add_to_owners_(self, parts: Sequence[tuple[torch.Tensor, int]]) -> None:
        """Each tensor's sum over all ranks, in place, at its owner alone."""

    def sum_(self, x: torch.Tensor) -> torch.Tensor:
        """The sum over all ranks, in place, at all of them, which have the same bits; and the tensor."""
        return x

    def led(self, work: Callable[[], T], served: Any = None) -> T:
        """What the leader's ``work`` gives, or raises, on all ranks. The others meanwhile do what it asks of
        the object that they serve with."""
        return work()

    def ask(self, served: Any, name: str, *arguments: Any, owner: int | None = None) -> Any:
        """What the method of that name of the served object gives: the sum over all ranks, or that of its
        owner. Only the leader asks, within :meth:`led`."""
        return attrgetter(name)(served)(*arguments)


#: Nobody else.
ALONE = Ranks()


def errors_of(ranks: Ranks, work: Callable[[], None]) -> list[Exception]:
    """Do the work on every rank; what it raised, of those where it failed."""
    error: Exception | None = None
    try:
        work()
    except Exception as raised:
        error = raised
    return [one for one in ranks.gather(error) if one is not None]


def dealt(count: int, size: int) -> list[int]:
    """The owner, among ``size`` ranks, of each of so many panels, each larger than the one before: dealt back
    and forth, 0 1 1 0."""
    there = list(range(size))
    both = there + there[::-1]
    return [both[index % len(both)] for index in range(count)]


def bounds_of(count: int, ranks: Ranks) -> list[int]:
    """Where each rank's share of so many columns begins, and the end: nearly as many for each."""
    return cut(count, ranks.size)


def cut(count: int, parts: int) -> list[int]:
    """Where each of so many parts begins, and the end: nearly as many for each."""
    return [count * part // parts for part in range(parts + 1)]
