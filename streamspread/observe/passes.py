"""The pass loop: the data through the observed network, again and again, each time checked to be the same."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

import torch

from streamspread.errors import DataError
from streamspread.observe.observed import Observed
from streamspread.observe.placement import as_input
from streamspread.observe.taps import TapInfo, Watch
from streamspread.streams import fingerprint, prefetch
from streamspread.system.progress import Progress, Report

Consume = Callable[[TapInfo, torch.Tensor], None]


class Turn(NamedTuple):
    """Which of how many passes this is, from 1, and what the progress calls it; None: by its layers."""

    number: int
    of: int
    label: str | None = None


class Passes:
    """Sends the data through the network, a pass at a time.

    Every pass must bring the samples of the first one in the same order, since what is summed in several
    passes is of one set of samples only then. A tensor repeats by its nature, and is not looked at.
    """

    def __init__(self, observed: Observed, report: Report, several: bool = True) -> None:
        """``several``: whether more than one pass may come, so that batches are worth remembering."""
        self.observed, self.report = observed, report
        self._compare = several and observed.stream.ordered
        self._prints: list[int] = []  # of the batches of the first pass
        self._begun = False

    def run(self, taps: Sequence[TapInfo], consume: Consume, turn: Turn, every: int = 1) -> int:
        """One pass: each tap's output of each batch goes to ``consume`` as (n, D), and must be used at once.

        Args:
            every: only so many-th batches go through the network, for a rough look.

        Returns:
            how many samples went through the network.

        Raises:
            DataError: the data is not that of the first pass, or not as much as was announced.
            ActivationError: a tap gave another shape, or was not reached.
        """
        observed = self.observed
        watch = Watch(observed.model, taps)
        label = turn.label or (f"{taps[0].name} … {taps[-1].name}" if len(taps) > 1 else taps[0].name)
        total = observed.samples if every == 1 else None
        done = 0

        def report() -> None:
            self.report(Progress("pass", turn.number, turn.of, done, total, "images", label))

        report()
        with closing(self._batches(every)) as batches:  # at once, also after an error
            for batch in batches:
                watch.run(batch, consume)
                done += batch.shape[0]
                report()
                del batch  # before the next one is made
        if total is not None and done != total:
            raise DataError(
                f"{observed.stream.description}: {done:,} samples came in pass {turn.number}, "
                f"{total:,} were announced"
            )
        return done

    def _batches(self, every: int) -> Generator[torch.Tensor, None, None]:
        """The stream's batches on the device in the model's dtype."""
        observed = self.observed
        stream, device = observed.stream, observed.device
        # One that lies on the device needs no way there.
        there = stream.tensor is not None and stream.tensor.device == device
        chosen = self._read(every)
        for batch in chosen if there else prefetch(chosen, device):
            yield as_input(batch, device, observed.dtype)

    def _read(self, every: int) -> Iterator[torch.Tensor]:
        stream, size = self.observed.stream, self.observed.batch_size
        compare, first = self._compare and stream.tensor is None, not self._begun
        self._begun = True
        for number, batch in enumerate(stream.batches(size)):
            if compare:
                self._check(number, fingerprint(batch), first)
            if number % every == 0:
                # One that is larger than any before would take more memory than was planned.
                yield from batch.split(size)

    def _check(self, number: int, value: int, first: bool) -> None:
        if first:
            self._prints.append(value)
        elif number >= len(self._prints) or self._prints[number] != value:
            raise DataError(
                f"{self.observed.stream.description}: batch {number + 1} differs between passes; the data "
                "must repeat (no shuffling, no random augmentation)"
            )
