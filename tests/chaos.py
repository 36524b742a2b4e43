"""Kills runs at random moments and resumes them: ``python -m tests.chaos --kills 100``.

Each run is a process of its own, or two that share it, and says whenever something is done; after a random
number of these lines one of its processes gets a signal, SIGKILL more often than those that it could answer
to. All of them must then end. What ends in the end must have the bits of a run that nobody disturbed, and
leave no file.
"""

import argparse
import functools
import itertools
import random
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import torch
import torch.distributed as dist

import streamspread
from streamspread.datasets import load
from streamspread.store import keeping
from tests import pictures, trainings
from tests.bits import digest
from tests.forks import Forked
from tests.networks import growing, identity, network, one_thread, smallest_budget
from tests.processes import hear_signals

SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
_LONGEST_WAIT = 0.02  # seconds between a line and the signal
_PATIENCE = 60.0  # seconds in which all of a run's processes must have ended after that


class Items(torch.utils.data.Dataset):
    """A map-style data set."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index]


def _of(kind, samples, layers, **options):
    model, x = network(kind, samples)
    return model, Items(x), layers, {"batch_size": 20, **options}


def _several(kind, samples, layers, **options):
    """As much memory as it takes at the least, so that it takes several passes."""
    model, x = network(kind, samples)
    memory = smallest_budget(model, x, layers, **options)
    return model, x, layers, {**options, "memory": memory}


def _parquet(**options):
    """Images of a file, decoded a batch at a time."""
    model, _ = network("cnn", 2)
    options = {"forward": lambda model, images: model(images / 255), "batch_size": 20, **options}
    return model, load(f"parquet:{pictures.place()}", resident_bytes=1), ["1", "4"], options


TRAINING = "training"
CASES = {
    "covariance": lambda: _of("cnn", 400, ["1", "4"], method="covariance"),
    "gram": lambda: _of("mlp", 400, "*", method="gram"),
    "sketch": lambda: _of("cnn", 400, ["0", "4"], method="sketch", rank=8),
    "several passes": lambda: _several("cnn", 300, ["0", "1", "4"], method="gram", batch_size=30),
    "a file of images": lambda: _parquet(method="covariance"),
    "a transformer": lambda: _of("transformer", 300, "*"),
    "directions": lambda: _of("cnn", 300, ["1", "4"], directions=4, scores=True),
    "int16": lambda: _of("mlp", 400, "*", rounding="int16"),
    "overflow": lambda: (identity(), growing(30, 300), "*", {"rounding": "fp16", "batch_size": 30}),
}
#: Cases, each with how many processes share it.
RUNS = [*((case, size) for case in CASES for size in (1, 2)), (TRAINING, 1)]


def child(case, path, rank, size, meeting, pause):
    """One process of a run; the first says a line when anything is done, and the digest at the end. After
    ``pause`` lines it waits for :meth:`Started.go_on`, unless that is 0."""
    tell = pausing(pause, Path(meeting).with_name("on")) if pause else say
    keeping.LEAST_SECONDS = keeping.SHARE = 0.0
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    with one_thread():
        try:
            found = trained(path, tell) if case == TRAINING else analyzed(case, path, tell)
        except KeyboardInterrupt:  # Python's exit code is that of the signal for this very class alone
            raise KeyboardInterrupt from None
        finally:
            if size > 1:  # or gloo's threads may abort at the end
                with suppress(RuntimeError):
                    dist.destroy_process_group()
    assert not threads_of("gloo"), "the process group is still held"
    if rank == 0:
        print(found, flush=True)


def threads_of(library):
    """This process's threads with such a name, where the system tells."""
    named = (task / "comm" for task in Path("/proc/self/task").glob("*"))
    return [name for each in named if library in (name := each.read_text())]


def analyzed(case, path, tell):
    model, x, layers, options = CASES[case]()
    if path is not None:
        options["checkpoint"] = path
    return digest(streamspread.analyze(model, x, layers, progress=tell, **options))


def trained(path, tell):
    """A signal ends a training as Ctrl-C does: it gives what it has come to, and the process goes on."""
    result = streamspread.train(
        "plan:4,M,8",
        (trainings.TRAIN, trainings.TEST),
        **vars(trainings.RECIPE),
        device="cpu",
        checkpoint=path,
        progress=tell,
    )
    if result.interrupted:
        raise KeyboardInterrupt
    return trainings.digest(result)


def say(event):
    print(event.stage, flush=True)


def pausing(lines, place):
    """Says the same, and after so many lines waits until there is a file at this place."""
    numbers = itertools.count(1)

    def tell(event):
        say(event)
        if next(numbers) == lines:
            while not place.exists():
                time.sleep(0.01)

    return tell


class Started:
    """The processes of a run, each of which waits after ``pause`` lines."""

    def __init__(self, case, size=1, path=None, pause=0):
        self._folder = tempfile.TemporaryDirectory()
        self._place = Path(self._folder.name)
        meeting = str(self._place / "all")
        self.all = [
            Forked(
                "tests.chaos",
                "child",
                [case, path and str(path), rank, size, meeting, pause],
                self._place,
                self._said(rank),
            )
            for rank in range(size)
        ]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.all:
            one.kill()
        self._folder.cleanup()

    @property
    def lines(self):
        """What the first one says."""
        return self.all[0].stdout

    def go_on(self):
        """Let those that wait do so no longer."""
        (self._place / "on").touch()

    def codes(self):
        """How all of them ended."""
        until = time.monotonic() + _PATIENCE
        return [one.wait(timeout=max(0.1, until - time.monotonic())) for one in self.all]

    def errors(self):
        """What each has said on its standard error."""
        return "\n".join(self._said(rank).read_text(errors="replace") for rank in range(len(self.all)))

    def _said(self, rank):
        return self._place / f"{rank}.log"


@functools.cache
def undisturbed(case, size=1):
    """The digest of a run, and how many lines it says."""
    with Started(case, size) as run:
        lines = run.lines.read().split("\n")[:-1]
        codes = run.codes()
        assert codes == [0] * size, f"{case} on {size}: {codes}\n{run.errors()}"
    return lines[-1], len(lines) - 1


def killed(case, size, path, lines, rng):
    """The digest of a run; None where the signal ended it."""
    number, after, whom = rng.choice(SIGNALS), rng.randint(1, max(2, lines // 2)), rng.randrange(size)
    last = ""
    with Started(case, size, path) as run:
        for count, line in enumerate(run.lines, 1):
            last = line.strip()
            if count == after:
                time.sleep(rng.uniform(0.0, _LONGEST_WAIT))
                run.all[whom].send_signal(number)
        codes, errors = run.codes(), run.errors()
    if codes[0] == 0:  # it had given what it found, and its files were gone
        return last
    as_ended = -signal.SIGINT if case == TRAINING and number != signal.SIGKILL else -number
    said = f"{case} on {size}: {codes} after {number.name}\n{errors}"
    # One that came before anything was begun ends the process as it does any.
    assert codes[whom] in (as_ended, -number), said
    # Others end as it does, where it could still tell them, or say that it is gone.
    assert all(code in (as_ended, 0, 1) for rank, code in enumerate(codes) if rank != whom), said
    return None


def chaos(kills, seed, runs, say=print):
    """So many kills or a few more, as many of each run; how many ended, all with the bits of those
    undisturbed."""
    return sum(_chaos(-(-kills // len(runs)), seed, *run, say) for run in runs)


def _chaos(kills, seed, case, size, say):
    """How many times a run ended while it was killed so often."""
    rng, done, ends = random.Random(seed), 0, 0
    want, lines = undisturbed(case, size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        while done < kills:
            resumed = 0
            while True:
                got = killed(case, size, path, lines, rng) if done < kills else _ended(case, size, path)
                if got is not None:
                    break
                done, resumed = done + 1, resumed + 1
            assert got == want, f"{case} on {size}: other bits after {resumed} kills (seed {seed})"
            left = [one.name for one in Path(folder).iterdir() if not one.name.endswith(".part")]
            assert left == [], f"{case} on {size}: {left} was left"
            ends += 1
            say(f"{case} on {size}: the same bits after {resumed} kills; {done} of {kills}")
    return ends


def _ended(case, size, path):
    """The digest of a run that nobody disturbs any more."""
    with Started(case, size, path) as run:
        return run.lines.read().split()[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", choices=[*CASES, TRAINING], help="one kind of run alone")
    parser.add_argument("--size", type=int, choices=[1, 2], help="on so many processes alone")
    given = parser.parse_args()
    hear_signals()
    runs = [run for run in RUNS if given.case in (None, run[0]) and given.size in (None, run[1])]
    if not runs:
        parser.error(f"{given.case} runs on one process")
    ends = chaos(given.kills, given.seed, runs, say=functools.partial(print, flush=True))
    print(f"{ends} runs ended, each with the same bits")


if __name__ == "__main__":
    main()
