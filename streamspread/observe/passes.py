"""The pass loop: the data through the observed network, again and again, each time checked to be the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

import torch

from streamspread.errors import DataError
from streamspread.observe.observed import Observed
from streamspread.observe.placement import as_input
from streamspread.observe.repeats import Repeats
from streamspread.observe.taps import TapInfo, Watch
from streamspread.observe.views import mask_of
from streamspread.streams import Seen, prefetch
from streamspread.system.generators import as_before, drawn_seed, seeded
from streamspread.system.progress import Progress, Report

Consume = Callable[[TapInfo, torch.Tensor], None]


class Turn(NamedTuple):
    """Which of how many passes this is, from 1, and what the progress calls it; None: by its layers."""

    number: int
    of: int
    label: str | None = None


class Passes:
    """Sends the data through the network, a pass at a time.

    What is summed in several passes is of one set of samples, in one network, only if every pass brings the
    samples of the first one in the same order, and the taps give the same for them. Both are looked at; a
    tensor repeats by its nature. So that a forward that draws random numbers repeats, the generators are
    put for each batch to a place that depends on the batch alone, and are after each pass as they were before
    it.

    Attributes:
        data_seen: what the data of the first pass were, as a hash; "" before its end.
    """

    def __init__(
        self,
        observed: Observed,
        report: Report,
        several: bool = True,
        again: Collection[str] | None = None,
    ) -> None:
        """``several``: whether more than one pass may come, so that batches are worth remembering; ``again``:
        the taps that take part in more than one, all of them where it is None."""
        self.observed, self.report = observed, report
        self.data_seen = ""
        self._compare = several and observed.stream.ordered and observed.stream.tensor is None
        self._seen: list[str] = []  # up to each batch of the first pass
        names = [tap.name for tap in observed.taps] if again is None else again
        self._repeats = Repeats(observed.device, names) if several and names else None
        self._seed = drawn_seed()

    def run(self, taps: Sequence[TapInfo], consume: Consume, turn: Turn, every: int = 1) -> int:
        """One pass: each tap's output of each batch goes to ``consume`` as (n, D), and must be used at once;
        in slices where a view makes these rows.

        Args:
            every: only so many-th batches go through the network, for a rough look.

        Returns:
            how many samples went through the network.

        Raises:
            DataError: the data is not that of the first pass, or not as much as was announced.
            ActivationError: a tap gave another shape, or was not reached.
        """
        observed, repeats = self.observed, self._repeats if every == 1 else None
        watch = Watch(observed.model, taps)
        label = turn.label or (f"{taps[0].name} … {taps[-1].name}" if len(taps) > 1 else taps[0].name)
        total = observed.samples if every == 1 else None
        first = done = 0

        def report() -> None:
            self.report(Progress("pass", turn.number, turn.of, done, total, "images", label))

        def see(tap: TapInfo, x_ND: torch.Tensor) -> None:
            if repeats is not None:
                repeats.see(tap, first, x_ND)
            consume(tap, x_ND)

        if repeats is not None:
            repeats.begin(turn.number)
        report()
        with (
            as_before(observed.device),
            closing(self._batches(every)) as batches,
        ):  # at once, also after an error
            for first, batch in batches:
                with seeded((self._seed + first) % 2**63, observed.device):
                    watch.run(batch, see, mask_of(batch))
                done += batch.shape[0]
                report()
                del batch  # before the next one is made
        if repeats is not None:
            repeats.settle()
        if total is not None and done != total:
            raise DataError(
                f"{observed.stream.description}: {done:,} samples came in pass {turn.number}, "
                f"{total:,} were announced"
            )
        return done

    def _batches(self, every: int) -> Generator[tuple[int, torch.Tensor], None, None]:
        """The stream's batches on the device in the model's dtype, with the number of its first sample."""
        observed = self.observed
        stream, device = observed.stream, observed.device
        # One that lies on the device needs no way there.
        there = stream.tensor is not None and stream.tensor.device == device
        numbers: deque[int] = deque()
        chosen = self._read(every, numbers)
        for batch in chosen if there else prefetch(chosen, device):
            yield numbers.popleft(), as_input(batch, device, observed.dtype)

    def _read(self, every: int, numbers: deque[int]) -> Iterator[torch.Tensor]:
        """Every so many-th batch; into ``numbers`` goes that of its first sample."""
        stream, size = self.observed.stream, self.observed.batch_size
        first, seen, start = not self.data_seen, Seen(), 0
        for number, batch in enumerate(stream.batches(size)):
            if first or self._compare:
                seen.add(batch)
            if self._compare:
                self._check(number, seen.text(), first)
            # One that is larger than any before would take more memory than was planned.
            for part in batch.split(size):
                if number % every == 0:
                    numbers.append(start)
                    yield part
                start += part.shape[0]
        if first:
            self.data_seen = seen.text()

    def _check(self, number: int, seen: str, first: bool) -> None:
        if first:
            self._seen.append(seen)
        elif number >= len(self._seen) or self._seen[number] != seen:
            raise DataError(
                f"{self.observed.stream.description}: batch {number + 1} differs between passes; the data "
                "must repeat (no shuffling, no random augmentation)"
            )
