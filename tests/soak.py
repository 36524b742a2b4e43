"""Many analyses in one process: ``python -m tests.soak --count 1000``.

Memory, open files, threads and hooks must be flat: what one analysis leaves behind, a thousand leave a
thousand times, in a service or a notebook. Networks, methods and options take turns, some of them fail, and
some are interrupted.
"""

import argparse
import contextlib
import gc
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

import torch

import streamspread
from streamspread.errors import StreamspreadError
from tests.networks import network, one_thread


class Held(NamedTuple):
    """What a process holds: resident bytes, open files, threads, hooks on the networks, and live tensors."""

    resident: int
    files: int
    threads: int
    hooks: int
    tensors: int


#: More than this is a leak: bytes for each analysis; of all else nothing may be left.
MOST_BYTES = 4 << 10

KINDS = ("cnn", "mlp", "transformer", "twice")
OPTIONS = (
    {"method": "covariance"},
    {"method": "gram", "rounding": "fp32"},
    {"method": "sketch", "rank": 8},
    {"method": "covariance", "directions": 2, "scores": True},
    {"method": "gram", "all_eigenvalues": True},
    {"method": "covariance", "rounding": "bf16"},
    {"method": "covariance", "memory": 1},  # too little
    {"method": "gram", "layers": "none"},  # no such layer
)


class Stop(Exception):
    """Ends an analysis in its middle."""


def held(networks):
    """What this process holds now."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    hooks = sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks)
        for model, _ in networks
        for module in model.modules()
    )
    tensors = sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())
    return Held(resident, len(os.listdir("/proc/self/fd")), threading.active_count(), hooks, tensors)


def one(number, networks, folder):
    """One analysis of many; every fifth is ended in its middle, every third has a checkpoint."""
    model, x = networks[number % len(networks)]
    options = {"layers": "*", "batch_size": 16, **OPTIONS[number // len(networks) % len(OPTIONS)]}
    if number % 3 == 0:
        options["checkpoint"] = folder / "kept"
    events = []

    def stop(event):
        events.append(event)
        if number % 5 == 0 and len(events) == 4:
            raise Stop

    with contextlib.suppress(StreamspreadError, Stop):
        streamspread.analyze(model, x, progress=stop, device="cpu", **options)
    (folder / "kept").unlink(missing_ok=True)


def soak(count, say=lambda number, now: None, warm=40):
    """So many analyses; what the process held after the first ``warm`` of them, when all is loaded and every
    size was taken once, and at the end."""
    networks = [network(kind, 48) for kind in KINDS]
    with tempfile.TemporaryDirectory() as folder, one_thread():
        for number in range(count):
            if number == warm:
                before = held(networks)
            one(number, networks, Path(folder))
            if number % 100 == 99:
                say(number + 1, held(networks))
        return before, held(networks)


def leaks(before, after, analyses):
    """What grew, a line each."""
    found = [
        f"{name}: {was:,} became {now:,}"
        for name, was, now in zip(Held._fields, before, after, strict=True)
        if now > was and name != "resident"
    ]
    if after.resident - before.resident > MOST_BYTES * analyses + (32 << 20):
        found.append(f"resident bytes: {before.resident:,} became {after.resident:,}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    given = parser.parse_args()

    def say(number, now):
        print(
            f"{number:5} analyses: {now.resident / 2**20:7.1f} MiB, {now.files} files, "
            f"{now.threads} threads, {now.hooks} hooks, {now.tensors} tensors",
            flush=True,
        )

    before, after = soak(given.count, say)
    found = leaks(before, after, given.count)
    print("\n".join(found) or "flat")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
