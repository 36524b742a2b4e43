"""Threads: how many BLAS has, work that is dealt to them, and memory that they share."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, Generic, TypeVar

import torch
from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")

_WITH_BLAS = ("numpy", "scipy.linalg")

_lock = threading.Lock()
_limit: Any = None
_limited = 0  # how many are inside of `one_of_blas`


def blas_threads() -> list[int]:
    """Those of each."""
    return [found.num_threads for found in _blas().lib_controllers]


@contextmanager
def one_of_blas(so: bool = True) -> Iterator[None]:
    """A context in which BLAS has one thread, for the whole process, and as many as before when the last one
    leaves that was inside; with ``so`` false nothing changes."""
    global _limit, _limited
    if not so:
        yield
        return
    with _lock:
        if not _limited:
            _limit = _blas().limit(limits=1)
        _limited += 1
    try:
        yield
    finally:
        with _lock:
            _limited -= 1
            if not _limited:
                _limit.restore_original_limits()


def _blas() -> ThreadpoolController:
    return _found(tuple(name in sys.modules for name in _WITH_BLAS))


@cache
def _found(loaded: tuple[bool, ...]) -> ThreadpoolController:
    # To look for the libraries takes longer than a small fit; a module that comes later brings one more.
    return ThreadpoolController().select(user_api="blas")


def side_by_side(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """``function(item)`` for each, in order: as many at a time as torch has threads, each on one of them.

    The threads of a small problem wait for each other at every step, and for long where others use the
    machine too (eigenvalues of order 256: 1.8 s instead of 2 ms). So NumPy's BLAS, which would share each of
    its products among all of them, has one thread too, and the bits are the same, however many there are.
    """
    return list(one_by_one(function, items))


def one_by_one(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The same, each as soon as it and those before it are there."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(function, items)
        return
    inference = torch.is_inference_mode_enabled()  # which threads do not inherit

    def called(item: T) -> R:
        with torch.inference_mode(inference):
            return function(item)

    try:
        begin = partial(torch.set_num_threads, 1)
        with one_of_blas(), ThreadPoolExecutor(threads, initializer=begin) as pool:
            yield from pool.map(called, items)
    finally:
        torch.set_num_threads(threads)  # what threads to come begin with


def ahead(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """``function(item)`` for each, in order, on so many threads, ahead of who asks by one item for each."""
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="streamspread-ahead") as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class Room:
    """So many bytes."""

    def __init__(self, size: float) -> None:
        self._left = size
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size: float) -> Iterator[None]:
        """So many of them, no more than there were at first, once others have given back enough."""
        with self._changed:
            self._changed.wait_for(lambda: size <= self._left)
            self._left -= size
        try:
            yield
        finally:
            with self._changed:
                self._left += size
                self._changed.notify_all()


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
