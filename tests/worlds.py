"""What each of five processes does, of which some share an analysis.

All cases run in one such world, since it takes seconds to start it. Every process writes what each case came
to into a file of its own.
"""

import hashlib
import os
import pickle
import signal
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from streamspread.accumulators.methods.covariance import Covariance
from streamspread.api.analyze import analyze_with, plan_with
from streamspread.api.calls import Subject
from streamspread.errors import DeviceError
from streamspread.models.network import build
from streamspread.options import Options
from streamspread.ranks import ALONE
from streamspread.ranks.group import Group
from streamspread.ranks.transport import Wire
from streamspread.system import devices
from tests.forks import Forked
from tests.hesitant import hesitate

PLAN = "plan:8,8,M,16,16,M,32,32"
BATCH = 16
SMALL = replace(devices.CPU, panel_rows=48)
SERVED = replace(SMALL, search_limit=0, dense_limit=0, block=16)  # no matrix is gathered
TILES = replace(SMALL, tile_bytes=1 << 16, narrow_sides=False)
WHOLE = replace(SMALL, narrow_sides=False)

X = torch.randn(130, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Faulty(nn.Module):
    """Fails at the batch that holds a marked image, but not in a look at the first one."""

    MARK = 1234.0

    def __init__(self, inner, how):
        super().__init__()
        self.inner, self.how = inner, how

    def forward(self, x):
        if bool((x == self.MARK).any()) and len(x) == BATCH:
            self.how()
        return self.inner(x)


def broken():
    raise ValueError("this layer is broken")


def out_of_memory():
    raise torch.OutOfMemoryError("CUDA out of memory")


def interrupted():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def marked(batch):
    x = X.clone()
    x[batch * BATCH + 3, 0, 0, 0] = Faulty.MARK
    return x


def with_nan(batch):
    x = X.clone()
    x[batch * BATCH + 3] = float("nan")
    return x


def at_one_place(value, batch, column):
    """Images of which one has such a value at one place."""
    x = X.clone()
    x[batch * BATCH + 3].view(-1)[column] = value
    return x


def far(batch):
    """Images of one batch are far from all others."""
    x = X.clone()
    x[batch * BATCH : (batch + 1) * BATCH] *= 1000.0
    return x


def faulty(how):
    torch.manual_seed(0)
    return Faulty(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 24)), how)


def network(seed=0):
    return build(PLAN.removeprefix("plan:").split(","), seed)


def few():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 3))


class Reads(nn.Module):
    """Takes texts of any length."""

    def __init__(self):
        super().__init__()
        self.embed, self.linear = nn.Embedding(50, 8), nn.Linear(8, 6)

    def forward(self, input_ids, attention_mask):
        return self.linear(self.embed(input_ids))


def reads():
    torch.manual_seed(0)
    return Reads()


def texts():
    """Batches of longer and longer texts, which go through a network in parts."""
    generator = torch.Generator().manual_seed(3)
    for length in (4, 6, 20, 9, 40, 4, 12):
        ids = torch.randint(50, (BATCH, length), generator=generator)
        mask = (torch.arange(length) < torch.randint(1, length + 1, (BATCH, 1), generator=generator)).long()
        yield {"input_ids": ids, "attention_mask": mask}


def labelled():
    labels = torch.arange(len(X)) % 3
    return DataLoader(TensorDataset(X, labels), batch_size=BATCH)


def seen(spectra):
    """What must be alike on all ranks, and on any number of them."""
    return {
        name: {
            "K": [tuple(one.components(tau)) for tau in (0.5, 0.7, 0.9)],
            "eigenvalues": one.eigenvalues,
            "total": one.total_variance,
            "proof": one.proof,
            "method": one.method,
            "passes": one.passes,
            "rounding": one.rounding,
            "samples": one.samples,
            "leading": one.leading,
        }
        for name, one in spectra.items()
    }


HASHES = {}


def recording(spectrum):
    """Covariance's own step, which notes a hash of all panels first."""

    def recorded(self, sums, options, progress):
        digest = hashlib.sha256()
        for _, _, panel in sums.panels.spans():
            digest.update(panel.contiguous().numpy().tobytes())
        for part in (sums.staging.sums.sum_D, sums.staging.sums.squares_D):
            digest.update(part.numpy().tobytes())
        HASHES[self.precision.layer] = digest.hexdigest()
        return spectrum(self, sums, options, progress)

    return recorded


def run(ranks, model=None, data=X, constants=SMALL, layers=("c3", "c5"), progress=None, **options):
    HASHES.clear()
    given = Options(layers=layers, thresholds=(0.5, 0.7, 0.9), **{"batch_size": BATCH, **options})
    subject = Subject(model or network(), data)
    spectra = analyze_with(subject, given, progress, constants=constants, ranks=ranks)
    facts = {name: spectra.provenance.get(name) for name in ("data_seen", "samples", "ranks", "notes")}
    return {"seen": seen(spectra), "hashes": dict(HASHES), "facts": facts, "twin": spectra.twin is not None}


def hesitating(ranks, **given):
    """As :func:`run`, of a layer that is unfit for the method that is planned for it."""
    with pytest.MonkeyPatch.context() as patched:
        hesitate(patched, {"c3": len(X)})
        return run(ranks, **given)


def on_two_threads(ranks, **given):
    """As :func:`run`, with two threads where there is most to do; elsewhere one."""
    torch.set_num_threads(2 if ranks.leads else 1)
    try:
        return run(ranks, **given)
    finally:
        torch.set_num_threads(1)


def sent(ranks, **given):
    """Bytes that a plan says this rank is sent, and those of numbers that came, without words and objects."""
    came = [0.0]

    def counting(name, share):
        usual = getattr(Wire, name)

        def counted(self, x, *where):
            came[0] += share(where) * x.nbytes * x.is_floating_point()
            return usual(self, x, *where)

        return name, counted

    others = 1.0 - 1.0 / ranks.size
    subject, options = Subject(network(), X), Options(batch_size=BATCH, layers=("c3", "c5"), **given)
    plan = plan_with(subject, options, WHOLE, timed=True, ranks=ranks)
    ways = (
        counting("broadcast", lambda where: where[0] != ranks.rank),
        counting("receive", lambda where: 1),
        counting("add_", lambda where: 2 * others),
        counting("add_at_", lambda where: others),
    )
    usual = {name: getattr(Wire, name) for name, _ in ways}
    try:
        for name, counted in ways:
            setattr(Wire, name, counted)
        analyze_with(subject, options, constants=WHOLE, ranks=ranks)
    finally:
        for name, way in usual.items():
            setattr(Wire, name, way)
    return {"foretold": plan.sent_bytes, "came": came[0], "waits": plan.outlook.waits}


def sendings(ranks):
    """What every way to send things gives on this rank, of what each rank has."""
    mine = torch.arange(6.0).view(3, 2) + 10 * ranks.rank
    parts = [mine[: ranks.rank].bfloat16(), torch.full((1, 2), ranks.rank)]
    bounds = [0, 0, 1, *[2] * (ranks.size - 1)][: ranks.size + 1]  # some have no columns
    own = torch.empty(3, bounds[ranks.rank + 1] - bounds[ranks.rank])
    whole = ranks.broadcast(mine.T.clone() if ranks.rank == 1 else torch.empty(2, 3), 1)
    return {
        "told": [tuple(one) for one in ranks.tell(ranks.rank, 5)],
        "gathered": ranks.gather({"rank": ranks.rank, "x": mine[:1]}),
        "collected": ranks.collect(parts, 1),
        "added": ranks.sum_(mine.clone().T),
        "number": ranks.sum_(torch.tensor(float(ranks.rank), dtype=torch.float64)),
        "broadcast": whole,
        "dealt": ranks.scatter(mine if ranks.rank == 0 else own, bounds, 0),
        "shared": ranks.share(ranks.rank),
        "led": ranks.led(lambda: ranks.rank),
    }


def between(ranks, how, way):
    """A rank fails between two sendings of one way, as one that is interrupted while it adds up rows."""
    own = torch.ones(3, 1)
    send = {
        "broadcasts": lambda source: ranks.broadcast(own.clone(), source),
        "scatters": lambda source: ranks.scatter(
            torch.ones(3, 3) if ranks.rank == source else own.clone(), range(4), source
        ),
        "collections": lambda owner: ranks.collect([own], owner),
    }[way]
    with ranks.together():
        send(0)
        if ranks.rank == 1:
            how()
        send(1)


def shuffled(ranks):
    torch.manual_seed(5)
    return DataLoader(TensorDataset(X), batch_size=BATCH, shuffle=True)


def dealt_out(ranks):
    sampler = DistributedSampler(TensorDataset(X), ranks.size, ranks.rank, shuffle=False)
    return DataLoader(TensorDataset(X), batch_size=BATCH, sampler=sampler)


def ends_early(ranks):
    """As many samples as announced nowhere, fewer on the last rank."""
    return lambda: iter((X[:100] if ranks.rank == ranks.size - 1 else X).split(BATCH))


def differs_late(ranks):
    x = X.clone()
    x[-1] += ranks.rank
    return lambda: iter(x.split(BATCH))


BY_TOKEN = {"layers": ("linear",), "view": ("position",)}
OF_ALL = {"method": "covariance", "constants": WHOLE}
OF_CLASSES = {"classes": True, "method": "covariance"}
ON_ITS_OWN = {"model": nn.Sequential(nn.Flatten()), "layers": ("0",), "constants": WHOLE}
FEW = {"model": few(), "layers": ("1",), "constants": WHOLE}
METHODS = {"covariance": {}, "gram": {}, "sketch": {"rank": 64}}
FAULTS = {"layers": ("inner.0", "inner.3"), "constants": SERVED, "method": "covariance"}


def several(name, sizes, made=dict, way=run, **given):
    return {f"{name} on {n}": (n, lambda r: way(r, **made(), **given)) for n in sizes}


WAYS = ("broadcasts", "scatters", "collections")
HOW = {"a broken layer": broken, "out of memory": out_of_memory, "an interrupt": interrupted}


def failing(size, how, batch):
    return size, lambda r: run(r, faulty(how), marked(batch), **FAULTS)


# By name: how many ranks, and what each of them does.
CASES = {
    **several("served", (1, 2, 3, 5), constants=SERVED, method="covariance"),
    **several("int16", (1, 2, 3, 5), method="covariance", rounding="int16", layers=("c5",)),
    **several("gram", (1, 4), constants=TILES, method="gram"),
    **several("gram int16", (1, 3), constants=WHOLE, method="gram", rounding="int16"),
    **several(
        "served grams",
        (1, 3),
        way=on_two_threads,
        constants=replace(SERVED, narrow_sides=False),
        method="gram",
    ),
    **several("sketch", (1, 2, 3, 5), method="sketch", rank=64),
    **several("open sketch", (1, 2, 3, 5), method="sketch", rank=8, max_passes=1),
    **several("directions of sketches", (1, 4), method="sketch", rank=40, directions=3),
    **{
        f"{kind} of {method} on {n}": (n, lambda r, given=given | {"method": method}: run(r, **given))
        for method, sizes in METHODS.items()
        for kind, given in {
            "ranks without a batch": {**sizes, "batch_size": 64, "constants": WHOLE},
            "fewer columns than ranks": {**FEW, **sizes},
            "overflow in one column": {
                **ON_ITS_OWN,
                **sizes,
                "data": at_one_place(3e5, 3, 150),
                "rounding": "fp16",
            },
        }.items()
        for n in (1, 4)
    },
    **several("places", (1, 4), view=("position", "whole"), layers=("c5",), method="covariance"),
    **several("directions", (1, 4), method="covariance", directions=3, scores=True),
    **several("directions of grams", (1, 4), method="gram", directions=3, constants=TILES),
    **several("a twin", (1, 2), layers=("c5",), with_random=True),
    **several("overflow", (1, 4), data=far(1), method="covariance", rounding="fp16"),
    **several("unfit", (1, 4), way=hesitating),
    **several("batches", (1, 3), data=lambda: iter(X.split(BATCH)), method="gram", constants=WHOLE),
    **several("an iterator", (1, 3), lambda: {"data": iter(X.split(BATCH))}, **OF_ALL),
    **several(
        "texts", (1, 3), lambda: {"model": reads(), "data": texts}, layers=("linear",), view=("position",)
    ),
    **several("classes", (1, 3), lambda: {"data": labelled()}, constants=SERVED, classes=True, method="gram"),
    **several("scatter of classes", (1, 3), lambda: {"data": labelled()}, constants=SERVED, **OF_CLASSES),
    **{f"{name} in batch {n}": failing(3, how, n) for name, how in HOW.items() for n in range(6)},
    **{
        f"{name} between {way}": (3, lambda r, how=how, way=way: between(r, how, way))
        for name, how in HOW.items()
        for way in WAYS
    },
    **{f"NaN in batch {n}": (3, lambda r, n=n: run(r, data=with_nan(n), **OF_ALL)) for n in range(6)},
    **{
        f"NaN in one column of {method}": (
            3,
            lambda r, given=given | {"method": method}: run(
                r, data=at_one_place(float("nan"), 4, 150), **ON_ITS_OWN, **given
            ),
        )
        for method, given in METHODS.items()
    },
    **{
        f"the wire of {method} {given['rounding']}": (
            4,
            lambda r, given=given | {"method": method}: sent(r, **given),
        )
        for method, given in (
            *((method, given | {"rounding": "fp32"}) for method, given in METHODS.items()),
            ("gram", {"rounding": "int16"}),
        )
    },
    "sendings": (3, lambda r: sendings(r)),
    "other weights": (3, lambda r: run(r, network(seed=int(r.rank == 1)))),
    "other data": (3, lambda r: run(r, data=X + (r.rank == 1))),
    "fewer data": (3, lambda r: run(r, data=X[: 130 - (r.rank == 2)])),
    "other options": (3, lambda r: run(r, seed=int(r.rank == 1))),
    "fewer batches": (3, lambda r: run(r, data=ends_early(r), method="covariance")),
    "other batches in the end": (3, lambda r: run(r, data=differs_late(r), method="covariance")),
    "shuffled": (3, lambda r: run(r, data=shuffled(r))),
    "a distributed sampler": (3, lambda r: run(r, data=dealt_out(r))),
    "after all errors": (3, lambda r: run(r, constants=SERVED, method="covariance")),
    "killed": failing(5, killed, 5),  # the last one: a rank is gone afterwards
}


def outcome(case, ranks):
    began = time.monotonic()
    try:
        done = {"result": case(ranks)}
    except BaseException as error:
        done = {"error": type(error).__name__, "line": str(error)}
    return {**done, "seconds": time.monotonic() - began}


def join(rank, size, folder):
    """Be one of so many processes."""
    torch.set_num_threads(1)
    if hasattr(os, "SCHED_BATCH"):  # or more of them than processors get into each other's way, threefold
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    store = dist.FileStore(str(folder / "store"), size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=timedelta(minutes=5))


def go(cases, groups, rank, folder):
    """Do what there is for this rank, of the groups by size, and write what it came to."""
    Covariance._spectrum = recording(Covariance._spectrum)
    found = {}
    for name, (n, case) in cases.items():
        if rank < n:
            found[name] = outcome(case, groups.get(n, ALONE))
            (folder / f"{rank}.pickle").write_bytes(pickle.dumps(found))
    os._exit(0)  # with one that was killed there is no group to leave


def main(rank, size, folder):
    folder = Path(folder)
    join(rank, size, folder)
    groups = {n: Group(range(n)) for n in sorted({n for n, _ in CASES.values()} - {1})}
    go(CASES, groups, rank, folder)


def came(module, size, folder, cases, codes):
    """What such processes, of the module that has these cases, came to, by case and rank; ``codes``: with
    which they end."""
    logs = [folder / f"{rank}.log" for rank in range(size)]
    began = [Forked(module, "main", [rank, size, str(folder)], folder, log) for rank, log in enumerate(logs)]
    try:
        ended = [one.wait(timeout=400) for one in began]
    finally:
        for one in began:
            one.kill()
    assert sorted(ended) == codes, "\n".join(log.read_text() for log in logs)
    found = {rank: pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(size)}
    return {
        name: [found[rank][name] for rank in range(n) if name in found[rank]]
        for name, (n, _) in cases.items()
    }


def results(world, name):
    """What a case gave, by rank; raises where it was refused for the device."""
    for one in world[name]:
        if one.get("error") == "DeviceError":
            raise DeviceError(one["line"])
    assert all("result" in one for one in world[name]), world[name]
    return [one["result"] for one in world[name]]


def one_line(world, name, size):
    """The error that all ranks raised, by its name, and its line."""
    assert len(world[name]) == size
    assert all("error" in one for one in world[name]), world[name]
    # Nobody waits for one that is gone until gloo gives up, which is after minutes.
    assert all(one["seconds"] < 60 for one in world[name]), world[name]
    ((error, line),) = {(one["error"], one["line"]) for one in world[name]}
    return error, line


def assert_same(one, other, exactly=False):
    """Two results, as of :func:`seen`, are alike: to the last bit, or but for the order of sums."""
    assert one.keys() == other.keys()
    for name, a in one.items():
        b = other[name]
        same = ("K", "proof", "method", "rounding", "samples")
        assert [a[part] for part in same] == [b[part] for part in same], (
            name,
            [(a[part], b[part]) for part in same],
        )
        if exactly:
            assert np.array_equal(a["eigenvalues"], b["eigenvalues"])
        count = min(len(a["eigenvalues"]), len(b["eigenvalues"]))
        # Tiles of other widths are added up in another order.
        most = (1e-7 if a["method"] == "gram" else 1e-8) * a["eigenvalues"][0]
        assert np.allclose(a["eigenvalues"][:count], b["eigenvalues"][:count], rtol=0, atol=most)
        assert a["total"] == pytest.approx(b["total"], rel=1e-12)
