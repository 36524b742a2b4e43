"""When the state of an analysis is kept, of which run it is, and what one that is resumed needs of it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Self

import torch

from streamspread.accumulators.staging import Precision
from streamspread.errors import DataError, OptionError, StoreError
from streamspread.observe.hashing import parameters_sha256
from streamspread.observe.observed import Observed
from streamspread.options import Options
from streamspread.planner import Plan
from streamspread.store.checkpoints import read_checkpoint, write_checkpoint
from streamspread.store.files import check_writable
from streamspread.streams import Seen
from streamspread.streams.stream import checksum, head
from streamspread.system.version import __version__

#: Seconds between two checkpoints: at least so many, and so many times what the last one took.
LEAST_SECONDS, SHARE = 60.0, 50.0

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_HEAD = 64  # samples by which other data are told
_MACHINE = ("budget", "forward_bytes", "resident_bytes")  # of what is observed; they decide on a plan

Tensors = Mapping[str, torch.Tensor]
State = tuple[dict[str, Any], dict[str, torch.Tensor]]


class Job(NamedTuple):
    """Layers that are summed by a plan of their own: all at first, then those that overflowed, each with its
    precision. The plan follows from it."""

    rounding: str
    layers: tuple[str, ...]
    precisions: dict[str, Precision]

    @staticmethod
    def of(facts: Mapping[str, Any]) -> Job:
        """The job that ``_asdict()`` made JSON of."""
        return Job(facts["rounding"], tuple(facts["layers"]), precisions_of(facts["precisions"]))


def precisions_of(facts: Mapping[str, Any]) -> dict[str, Precision]:
    """Precisions by layer, of what JSON holds."""
    return {name: Precision(*fields) for name, fields in facts.items()}


class Keeper:
    """Keeps the state of an analysis in a file: from time to time, and when a signal ends the process. The
    signal then has its usual effect; a second one has it at once.

    Attributes:
        saved: what an earlier process left: a header and tensors; None where nothing is there.
    """

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
        self._seekable = stream.seekable
        self._path = Path(os.fspath(options.checkpoint or ""))
        self.saved = read_checkpoint(self._path)
        check_writable(self._path)
        self._told = json.loads(json.dumps(identity(observed, options)))
        self._machine = {name: getattr(observed, name) for name in _MACHINE}
        self._trial = _trial(observed.device)
        if self.saved is not None:
            with self.reading():
                self._compare(self.saved[0]["run"])
                self._machine = {name: int(self.saved[0]["machine"][name]) for name in _MACHINE}
        self._failed: list[str] = []
        self._cost, self._last = 0.0, time.monotonic()
        self._signal: int | None = None
        self._before: dict[int, Any] = {}

    def as_planned(self, observed: Observed) -> Observed:
        """What is observed, with the memory that the plan was made for."""
        return replace(observed, **self._machine)

    def check_plan(self, plan: Plan) -> None:
        """Raise StoreError where a plan is not the one that the checkpoint was made by."""
        if self.saved is not None and self.saved[0]["plan"] != outline(plan):
            raise StoreError(
                f"checkpoint {str(self._path)!r} is of another plan than is made here: remove it, or give "
                "another --checkpoint"
            )
        self._outline = outline(plan)

    def notes(self) -> list[str]:
        """What a result should say of its having been resumed, and kept."""
        if self.saved is None:
            return self._failed
        again = "" if self._seekable else "; what came before was read again, as these data cannot be skipped"
        notes = [f"resumed from a checkpoint, {self.saved[0]['where']}{again}"]
        if self.saved[0]["trial"] != self._trial:
            notes.append(
                "sums are rounded differently here than where the checkpoint was made (another number of "
                "threads, processor or library), so that the last digits are not those of one run"
            )
        return notes + self._failed

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Whatever does not fit in what is there is said in one line.

        Raises:
            StoreError: it does not fit.
        """
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, OptionError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            said = f"checkpoint {str(self._path)!r} is damaged ({reason})"
            raise StoreError(f"{said}: remove it, or give another --checkpoint") from error

    def release(self) -> None:
        """Let go of the tensors of what was saved, which may be as large as all sums."""
        if self.saved is not None:
            self.saved = self.saved[0], {}

    def offer(self, state: Callable[[], State]) -> None:
        """Keep the state if it is time to, or a signal came."""
        due = time.monotonic() - self._last >= max(LEAST_SECONDS, SHARE * self._cost)
        if due or self._signal is not None:
            self.keep(state)
            self._pass_on()

    def keep(self, state: Callable[[], State]) -> None:
        """Keep the state now. Where the file cannot be written, as on a full disk, the run goes on without,
        an older one is still there, and a note says so."""
        began = time.monotonic()
        facts, tensors = state()
        own = {"run": self._told, "machine": self._machine, "trial": self._trial, "plan": self._outline}
        try:
            write_checkpoint(own | facts, tensors, self._path)
        except StoreError as error:
            self._failed = [f"a checkpoint was not kept: {error}"]
        self._last = time.monotonic()
        self._cost = self._last - began

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)):
                before = signal.getsignal(number)
                if before not in (None, signal.SIG_IGN):  # what is ignored stays so, as under nohup
                    self._before[number] = signal.signal(number, self._came)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if kind is None and self._signal is not None:  # too late for a checkpoint
            signal.raise_signal(self._signal)

    def _came(self, number: int, frame: FrameType | None) -> None:
        first, self._signal = self._signal is None, number
        if not first:
            self._pass_on()

    def _pass_on(self) -> None:
        """Let a signal that came do what it would have done."""
        number, self._signal = self._signal, None
        if number is not None:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)
            signal.signal(number, self._came)  # the process goes on

    def _compare(self, run: Mapping[str, Any]) -> None:
        for name, now in self._told.items():
            if (then := run.get(name)) != now:
                raise StoreError(
                    f"checkpoint {str(self._path)!r} is of another run: {name} was {_short(then)}, and is "
                    f"{_short(now)}: give what it was made with, or another --checkpoint"
                )


def remove(options: Options) -> None:
    """Remove the files of a run that has ended well."""
    for one in (options.checkpoint, twins(options).checkpoint):
        if one is not None:
            with suppress(OSError):
                Path(os.fspath(one)).unlink(missing_ok=True)


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


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _trial(device: torch.device) -> str:
    """The checksum of products whose roundings depend on the order in which they are summed."""
    generator = torch.Generator().manual_seed(0)
    x_ND = torch.randn(1500, 200, generator=generator).to(device)
    wide_ND = x_ND.double()
    return checksum(x_ND.T @ x_ND, x_ND @ x_ND[:300].T, wide_ND.T @ wide_ND, wide_ND.sum())
