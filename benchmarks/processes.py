"""Seconds and peak memory of a function call in a fresh process, so that contenders do not meet."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def measured(
    call: Callable[..., Any], *arguments: Any, warm_up: Callable[[], Any] | None = None
) -> dict[str, Any]:
    """``seconds``, ``peak_bytes`` and ``found`` (what the call returned), or ``failed``.

    The peak is of resident memory that is no mapped file (Linux) above what there was before the call, or
    of torch's CUDA allocator where the call used a card. ``warm_up`` runs first: imports and compilation
    are nobody's arithmetic.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(call, arguments, warm_up, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        process.join()
        return {"failed": f"exit code {process.exitcode}"}
    finally:
        process.join()


@contextmanager
def within(changes: Mapping[str, str]) -> Iterator[None]:
    """A context in which processes that are started have these variables in their environment."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _measure(
    call: Callable[..., Any], arguments: tuple[Any, ...], warm_up: Callable[[], Any] | None, sender: Any
) -> None:
    if warm_up is not None:
        warm_up()
    _restart_card_peak()  # imports torch, which is no contender's memory
    base = peak = _anonymous_bytes()
    stop = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.01):
            peak = max(peak, _anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    try:
        found = call(*arguments)
        on_card = _card_peak()
        seconds = time.perf_counter() - began
    finally:  # also after an error: a thread that goes on would keep the process, and who waits for it
        stop.set()
        watcher.join()
    sender.send({"seconds": seconds, "peak_bytes": on_card or peak - base, "found": found})


def _anonymous_bytes() -> int:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("no RssAnon in /proc/self/status: this benchmark needs Linux")


def _restart_card_peak() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()


def _card_peak() -> int:
    import torch

    if not torch.cuda.is_available():
        return 0
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated())
