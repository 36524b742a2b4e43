"""What several ranks agree on before they share an analysis: that they were given the same, and one plan."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from streamspread.engine.checkpoints import identity, outline
from streamspread.engine.planning import plan_for, planned
from streamspread.errors import DataError, RanksError
from streamspread.observe.observed import Observed
from streamspread.observe.taps import TapInfo
from streamspread.options import Options
from streamspread.planner import Plan
from streamspread.system.tensors import checksum

_OWN = ("option device", "the device")  # each rank may have a card of its own


def agreed(observed: Observed, options: Options) -> Observed:
    """What is observed, with the memory that all ranks have.

    Raises:
        RanksError: a rank was given other data, weights or options than the first.
        DataError: data whose order is not known.
    """
    ranks = observed.ranks
    if ranks.size == 1:
        return observed
    if not observed.stream.ordered:
        raise DataError(
            f"{observed.stream.description}: its order may change, as where it shuffles or a "
            "DistributedSampler deals it out and pads it with repeats: give all ranks the data in one order, "
            "of which each takes its share"
        )
    for rank, other in enumerate(all_told := ranks.gather(_told(observed, options))):
        _compare(all_told[0], other, rank)
    memory = ranks.gather((observed.budget, observed.forward_bytes, observed.resident_bytes))
    budgets, forwards, residents = zip(*memory, strict=True)
    return replace(observed, budget=min(budgets), forward_bytes=max(forwards), resident_bytes=max(residents))


def planned_alike(
    observed: Observed, options: Options, taps: Sequence[TapInfo] | None = None, exact: bool = False
) -> Plan:
    """The plan of the first rank; arguments as of :func:`planned`.

    Raises:
        RanksError: another one would plan otherwise.
    """
    ranks = observed.ranks
    if ranks.size == 1:
        return planned(observed, options, taps, exact)
    # Which rounding pays is measured.
    mine = planned(observed, options, taps, exact) if ranks.leads else None
    rounding = ranks.share(mine.rounding if mine else "")
    plan = mine or plan_for(observed, options, observed.taps if taps is None else taps, rounding, exact)
    if any(other != outline(plan) for other in ranks.gather(outline(plan))):
        raise RanksError("the ranks plan differently: give all of them the same version, options and devices")
    return plan


def _told(observed: Observed, options: Options) -> dict[str, Any]:
    told = {name: value for name, value in identity(observed, options).items() if name not in _OWN}
    labels = observed.stream.labels
    told["option checkpoint"] = None if options.checkpoint is None else os.fspath(options.checkpoint)
    return told | {"the labels": None if labels is None else checksum(labels)}


def _compare(first: dict[str, Any], other: dict[str, Any], rank: int) -> None:
    for name, value in first.items():
        if other.get(name) != value:
            raise RanksError(
                f"rank {rank} was given something else than rank 0: {name} is {_short(other.get(name))}, and "
                f"{_short(value)} on rank 0: give all ranks the same"
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
