"""Memory that threads use in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Spare(Generic[T]):
    """One for each thread that is at work, however many there are, made when it is first needed."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._spare: list[T] = []

    @contextmanager
    def one(self) -> Iterator[T]:
        """One that nobody uses meanwhile."""
        try:
            memory = self._spare.pop()
        except IndexError:  # all are in use
            memory = self._make()
        yield memory
        self._spare.append(memory)
