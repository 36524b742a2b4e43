"""Kills runs at random moments and resumes them: ``python -m tests.chaos --kills 100``.

Each run is a process of its own, which says whenever something is done; after a random number of these lines
it gets a signal, SIGKILL more often than those that it could answer to. What ends in the end must have the
bits of a run that nobody disturbed, and leave no file.
"""

import argparse
import functools
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import streamspread
from streamspread.store import keeping
from tests import trainings
from tests.bits import digest
from tests.networks import growing, identity, network, one_thread, smallest_budget

SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
_LONGEST_WAIT = 0.02  # seconds between a line and the signal


def _several(kind, samples, layers, **options):
    """As much memory as it takes at the least, so that it takes several passes."""
    model, x = network(kind, samples)
    memory = smallest_budget(model, x, layers, **options)
    return model, x, layers, {**options, "memory": memory}


TRAINING = "training"
CASES = {
    "covariance": lambda: (*network("cnn", 400), ["1", "4"], {"method": "covariance", "batch_size": 20}),
    "gram": lambda: (*network("mlp", 400), "*", {"method": "gram", "batch_size": 20}),
    "sketch": lambda: (*network("cnn", 400), ["0", "4"], {"method": "sketch", "rank": 8, "batch_size": 20}),
    "several passes": lambda: _several("cnn", 300, ["0", "1", "4"], method="gram", batch_size=30),
    "directions": lambda: (
        *network("cnn", 300),
        ["1", "4"],
        {"directions": 4, "scores": True, "batch_size": 30},
    ),
    "int16": lambda: (*network("mlp", 400), "*", {"rounding": "int16", "batch_size": 20}),
    "overflow": lambda: (identity(), growing(30, 300), "*", {"rounding": "fp16", "batch_size": 30}),
}


def child(case, path):
    """One run, which says a line when anything is done, and its digest at the end."""
    keeping.LEAST_SECONDS = keeping.SHARE = 0.0
    with one_thread():
        try:
            print(trained(path) if case == TRAINING else analyzed(case, path), flush=True)
        except KeyboardInterrupt:  # Python's exit code is that of the signal for this very class alone
            raise KeyboardInterrupt from None


def analyzed(case, path):
    model, x, layers, options = CASES[case]()
    if path is not None:
        options["checkpoint"] = path
    return digest(streamspread.analyze(model, x, layers, progress=say, **options))


def trained(path):
    """A signal ends a training as Ctrl-C does: it gives what it has come to, and the process goes on."""
    result = streamspread.train(
        "plan:4,M,8",
        (trainings.TRAIN, trainings.TEST),
        **vars(trainings.RECIPE),
        device="cpu",
        checkpoint=path,
        progress=say,
    )
    if result.interrupted:
        raise KeyboardInterrupt
    return trainings.digest(result)


def say(event):
    print(event.stage, flush=True)


def started(case, path=None):
    command = [sys.executable, "-m", "tests.chaos", "--child", case, *([str(path)] if path else [])]
    root = Path(__file__).resolve().parent.parent
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=root)


@functools.cache
def undisturbed(case):
    """The digest of a run, and how many lines it says."""
    with started(case) as process:
        lines = process.stdout.read().split("\n")[:-1]
    assert process.returncode == 0, case
    return lines[-1], len(lines) - 1


def killed(case, path, lines, rng):
    """The digest of a run; None where the signal ended it."""
    number, after = rng.choice(SIGNALS), rng.randint(1, max(2, lines // 2))
    last = ""
    with started(case, path) as process:
        for count, line in enumerate(process.stdout, 1):
            last = line.strip()
            if count == after:
                time.sleep(rng.uniform(0.0, _LONGEST_WAIT))
                process.send_signal(number)
    if process.returncode == 0:
        return last
    as_ended = -signal.SIGINT if case == TRAINING and number != signal.SIGKILL else -number
    # One that came before anything was begun ends the process as it does any.
    assert process.returncode in (as_ended, -number), f"{case}: {process.returncode} after {number.name}"
    return None


def chaos(kills, seed, cases, say=print):
    """So many kills over the cases in turn; how many runs ended, all with the bits of those undisturbed."""
    rng, done, ends = random.Random(seed), 0, 0
    known = {case: undisturbed(case) for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        path, turn = Path(folder) / "run", 0
        while done < kills:
            case, resumed = cases[turn % len(cases)], 0
            turn += 1
            while True:
                want, lines = known[case]
                got = killed(case, path, lines, rng) if done < kills else _ended(case, path)
                if got is not None:
                    break
                done, resumed = done + 1, resumed + 1
            assert got == want, f"{case}: other bits after {resumed} kills (seed {seed})"
            left = [one.name for one in Path(folder).iterdir() if not one.name.endswith(".part")]
            assert left == [], f"{case}: {left} was left"
            ends += 1
            say(f"{case}: the same bits after {resumed} kills; {done} of {kills}")
    return ends


def _ended(case, path):
    """The digest of a run that nobody disturbs any more."""
    with started(case, path) as process:
        return process.stdout.read().split()[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], given.child[1] if len(given.child) > 1 else None)
    else:
        print(f"{chaos(given.kills, given.seed, [*CASES, TRAINING])} runs ended, each with the same bits")


if __name__ == "__main__":
    main()
