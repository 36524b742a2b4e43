"""Several processes on torch.distributed: a word of status before whatever travels, so that none waits for
one that has failed.

The word goes by gloo; what follows it as :mod:`streamspread.ranks.transport` says.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from itertools import pairwise
from operator import attrgetter
from types import FrameType
from typing import Any, NamedTuple, NoReturn, TypeVar

import torch

from streamspread.errors import RanksError
from streamspread.ranks import Ranks
from streamspread.ranks.transport import Wire, error_packed, kind, lost, packed, unpacked
from streamspread.system.process import SAME_SIGNAL

T = TypeVar("T")

#: How long a rank is waited for, which may be in the middle of the eigenvalues of a large matrix. One that
#: has ended is missed at once.
PATIENCE = timedelta(minutes=30)

_NUMBERS = 6  # of a word: whether all is well, and what is told
_FAILED = 1
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8)


class _Asked(NamedTuple):
    """What the leader sends to those who serve: ``ask`` and a method with its arguments, of which tensors
    follow by themselves; or how its work ended, ``gave`` or ``raised``, and with what."""

    kind: str
    value: Any
    name: str = ""
    owner: int | None = None
    tensors: tuple[tuple[tuple[int, ...], torch.dtype] | None, ...] = ()


class Group(Ranks):
    """One of several processes, of which all of the default group, or some ``members`` of it, share the work;
    all of that group make it at the same place."""

    def __init__(self, members: Sequence[int] | None = None) -> None:
        self._device = torch.device("cpu")
        self._depth = 0
        self._failed = self._leading = self._busy = self._pending = False
        self._interrupted = -SAME_SIGNAL
        self._gone: RanksError | None = None
        with self._reaching():
            self._wire = Wire(members, PATIENCE)
        self.rank, self.size = self._wire.rank, self._wire.size
        if self.rank < 0:  # no member
            return
        hosts = self.gather(socket.gethostname())
        here = [rank for rank, host in enumerate(hosts) if host == hosts[self.rank]]
        self.local_rank, self.local_size = here.index(self.rank), len(here)

    def use(self, device: torch.device) -> None:
        self._device = device

    def leave(self) -> None:
        if self._gone is None:
            self._gone = RanksError(f"the {self.size} processes have parted")
            self._wire.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        if not self._depth:
            self._failed = self._leading = self._busy = self._pending = False
            self._interrupted = -SAME_SIGNAL  # one of an earlier analysis does not count
        self._depth += 1
        try:
            with self._interruptible() if self._depth == 1 else nullcontext():
                try:
                    yield
                    if self._depth == 1:
                        self.tell()  # none goes on before all are through
                except BaseException as error:
                    if not self._failed:
                        self._fail(error)
                    raise
        finally:
            self._depth -= 1

    def tell(self, *numbers: int) -> list[Sequence[int]]:
        with self._asking():
            return self._word(numbers)

    def share(self, value: T) -> T:
        with self._asking():
            return self._shared(value)

    def gather(self, value: T) -> list[T]:
        mine = packed(value)
        with self._asking():
            sizes = [numbers[0] for numbers in self._word((len(mine),))]
            parts = self._wire.gather(mine, sizes)
        return [unpacked(part) for part in parts]

    def collect(self, parts: Sequence[torch.Tensor], owner: int) -> list[torch.Tensor]:
        told = self.gather([kind(part) for part in parts])
        device = parts[0].device if parts else torch.device("cpu")
        with self._asking():
            self._word()
            if self.rank != owner:
                for part in parts:
                    self._wire.send(part, owner)
                return []
            every: list[torch.Tensor] = []
            for source, kinds in enumerate(told):
                there = [torch.empty(one[0], dtype=one[1], device=device) for one in kinds if one]
                every += parts if source == owner else [self._wire.receive(one, source) for one in there]
        return every

    def broadcast(self, x: torch.Tensor, source: int) -> torch.Tensor:
        with self._asking():
            self._word()
            return self._wire.broadcast(x, source)

    def scatter(self, x_ND: torch.Tensor, bounds: Sequence[int], source: int) -> torch.Tensor:
        with self._asking():
            self._word()
            if self.rank != source:
                return self._wire.receive(x_ND, source)
            for rank, (begin, end) in enumerate(pairwise(bounds)):
                if rank != source:
                    self._wire.send(x_ND[:, begin:end], rank)
            return x_ND[:, bounds[source] : bounds[source + 1]]

    def add_to_owners_(self, parts: Sequence[tuple[torch.Tensor, int]]) -> None:
        with self._asking():
            self._word()
            for part, owner in parts:
                self._wire.add_at_(part, owner)

    def sum_(self, x: torch.Tensor) -> torch.Tensor:
        with self._asking():
            self._word()
            return self._wire.add_(x)

    def led(self, work: Callable[[], T], served: Any = None) -> T:
        if self._leading:  # asked for by work that is led already
            return work()
        if not self.leads:
            return self._serve(served)
        self._leading = True
        try:
            gave = work()
        except Exception as error:
            if not self._failed:
                self._send_out(_Asked("raised", error))
            raise
        finally:
            self._leading = False
        self._send_out(_Asked("gave", gave))
        return gave

    def ask(self, served: Any, name: str, *arguments: Any, owner: int | None = None) -> Any:
        if owner == 0:
            return attrgetter(name)(served)(*arguments)
        self._send_out(_Asked("ask", arguments, name, owner))
        if owner is None:
            return self._answered(attrgetter(name)(served)(*arguments), None)
        return self._answered(None, owner)

    def _serve(self, served: Any) -> Any:
        while True:
            asked = self._taken_in()
            if asked.kind == "raised":
                raise asked.value
            if asked.kind == "gave":
                return asked.value
            if asked.owner in (None, self.rank):
                self._answered(attrgetter(asked.name)(served)(*asked.value), asked.owner)
            else:
                self.tell()

    def _answered(self, mine: torch.Tensor | None, owner: int | None) -> torch.Tensor | None:
        """What was asked for, at the leader: the sum of all, or what its owner has; None where there is
        nothing to give."""
        with self._asking():
            if owner is None:
                self._word()
                if mine is not None:
                    mine = mine.contiguous()
                    self._wire.add_at_(mine, 0)
                return mine
            rows, columns, code = 0, 0, 0
            if mine is not None:
                rows, columns, code = *mine.shape, _DTYPES.index(mine.dtype)
            rows, columns, code = self._word((rows, columns, code))[owner]
            if mine is not None:
                self._wire.send(mine, 0)
                return None
            there = torch.empty(rows, columns, dtype=_DTYPES[code], device=self._device)
            return self._wire.receive(there, owner)

    def _send_out(self, asked: _Asked) -> None:
        tensors: list[torch.Tensor] = []
        if asked.kind == "ask":
            tensors = [one.contiguous() for one in asked.value if isinstance(one, torch.Tensor)]
            kinds = tuple(kind(one) for one in asked.value)
            plain = tuple(None if isinstance(one, torch.Tensor) else one for one in asked.value)
            asked = asked._replace(value=plain, tensors=kinds)
        with self._asking():
            self._shared(asked)
            for one in tensors:
                self._wire.broadcast(one, 0)

    def _taken_in(self) -> _Asked:
        with self._asking():
            asked: _Asked = self._shared(None)
            if asked.kind != "ask":
                return asked
            given = list(asked.value)
            for index, one in enumerate(asked.tensors):
                if one is not None:
                    shape, dtype = one
                    there = torch.empty(shape, dtype=dtype, device=self._device)
                    given[index] = self._wire.broadcast(there, 0)
        return asked._replace(value=given)

    def _shared(self, value: Any) -> Any:
        mine = packed(value) if self.leads else torch.empty(0, dtype=torch.uint8)
        (size, *_), *_ = self._word((len(mine),))
        sent = mine if self.leads else torch.empty(size, dtype=torch.uint8)
        self._wire.broadcast(sent, 0)
        return value if self.leads else unpacked(sent)

    def _word(self, numbers: Sequence[int] = ()) -> list[Sequence[int]]:
        """What each rank tells, all of it well; raises what one that failed says."""
        mine = torch.zeros(self.size, _NUMBERS, dtype=torch.int64)
        mine[self.rank, 1 : 1 + len(numbers)] = torch.tensor(numbers, dtype=torch.int64)
        self._wire.add_(mine)
        told: list[list[int]] = mine.tolist()
        if any(status for status, *_ in told):
            self._failed = True
            raise self._error_in(told, None)
        return [row[1 : 1 + len(numbers)] for row in told]

    def _fail(self, error: BaseException) -> NoReturn:
        """Tell the others, in the word that they wait for, or will, that this rank failed, and raise the
        error that all raise."""
        self._failed = True
        whole = error_packed(error)
        self._busy = True  # an interrupt now is of no account
        try:
            mine = torch.zeros(self.size, _NUMBERS, dtype=torch.int64)
            mine[self.rank, :2] = torch.tensor([_FAILED, len(whole)])
            self._wire.add_(mine)
            agreed = self._error_in(mine.tolist(), (error, whole))
        except RuntimeError:  # the others are gone: there is nobody to agree with
            raise error from None
        finally:
            self._busy = self._pending = False
        raise agreed

    def _error_in(
        self, told: list[list[int]], mine: tuple[BaseException, torch.Tensor] | None
    ) -> BaseException:
        """The error of the first rank that failed, at all of them."""
        failing = [rank for rank, (status, *_) in enumerate(told) if status]
        source = failing[0]
        own = mine if source == self.rank else None
        sent = own[1] if own else torch.empty(told[source][1], dtype=torch.uint8)
        self._wire.broadcast(sent, source)
        error: BaseException = own[0] if own else unpacked(sent)
        if len(failing) < self.size and isinstance(error, Exception):
            error.args = (f"{error} (on rank {source} of {self.size})", *error.args[1:])
        return error

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Within it an interrupt waits, or the others would wait for the rest of what was begun."""
        if self._gone is not None:  # nor can it be now
            raise self._gone
        self._busy = True
        try:
            with self._reaching():
                yield
        finally:
            self._busy = False
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Raises RanksError where another rank cannot be reached."""
        try:
            yield
        except RuntimeError as error:
            if self._failed:  # what another one said
                raise
            self._lost(error)

    def _lost(self, error: BaseException) -> NoReturn:
        self._failed = True
        if hasattr(self, "_wire"):  # those that wait for this one wait no longer
            self._wire.close()
        self._gone = lost(self.size, error)
        raise self._gone from error

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        usual = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or usual != signal.default_int_handler:
            yield
            return
        signal.signal(signal.SIGINT, self._came)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, usual)

    def _came(self, number: int, frame: FrameType | None) -> None:
        before, self._interrupted = self._interrupted, time.monotonic()
        if self._interrupted - before < SAME_SIGNAL:
            return
        if self._busy:
            self._pending = True
        else:
            raise KeyboardInterrupt
