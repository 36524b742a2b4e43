"""Of which analysis a checkpoint is, and what several ranks agree on before they share one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from streamspread.accumulators.staging import Precision
from streamspread.engine.plan import Plan
from streamspread.engine.planning import plan_for, planned
from streamspread.errors import DataError, RanksError, StoreError
from streamspread.observe.network import parameters_sha256
from streamspread.observe.observed import Observed
from streamspread.observe.taps import TapInfo
from streamspread.options import Options
from streamspread.store.keeping import State, StateKeeper, Tensors
from streamspread.store.parts import remove_checkpoint
from streamspread.streams.stream import Seen, head
from streamspread.system.tensors import checksum
from streamspread.system.version import __version__

__all__ = ["Job", "Keeper", "State", "Tensors", "precisions_of", "remove", "twins"]

_HEAD = 64  # samples by which other data are told
_MACHINE = (
    "budget",
    "forward_bytes",
    "resident_bytes",
    "shares",
)  # of what is observed; they decide on a plan


class Job(NamedTuple):
    """Layers that are summed by a plan of their own: all at first, then those that overflowed, each with its
    precision, and those that were unfit for their method, by an ``exact`` one. The plan follows from it."""

    rounding: str
    layers: tuple[str, ...]
    precisions: dict[str, Precision]
    exact: bool = False

    @staticmethod
    def of(facts: Mapping[str, Any]) -> Job:
        """The job that ``_asdict()`` made JSON of."""
        precisions = precisions_of(facts["precisions"])
        return Job(facts["rounding"], tuple(facts["layers"]), precisions, facts["exact"])


def precisions_of(facts: Mapping[str, Any]) -> dict[str, Precision]:
    """Precisions by layer, of what JSON holds."""
    return {name: Precision(*fields) for name, fields in facts.items()}


class Keeper(StateKeeper):
    """Keeps the state of an analysis, and knows which one it is."""

    def __init__(self, observed: Observed, options: Options) -> None:
        """Looks at what is there.

        Raises:
            DataError: data that cannot be read in the same order again.
            StoreError: what is there is of another run, or no checkpoint, or the file cannot be written.
        """
        stream = observed.stream
        if not (stream.repeatable and stream.ordered):
            how = "in the same order again" if stream.repeatable else "a second time"
            raise DataError(
                f"{stream.description}: a checkpoint is of no use where data cannot be read {how}: give data "
                "that can, or no --checkpoint"
            )
        self._outline: list[list[Any]] = []
        machine = {name: getattr(observed, name) for name in _MACHINE}
        who = identity(observed, options)
        super().__init__(options.checkpoint or "", who, observed.device, machine, observed.ranks)
        with self.reading():
            mark = self.saved[0]["passes"].get("mark") if self.saved is not None else None
            known = mark is None or bool(mark["place"])
        self._skipped = stream.seekable or (stream.stateful is not None and known)

    def as_planned(self, observed: Observed) -> Observed:
        """What is observed, with the memory that the plan was made for."""
        return replace(observed, **self.more)

    def check_plan(self, plan: Plan) -> None:
        """Raise StoreError where a plan is not the one that the checkpoint was made by."""
        if self.saved is not None and self.saved[0]["plan"] != outline(plan):
            raise StoreError(
                f"checkpoint {str(self.path)!r} is of another plan than is made here: remove it, or give "
                "another --checkpoint"
            )
        self._outline = outline(plan)

    def notes(self, again: str = "") -> list[str]:
        read = "" if self._skipped else "; what came before was read again, as these data cannot be skipped"
        return super().notes(read)

    def _own(self) -> dict[str, Any]:
        return super()._own() | {"plan": self._outline}


def remove(options: Options) -> None:
    """Remove the files of a run that has ended well."""
    for one in (options.checkpoint, twins(options).checkpoint):
        if one is not None:
            remove_checkpoint(os.fspath(one))


def twins(options: Options) -> Options:
    """The options of the random twin, whose checkpoint is a file of its own."""
    if options.checkpoint is None:
        return options
    return replace(options, checkpoint=f"{os.fspath(options.checkpoint)}.twin")


def identity(observed: Observed, options: Options) -> dict[str, Any]:
    """What must be the same where a run is resumed or shared, by what it is called in a message; JSON holds
    it."""
    seen = Seen()
    seen.add(head(observed.stream, min(_HEAD, observed.batch_size)))
    asked = options.asked()
    del asked["checkpoint"]
    return {
        "streamspread's version": __version__,
        **{f"option {name}": value for name, value in asked.items()},
        "the model": type(observed.model).__name__,
        "the hash of its weights": parameters_sha256(observed.model),
        "its dtype": str(observed.dtype),
        "the device": observed.device.type,
        "the layers": [tap.name for tap in observed.taps],
        "the data": observed.stream.description,
        "the number of samples": observed.samples,
        "the batch size": observed.batch_size,
        "the hash of the first samples": seen.text(),
    }


def outline(plan: Plan) -> list[list[Any]]:
    """What a state depends on of a plan."""
    return [
        [one.layer, one.candidate.label, one.rounding, list(one.pass_indices), _whole(one.sizes)]
        for one in plan.layers
    ]


def _whole(sizes: Mapping[str, Any]) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if isinstance(size, int)}


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
