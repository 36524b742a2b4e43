"""How fast this machine is, and the wire between ranks, measured in a moment, and so how long an analysis
will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import NamedTuple

import torch

from streamspread.accumulators.costs import Wire
from streamspread.engine.checkpoints import planned_alike
from streamspread.engine.plan import Outlook, Pace, Plan, outlook
from streamspread.engine.planning import planned
from streamspread.kernels import exact_speed
from streamspread.linalg.products import dense_product
from streamspread.observe.observed import Observed
from streamspread.observe.placement import as_input
from streamspread.observe.taps import forward
from streamspread.options import Options
from streamspread.ranks import Ranks, bounds_of
from streamspread.streams.stream import head
from streamspread.system.memory import freed_memory_kept

_PART = 4  # of a batch that is sent through the network; and all of it, which the caches hold less well,
_QUICK = 0.1  # where the part took no more seconds
_WORTH_A_WORD = 2e11  # operations; fewer take a few seconds on any machine
_SENT_ROWS, _SENT_COLUMNS = 256, 8192  # float32 numbers: 8 MiB of each rank


def measured(observed: Observed, roundings: Collection[str] = ()) -> Pace | None:
    """The machine's pace, for sums at these roundings; None for data that can be read once, which a look
    would use up."""
    if not observed.stream.repeatable:
        return None
    each = _forward(observed, max(1, observed.batch_size // _PART))
    if each * observed.batch_size <= _PART * _QUICK:
        each = _forward(observed, observed.batch_size)
    rows, terms, columns = observed.profile.trial
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(observed.profile.precision, torch.float32)
    a, b = (
        torch.ones(shape, dtype=dtype, device=observed.device) for shape in ((rows, terms), (terms, columns))
    )
    products = 2.0 * rows * terms * columns / _shortest(lambda: dense_product(a, b), observed.device, 4)
    wire = _wire(observed.ranks, observed.device) if observed.ranks.size > 1 else None
    exact = exact_speed(observed.device) if "int16" in roundings else None
    return Pace(products, each, observed.operations, exact, wire)


def _forward(observed: Observed, samples: int) -> float:
    """Seconds of a sample, among so many at a time."""
    x = as_input(head(observed.stream, samples), observed.device, observed.dtype)
    with freed_memory_kept(observed.device):  # as in a pass
        return _shortest(lambda: forward(observed.model, x.clone(), observed.call), observed.device) / len(x)


def _wire(ranks: Ranks, device: torch.device) -> Wire:
    """How fast rows and sums go between the ranks, as an analysis sends them; all of them ask."""
    x_ND = torch.zeros(_SENT_ROWS, _SENT_COLUMNS, dtype=torch.float32, device=device)
    bounds, sources = bounds_of(_SENT_COLUMNS, ranks), range(ranks.size)
    own_ND = x_ND[:, bounds[ranks.rank] : bounds[ranks.rank + 1]].contiguous()

    def rows() -> None:
        for source in sources:
            ranks.broadcast(x_ND, source)

    def columns() -> None:
        for source in sources:
            ranks.scatter(x_ND if source == ranks.rank else own_ND, bounds, source)

    of_all = float(ranks.size * x_ND.nbytes)
    taken = [_shortest(call, device) for call in (rows, columns, lambda: ranks.sum_(x_ND))]
    return Wire(of_all / taken[0], of_all / taken[1], x_ND.nbytes / taken[2])


def _shortest(call: Callable[[], object], device: torch.device, times: int = 2) -> float:
    """The shortest of some times, after one that is not counted."""
    taken = []
    for _ in range(times + 1):
        began = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def foreseen(observed: Observed, options: Options) -> Plan:
    """The plan for the observed layers, with how long it will take; all ranks that share it ask."""
    plan = planned_alike(observed, options)
    pace = measured(observed, _roundings(plan))
    return plan if pace is None else replace(plan, outlook=outlook(plan, pace, observed.profile))


def _roundings(plan: Plan) -> set[str]:
    return {layer.rounding for layer in plan.layers}


class Announce(NamedTuple):
    """Tells somebody, before an analysis begins, how long it will take, where that is worth a word.

    Attributes:
        tell: is given the outlook, and that of all samples where there are more.
        total: how many samples there are; None where that is not known.
    """

    tell: Callable[[Outlook, Outlook | None], None]
    total: int | None = None

    def __call__(self, observed: Observed, options: Options, plan: Plan, pace: Pace) -> None:
        more = None
        if self.total is not None and self.total != plan.samples:
            whole = planned(replace(observed, samples=self.total), options)
            more = outlook(whole, pace, observed.profile)
        if (now := outlook(plan, pace, observed.profile)) is not None:
            self.tell(now, more)


def announced(announce: Announce | None, observed: Observed, options: Options, plan: Plan) -> None:
    """Tell whoever wants to be told of this rank; all of them measure, where one is to tell."""
    wanted = any(observed.ranks.gather(announce is not None))
    if not wanted or sum(row.operations for row in plan.layers) < _WORTH_A_WORD:
        return
    pace = measured(observed, _roundings(plan))
    if announce is not None and pace is not None:
        announce(observed, options, plan, pace)
