"""Tests of prefetch: order, errors, an early end, and on a GPU the copy itself."""

import threading
import time

import pytest
import torch

from streamspread.streams.feed import in_background, prefetch


def names():
    return [thread.name for thread in threading.enumerate()]


def wait_until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "did not happen within 60 s"
        time.sleep(0.005)


def test_on_cpu_batches_pass_through_without_a_copy_or_a_thread():
    parts = list(torch.rand(10, 3).split(4))
    got = []
    for batch in prefetch(iter(parts), "cpu"):
        assert "streamspread-prefetch" not in names()
        got.append(batch)
    assert [b.data_ptr() for b in got] == [p.data_ptr() for p in parts]


@pytest.mark.parametrize("depth", [1, 3])
def test_the_thread_runs_ahead_just_so_far(depth):
    started = []
    running = in_background(range(50), started.append, depth)
    next(running)
    wait_until(lambda: len(started) == depth + 2)  # one taken, depth waiting, one held
    time.sleep(0.15)
    assert len(started) == depth + 2
    running.close()


@pytest.mark.parametrize("where", ["source", "work"])
def test_an_error_reaches_the_consumer_at_its_place(where):
    def source():
        yield from range(3)
        if where == "source":
            raise ValueError("bad batch")
        yield 3

    def work(i):
        if i == 3:
            raise ValueError("bad batch")
        return i

    running = in_background(source(), work, 2)
    got = [next(running) for _ in range(3)]
    with pytest.raises(ValueError, match="bad batch"):
        next(running)
    assert got == [0, 1, 2]
    assert "streamspread-prefetch" not in names()


def test_closing_early_ends_the_thread_and_closes_the_source():
    closed = []

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.append(threading.current_thread().name)

    running = in_background(endless(), lambda i: i, 2)
    assert next(running) == 1
    assert "streamspread-prefetch" in names()
    running.close()
    assert "streamspread-prefetch" not in names()
    assert closed == ["streamspread-prefetch"]


@pytest.mark.gpu
@pytest.mark.parametrize("consumer", ["default stream", "own stream"])
def test_on_cuda_every_batch_arrives_whole_while_the_card_is_busy(consumer):
    parts = [torch.full((256, 3, 64, 64), i % 251, dtype=torch.uint8) for i in range(60)]
    busy = torch.randn(2048, 2048, device="cuda")
    stream = torch.cuda.default_stream() if consumer == "default stream" else torch.cuda.Stream()
    sums = []
    with torch.cuda.stream(stream):
        for batch in prefetch(iter(parts), "cuda"):
            assert batch.is_cuda
            for _ in range(5):
                busy = torch.tanh(busy @ busy)
            sums.append(
                batch.long().sum()
            )  # queued behind the products: the memory must not be reused before
            del batch
        got = torch.stack(sums).tolist()
    assert got == [int(p.long().sum()) for p in parts]


@pytest.mark.gpu
def test_on_cuda_batches_that_are_there_already_and_errors():
    parts = [torch.full((8, 3), float(i), device="cuda") for i in range(5)]
    assert [float(b.sum()) for b in prefetch((p * 1 for p in parts), "cuda:0")] == [
        24.0 * i for i in range(5)
    ]

    def broken():
        yield torch.zeros(2, 3)
        raise ValueError("bad batch")

    with pytest.raises(ValueError, match="bad batch"):
        list(prefetch(broken(), "cuda"))
    assert "streamspread-prefetch" not in names()
