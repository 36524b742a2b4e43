"""When the state of what takes long is kept in a checkpoint, of which run that is, and how it is resumed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from streamspread.errors import OptionError, StoreError, first_line
from streamspread.ranks import ALONE, Ranks
from streamspread.store.checkpoint_file import damaged
from streamspread.store.files import as_store_error, check_writable
from streamspread.store.parts import kept_by, read_checkpoint, sweep, write_checkpoint
from streamspread.system.files import claimed
from streamspread.system.process import SAME_SIGNAL, Held
from streamspread.system.tensors import checksum

#: Seconds between two checkpoints: at least so many, and so many times what the last one took.
LEAST_SECONDS, SHARE = 60.0, 50.0

_FIRST_SIGNAL = 2  # what one is told as, and its number; 1: it is time

Tensors = Mapping[str, torch.Tensor]
State = tuple[dict[str, Any], dict[str, torch.Tensor]]


class StateKeeper(Held):
    """Keeps a state in a file, or that of several ranks in one of each: from time to time, and when a signal
    ends a process. The signal then has its usual effect, on all of them; a second one has it at once.

    Attributes:
        saved: what an earlier process left: a header and tensors; None where nothing is there.
        failed: a note on a checkpoint that could not be kept, or nothing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        told: Mapping[str, Any],
        device: torch.device,
        more: Any = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """Looks at what is there.

        Args:
            told: what must be the same where a run is resumed, by what it is called in a message.
            more: what JSON holds, and is kept beside every state as ``machine``.
            ranks: that keep it together, and may be others than those that did before.

        Raises:
            StoreError: what is there is of another run, or no checkpoint, or the file cannot be written.
        """
        super().__init__(SAME_SIGNAL if ranks.size > 1 else 0.0)  # launchers pass on what a terminal sent
        self.path, self.ranks = Path(os.fspath(path)), ranks
        self.saved = read_checkpoint(self.path)
        check_writable(self.path)
        self._check_one_place()
        self.more = more
        self._told = json.loads(json.dumps(told))
        self._trial = _trial(device)
        if self.saved is not None:
            with self.reading():
                self._compare(self.saved[0]["run"])
                if more is not None:
                    self.more = {name: int(self.saved[0]["machine"][name]) for name in more}
        self.failed: list[str] = []
        self._cost, self._last = 0.0, time.monotonic()
        self._claim = ExitStack()

    def __enter__(self) -> Self:
        """From here on the file is in use by this run alone, until it ends.

        Raises:
            StoreError: it is in use by another one, which would write over what this one keeps.
        """
        other = None
        if self.ranks.leads:
            with as_store_error(self.path):
                other = self._claim.enter_context(claimed(self.path))
        if other := self.ranks.share(other):
            self._claim.close()
            raise StoreError(
                f"checkpoint {str(self.path)!r} is that of a run that has not ended, and holds "
                f"{other.name!r} beside it: wait for it, or give another --checkpoint"
            )
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, *rest: BaseException | TracebackType | None) -> None:
        self._claim.close()
        super().__exit__(kind, *rest)

    def pass_on(self, number: int) -> None:
        self._claim.close()  # it may end the process, which would leave a file
        super().pass_on(number)

    def notes(self, again: str = "") -> list[str]:
        """What a result should say of its having been resumed, and kept."""
        if self.saved is None:
            return self.failed
        notes = [f"resumed from a checkpoint, {self.saved[0]['where']}{again}"]
        if self.saved[0]["trial"] != self._trial:
            notes.append(
                "sums are rounded differently here than where the checkpoint was made (another number of "
                "threads, processor or library), so that the last digits are not those of one run"
            )
        return notes + self.failed

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
            reason = first_line(error)
            raise damaged(self.path, reason) from error

    def release(self) -> None:
        """Let go of the tensors of what was saved, which may be as large as all sums."""
        if self.saved is not None:
            self.saved = self.saved[0], {}

    def offer(self, state: Callable[[], State]) -> None:
        """Keep the state if it is time to, or a signal came; all ranks at the same place."""
        self._keep_if(time.monotonic() - self._last >= max(LEAST_SECONDS, SHARE * self._cost), state)

    def end(self, state: Callable[[], State]) -> None:
        """Keep the last state."""
        self._keep_if(True, state)

    def _keep_if(self, due: bool, state: Callable[[], State]) -> None:
        mine = int(due and self.ranks.leads) if self.came is None else _FIRST_SIGNAL + self.came
        wanted = max(number for (number,) in self.ranks.tell(mine))
        if wanted:
            self.keep(state)
        if wanted >= _FIRST_SIGNAL:
            self.pass_on(wanted - _FIRST_SIGNAL)

    def keep(self, state: Callable[[], State]) -> None:
        """Keep the state now. Where the file cannot be written, as on a full disk, the run goes on without,
        an older one is still there, and a note says so."""
        began = time.monotonic()
        facts, tensors = state()
        try:
            write_checkpoint(self._own() | facts, tensors, self.path, self.ranks)
        except StoreError as error:
            self.failed = [f"a checkpoint was not kept: {error}"]
        self._last = time.monotonic()
        self._cost = self._last - began

    def _own(self) -> dict[str, Any]:
        """What is kept with every state."""
        return {"run": self._told, "machine": self.more, "trial": self._trial}

    def _check_one_place(self) -> None:
        """That all ranks found one thing there, and nothing is left beside it."""
        found = None if self.saved is None else str(self.saved[0].get("moment"))
        if len({*self.ranks.gather(found)}) > 1:
            raise StoreError(
                f"not all ranks find the same checkpoint at {str(self.path)!r}: give a place that all of "
                "them reach"
            )
        if self.ranks.leads:
            sweep(self.path, [] if self.saved is None else kept_by(self.saved[0], self.path))

    def _compare(self, run: Mapping[str, Any]) -> None:
        for name, now in self._told.items():
            if (then := run.get(name)) != now:
                raise StoreError(
                    f"checkpoint {str(self.path)!r} is of another run: {name} was {_short(then)}, and is "
                    f"{_short(now)}: give what it was made with, or another --checkpoint"
                )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _trial(device: torch.device) -> str:
    """The checksum of products whose roundings depend on the order in which they are summed."""
    generator = torch.Generator().manual_seed(0)
    x_ND = torch.randn(1500, 200, generator=generator, dtype=torch.float32).to(device)
    wide_ND = x_ND.double()
    return checksum(x_ND.T @ x_ND, x_ND @ x_ND[:300].T, wide_ND.T @ wide_ND, wide_ND.sum())
