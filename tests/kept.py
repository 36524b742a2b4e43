"""What each of three processes does, of which some begin an analysis, and others go on with it, as those
of :mod:`tests.worlds`.

A run is ended again and again, at every so many-th sign of life, and each time as many ranks go on as are
next in their turn.
"""

import os
import shutil
import signal
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path

from streamspread.ranks import ALONE
from streamspread.ranks.group import Group
from streamspread.store import keeping, parts
from tests import worlds
from tests.worlds import BATCH, OF_ALL, OF_CLASSES, SERVED, SMALL, TILES, WHOLE, X, far, labelled, reads, run

SIZE = 3
MANY = {"rounding": "int16", "method": "gram", "constants": TILES}
NARROW = {"layers": ("c1",), "method": "covariance", "constants": SMALL}


class Ended(Exception):
    """Ends a run, on all ranks."""


class Streamed:
    """Batches that can be iterated anew, of what says where it is and goes on there."""

    def __init__(self):
        self.at, self.begun = 0, 0

    def __iter__(self):
        batches = X.split(BATCH)
        self.at, self.begun = self.begun, 0
        while self.at < len(batches):
            self.at += 1
            yield batches[self.at - 1]

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.begun = state["at"]


def group(size):
    return GROUPS.setdefault(size, ALONE) if size == 1 else GROUPS[size]


def ended(after):
    """A progress callback that ends the run at its so many-th call, but in no eigenvalue step and no inner
    products, which begin anew."""
    calls = []

    def report(event):
        if event.stage not in ("all eigenvalues", "inner products"):
            calls.append(event)
            if len(calls) == after:
                raise Ended

    return report


def folder_of(all_ranks):
    """A new folder, the same for all."""
    made = FOLDER / f"run-{next(NUMBERS)}"
    if all_ranks.leads:
        made.mkdir()
    all_ranks.tell()
    return made


def resumed(all_ranks, sizes, every, made=dict, **given):
    """The result, how often the run was ended, and the files that were there at the end."""
    path, hashes = folder_of(all_ranks) / "run", {}
    for turn in count():
        assert turn < 200
        size, done = sizes[turn % len(sizes)], None
        if all_ranks.rank < size:
            try:
                done = run(group(size), progress=ended(1 + every), checkpoint=path, **made(), **given)
            except Ended:
                assert path.is_file()
            except Exception as error:  # the others wait for what comes of it
                done = error
        hashes |= worlds.HASHES
        done = all_ranks.gather(done)[0]
        if isinstance(done, Exception):
            raise done
        if done is not None:
            return {**done, "hashes": hashes, "ends": turn, "files": left(all_ranks, path)}


def left(all_ranks, path):
    """The files of a checkpoint, which goes."""
    names = sorted(one.name for one in path.parent.iterdir())
    all_ranks.tell()
    if all_ranks.leads:
        for one in (path, path.with_name("run.twin")):
            parts.remove_checkpoint(one)
        path.parent.rmdir()
    all_ranks.tell()
    return names


def kept(name, sizes, *exactly, every=1, made=dict, **given):
    """A case that goes on on so many ranks in turn; and undisturbed ones that it must be like: exactly, or
    nearly so."""
    undisturbed = {
        f"{name} on {n}": (n, lambda r: run(r, **made(), **given)) for n in (exactly or (sizes[0],))
    }
    by = " ".join(map(str, sizes))
    return {
        f"{name} by {by}": (SIZE, lambda r: resumed(r, sizes, every, made, **given)),
        **undisturbed,
    }


def begun(all_ranks, path, size, **given):
    """A run that so many ranks were ended in."""
    if all_ranks.rank < size:
        with suppress(Ended):
            run(group(size), progress=ended(4), checkpoint=path, **given)
    all_ranks.tell()


def gone_on(change=None, **others):
    """What comes of a run of two ranks, in which something is changed after its end, when all three go on."""

    def case(all_ranks):
        path = folder_of(all_ranks) / "run"
        begun(all_ranks, path, 2, **OF_ALL)
        changed = (change(all_ranks, path) if change else None) or {}
        all_ranks.tell()
        return run(all_ranks, **{"checkpoint": path, **OF_ALL, **others, **changed})

    return SIZE, case


def without_one(all_ranks, path):
    if all_ranks.leads:
        (beside,) = path.parent.glob("run.rank-1-of-2.*")
        beside.unlink()


def of_another_moment(all_ranks, path):
    """The second rank's file is that of a run that had come farther."""
    if all_ranks.leads:
        (beside,) = path.parent.glob("run.rank-1-of-2.*")
        shutil.copy(beside, path.parent / "kept")
    begun(all_ranks, path, 2, **OF_ALL)
    if all_ranks.leads:
        (beside,) = path.parent.glob("run.rank-1-of-2.*")
        shutil.move(path.parent / "kept", beside)


def with_a_bit_flipped(all_ranks, path):
    if all_ranks.leads:
        (beside,) = path.parent.glob("run.rank-1-of-2.*")
        content = bytearray(beside.read_bytes())
        content[-len(content) // 3] ^= 1
        beside.write_bytes(content)


def another_place(all_ranks, path):
    return {"checkpoint": path.with_name(f"run-{all_ranks.rank}")}


def full(all_ranks):
    """The disk is full at the second rank."""
    path = folder_of(all_ranks) / "run"
    if all_ranks.rank == 1:
        parts.write_file, real = no_space, parts.write_file
    try:
        done = run(group(2), checkpoint=path, **OF_ALL) if all_ranks.rank < 2 else None
    finally:
        if all_ranks.rank == 1:
            parts.write_file = real
    done = all_ranks.gather(done)[0]
    return {**done, "files": left(all_ranks, path)}


def no_space(header, tensors, file):
    file.write(b"half of it")
    raise OSError(28, "No space left on device")


def left_by_an_end(all_ranks):
    """A file of a moment that nothing names is beside, and one that is somebody else's."""
    path = folder_of(all_ranks) / "run"
    beside = [path.with_name("run.rank-1-of-2.0123456789ab"), path.with_name("run.rank-1-of-2.txt")]
    if all_ranks.leads:
        for one in beside:
            one.write_bytes(b"")
    all_ranks.tell()
    if all_ranks.rank < 2:
        run(group(2), checkpoint=path, **OF_ALL)
    all_ranks.tell()
    found = [one.exists() for one in beside]
    all_ranks.tell()
    return found


def signalled(number):
    """A signal comes to the second rank, and has its effect on all, when all is kept; then it goes on."""

    def case(all_ranks):
        path, seconds = folder_of(all_ranks) / "run", keeping.LEAST_SECONDS
        keeping.LEAST_SECONDS = 1e9
        before = signal.signal(number, end)
        sent = []

        def report(event):
            if all_ranks.rank == 1 and len(sent) == 2:
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), number)  # as a terminal and a launcher do
            sent.append(event)

        came = False
        if all_ranks.rank < 2:
            try:
                run(group(2), progress=report, checkpoint=path, **OF_ALL)
            except Ended:
                came = path.is_file()
        signal.signal(number, before)
        keeping.LEAST_SECONDS = seconds
        came = all_ranks.gather(came)
        done = run(group(2), checkpoint=path, **OF_ALL) if all_ranks.rank < 2 else None
        return {**(done or {}), "came": came}

    return SIZE, case


def end(number, frame):
    raise Ended


TOKENS = {"layers": ("linear",), "view": ("position",)}
IN_TURN = (2, 1, 3)

CASES = {
    **kept("served", IN_TURN, 1, constants=SERVED, method="covariance"),
    **kept("int16", (3, 1, 2), 1, method="covariance", rounding="int16", layers=("c5",)),
    **kept("gram", (2,), 2, constants=TILES, method="gram"),
    **kept("gram", (3, 1, 2), 1, every=2, constants=TILES, method="gram"),
    **kept("gram int16", IN_TURN, 1, constants=WHOLE, method="gram", rounding="int16"),
    **kept("tiles at int16", (2,), 2, **MANY),
    **kept("served grams", IN_TURN, 1, constants=SERVED, method="gram"),
    **kept("sketch", (2,), 2, method="sketch", rank=64),
    **kept("sketch", IN_TURN, 1, method="sketch", rank=64),
    **kept("narrow", IN_TURN, 1, **NARROW),
    **kept("places", IN_TURN, 1, view=("position", "whole"), layers=("c5",), method="covariance"),
    **kept("directions", IN_TURN, 1, method="covariance", directions=3, scores=True),
    **kept("directions of grams", (2,), 2, method="gram", directions=3, constants=TILES),
    **kept("directions of grams", IN_TURN, 1, method="gram", directions=3, constants=TILES),
    **kept("a twin", IN_TURN, 1, layers=("c5",), with_random=True),
    **kept("overflow", IN_TURN, 1, data=far(1), method="covariance", rounding="fp16"),
    **kept("read again", IN_TURN, 1, data=lambda: iter(X.split(BATCH)), **OF_ALL),
    **kept("stateful", IN_TURN, 1, made=lambda: {"data": Streamed()}, **OF_ALL),
    **kept("texts", IN_TURN, 1, made=lambda: {"model": reads(), "data": worlds.texts}, **TOKENS),
    **kept("classes", IN_TURN, 1, made=lambda: {"data": labelled()}, constants=SERVED, **OF_CLASSES),
    "without one": gone_on(without_one),
    "of another moment": gone_on(of_another_moment),
    "a bit flipped": gone_on(with_a_bit_flipped),
    "another place": gone_on(another_place),
    "other options": gone_on(seed=1),
    "a full disk": (SIZE, full),
    "left by an end": (SIZE, left_by_an_end),
    "SIGHUP": signalled(signal.SIGHUP),
    "SIGTERM": signalled(signal.SIGTERM),
}
FOLDER = Path()
GROUPS, NUMBERS = {}, count()


def main(rank, size, folder):
    global FOLDER
    FOLDER = Path(folder)
    keeping.LEAST_SECONDS = keeping.SHARE = 0.0
    keeping._trial = cache(keeping._trial)
    worlds.join(rank, size, FOLDER)
    GROUPS.update({n: Group(range(n)) for n in (2, 3)})
    worlds.go(CASES, GROUPS, rank, FOLDER)
