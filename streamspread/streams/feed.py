"""Batches moved to the device before they are needed there."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from streamspread.streams.batch import Batch

_POLL_SECONDS = 0.05


def prefetch(batches: Iterable[Batch], device: torch.device | str, depth: int = 2) -> Iterator[Batch]:
    """The same batches on ``device``, in order.

    For a card, a thread reads them, and copies them from pinned memory on a CUDA stream of its own while the
    card works; up to ``depth`` + 2 batches are then on it. An exception of ``batches`` is raised here, at its
    place in the order; closing this generator ends the thread.
    """
    target = torch.device(device)
    if target.type != "cuda":
        for batch in batches:
            yield batch.to(target)
        return
    if target.index is None:
        target = torch.device("cuda", torch.cuda.current_device())
    side = torch.cuda.Stream(target)
    side.wait_stream(torch.cuda.current_stream(target))  # it may not have finished computing the batches

    def copy(batch: Batch) -> tuple[Batch, torch.cuda.Event]:
        # Every thread has a current device and stream of its own, so they are set in the one that copies.
        with torch.cuda.device(target), torch.cuda.stream(side):
            if batch.is_cuda:
                # Computed on the card, perhaps not yet: the copy waits for it, and the event for the copy.
                side.wait_stream(torch.cuda.default_stream(batch.device))
                moved = batch.to(target, non_blocking=True, copy=True)
            else:
                pinned = batch if batch.is_pinned() else batch.pin_memory()
                moved = pinned.to(target, non_blocking=True)
            done = torch.cuda.Event()
            done.record(side)
            if batch.is_cuda or batch.is_pinned():
                done.synchronize()  # the giver may write the next batch into the same memory
        return moved, done

    for moved, done in in_background(batches, copy, depth):
        current = torch.cuda.current_stream(target)
        current.wait_event(done)
        # The memory belongs to the side stream, which could give it away while this stream still reads it.
        moved.record_stream(current)
        yield moved
        del moved  # or it would stay in memory while the next one is waited for


def in_background(items: Iterable[Any], work: Callable[[Any], Any], depth: int) -> Iterator[Any]:
    """``work(item)`` for each item, in order, from a thread that is at most ``depth`` + 1 results ahead.

    An exception of the items or the work is raised here, at its place in the order; closing this generator
    ends the thread.
    """
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=max(1, depth))
    stop = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put((kind, value), timeout=_POLL_SECONDS)
                return

    def run() -> None:
        source: Iterator[Any] | None = None
        try:
            source = iter(items)
            for item in source:
                put("result", work(item))
                if stop.is_set():
                    break
            put("end", None)
        except BaseException as error:  # whatever it is: the consumer would wait for ever without it
            put("error", error)
        finally:
            # A generator that is not at its end is closed in the thread that ran it, so that it cleans up.
            close = getattr(source, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=run, name="streamspread-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
            del value
    finally:
        stop.set()
        thread.join()
