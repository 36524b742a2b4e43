"""The process: signals that end it, its garbage collector, and one computation at a time."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from streamspread.errors import DeviceError

_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")

#: Seconds within which signals to one of several processes count once: launchers pass on what a terminal sent
#: to all of them.
SAME_SIGNAL = 3.0


class Held:
    """A context in which signals that end a process are held back until :meth:`pass_on`, which lets one have
    its usual effect; a second one has it at once. What is ignored stays so, as under nohup, and threads other
    than the main one are sent none.

    Attributes:
        came: the signal that is held back; None where none is.
        apart: seconds after which another one is a second one.
    """

    def __init__(self, apart: float = 0.0) -> None:
        self.apart, self._since = apart, 0.0
        self.came: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number, before in _taken(_ENDING):
            self._before[number] = before
            signal.signal(number, self._on)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if kind is None and self.came is not None:  # nobody passed it on
            signal.raise_signal(self.came)

    def pass_on(self, number: int) -> None:
        """Let a signal do here what it would have done, which may have come to another process."""
        self.came = None
        if number in self._before:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)
            signal.signal(number, self._on)  # the process goes on

    def _on(self, number: int, frame: FrameType | None) -> None:
        first, self.came = self.came is None, number
        if first:
            self._since = time.monotonic()
        elif time.monotonic() - self._since >= self.apart:
            self.pass_on(number)


class Came:
    """The signal that came; 0 where none did."""

    number = 0


@contextmanager
def as_ctrl_c() -> Iterator[Came]:
    """A context in which SIGTERM and SIGHUP raise KeyboardInterrupt, so that what keeps something at Ctrl-C
    keeps it then too; a second one ends the process. One of several processes that work together is ended as
    ever, since those that wait for it must not."""
    came = Came()
    before = [] if _in_company() else _taken(_ENDING[1:], signal.SIG_DFL)

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        came.number = number
        raise KeyboardInterrupt

    for number, _ in before:
        signal.signal(number, end)
    try:
        yield came
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _taken(names: tuple[str, ...], only: Any = None) -> list[tuple[int, Any]]:
    """Those of the signals, with what they do now, that may be taken: where Python knows what they do, and
    they are not ignored; or that do ``only`` this."""
    if threading.current_thread() is not threading.main_thread():
        return []
    numbers = (getattr(signal, name) for name in names if hasattr(signal, name))
    found = [(number, signal.getsignal(number)) for number in numbers]
    if only is not None:
        return [(number, does) for number, does in found if does is only]
    return [(number, does) for number, does in found if does not in (None, signal.SIG_IGN)]


def _in_company() -> bool:
    size = os.environ.get("WORLD_SIZE", "")
    return size.isdecimal() and int(size) > 1


_left = False


def left_alone() -> None:
    """Nothing is looked for until :func:`looked_for`."""
    global _left
    _left = True
    gc.disable()


def looked_for() -> None:
    """Look again, but not among what is there: objects come and go from here on. Without :func:`left_alone`
    nothing changes."""
    global _left
    if _left:
        _left = False
        gc.freeze()
        gc.enable()


_turn = threading.RLock()
_computed = False  # whether this process, or one that it was forked from, has had a turn
_inherited = False


@contextmanager
def turn() -> Iterator[None]:
    """Other threads wait until this one is through; within the same thread turns may nest.

    Raises:
        DeviceError: in a process that was forked from one that had computed: the threads of OpenMP, Numba and
            CUDA are not in it, and waiting for them would end or hang it.
    """
    global _computed
    if _inherited:
        raise DeviceError(
            "this process was forked from one that had computed already, and lacks its threads: start it "
            "with multiprocessing's spawn, or fork before the first analysis"
        )
    with _turn:
        _computed = True
        yield


def _after_fork() -> None:
    global _turn, _inherited
    _turn = threading.RLock()  # another thread may have held it
    _inherited = _computed


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


_LAUNCHERS = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def launched() -> tuple[int, int]:
    """(rank, processes) as a launcher says; (0, 1) where none does."""
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return 0, 1
    return (rank, size) if size > 1 and all(name in os.environ for name in _LAUNCHERS) else (0, 1)


def speaks() -> bool:
    """Whether this process is the one that prints."""
    return launched()[0] == 0
