"""The pass loop: the data through the observed network, again and again, each time checked to be the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from copy import deepcopy
from typing import Any, NamedTuple

import torch

from streamspread.errors import DataError
from streamspread.observe.exchange import Exchange
from streamspread.observe.observed import Observed
from streamspread.observe.placement import as_input
from streamspread.observe.repeats import Repeats
from streamspread.observe.taps import TapInfo, Watch
from streamspread.streams.batch import Batch
from streamspread.streams.feed import prefetch
from streamspread.streams.loaders import packed, unpacked
from streamspread.streams.stream import Read, Seen
from streamspread.system.memory import freed_memory_kept
from streamspread.system.progress import Progress, Report
from streamspread.system.tensors import below
from streamspread.system.torch_state import as_before, drawn_seed, seeded

Consume = Callable[[TapInfo, torch.Tensor], None]


class Turn(NamedTuple):
    """Which of how many passes this is, from 1, and what the progress calls it; None: by its layers."""

    number: int
    of: int
    label: str | None = None


class Mark(NamedTuple):
    """A place between two of the stream's batches: how many of them, and of their samples, went through the
    network in this pass, what was ``seen`` of them, and whether the pass is the ``first``; ``place``: what
    gives the state of a source that knows by itself where it is, or None; ``last``: the rank that had the
    last of these batches, whose place it is."""

    batches: int
    samples: int
    seen: Seen
    first: bool
    place: Callable[[], Any] | None = None
    last: int = 0


class _Part(NamedTuple):
    """What belongs to a part of one of the stream's batches: the number of its first sample, whether it is
    the batch's last, and with that what was read of the batch, and what gives the source's state after it."""

    first: int
    last: bool
    read: Read | None
    place: Callable[[], Any] | None


class Passes:
    """Sends the data through the network, a pass at a time.

    What is summed in several passes is of one set of samples, in one network, only if every pass brings the
    samples of the first one in the same order, and the taps give the same for them. Both are looked at; a
    tensor repeats by its nature. So that a forward that draws random numbers repeats, the generators are
    put for each batch to a place that depends on the batch alone, and are after each pass as they were before
    it.

    Of several ranks each sends every so many-th batch through its own network, and all get everyone's rows in
    the order of the batches (:mod:`streamspread.observe.exchange`).

    Attributes:
        data_seen: what the data of the first pass were, as a hash; "" before its end.
    """

    def __init__(
        self,
        observed: Observed,
        report: Report,
        several: bool = True,
        again: Collection[str] | None = None,
        after: Callable[[], None] | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        """``several``: whether more than one pass may come, so that batches are worth remembering; ``again``:
        the taps that take part in more than one, all of them where it is None; ``after``: called after each
        of the stream's batches, when :meth:`state` may be asked; ``exchange``: with the other ranks."""
        self.observed, self.report = observed, report
        self.data_seen = ""
        self._compare = several and observed.stream.ordered and observed.stream.tensor is None
        self._seen: list[str] = []  # up to each batch of the first pass
        names = [tap.name for tap in observed.taps] if again is None else again
        self._repeats = Repeats(observed.device, names) if several and names else None
        self._exchange = exchange or Exchange()
        self.ranks = self._exchange.ranks
        self._seed = self.ranks.share(drawn_seed())
        self._after = after
        self._mark: Mark | None = None  # in the middle of a pass
        self._place: Callable[[], Any] | None = None  # of the batch that was taken last

    def run(self, taps: Sequence[TapInfo], consume: Consume, turn: Turn) -> int:
        """One pass: each tap's output of each batch goes to ``consume`` as (n, D), and must be used at once;
        in slices where a view makes these rows.

        Returns:
            how many samples went through the network.

        Raises:
            DataError: the data is not that of the first pass, or not as much as was announced.
            ActivationError: a tap gave another shape, or was not reached.
        """
        observed, repeats, total = self.observed, self._repeats, self.observed.samples
        watch = Watch(observed.model, taps, observed.call)
        label = turn.label or (f"{taps[0].name} … {taps[-1].name}" if len(taps) > 1 else taps[0].name)
        begun = self._mark or Mark(0, 0, Seen(), not self.data_seen)
        first, number, done = 0, begun.batches, begun.samples

        def report() -> None:
            self.report(Progress("pass", turn.number, turn.of, done, total, observed.called, label))

        def own(tap: TapInfo, slices: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
            for x_ND in slices:
                if repeats is not None:
                    repeats.see(tap, first, x_ND)
                yield x_ND

        def see(tap: TapInfo, slices: Iterable[torch.Tensor]) -> None:
            for _, x_ND in self._exchange.rows(taps, tap, own(tap, slices)):
                consume(tap, x_ND)

        if repeats is not None and self._mark is None:
            repeats.begin(turn.number)
        report()
        with (
            as_before(observed.device),
            freed_memory_kept(observed.device),
            closing(self._batches(begun)) as batches,
        ):  # at once, also after an error
            while told := self._next(batches, begun.seen, number):
                parts, counts = told
                for first, batch in parts:
                    if batch is None:
                        for _ in taps:
                            for tap, x_ND in self._exchange.rows(taps, None, ()):
                                consume(tap, x_ND)
                        continue
                    with seeded((self._seed + first) % 2**63, observed.device):
                        watch.run_slices(batch, see)
                    del batch  # before the next one is made
                done, number = done + sum(counts), number + len(counts)
                if self._after is not None:
                    place = self._place, len(counts) - 1
                    self._mark = Mark(number, done, begun.seen, begun.first, *place)
                    self._after()
                report()
        self._mark = None
        if begun.first:
            self.data_seen = begun.seen.text()
            self._check_all()
        if repeats is not None:
            repeats.settle()
        if total is not None and done != total:
            raise DataError(
                f"{observed.stream.description}: {done:,} samples came in pass {turn.number}, "
                f"{total:,} were announced"
            )
        return done

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """All that :meth:`load_state` needs, between two batches: what JSON holds, and tensors."""
        mark = self._mark
        tensors: dict[str, torch.Tensor] = {}
        first = mark is not None and mark.first
        facts: dict[str, Any] = {
            "seed": self._seed,
            "data_seen": "" if first else self.data_seen,
            "batches_seen": self._seen[: mark.batches] if mark is not None and first else self._seen,
        }
        if mark is not None:
            seen, pending = mark.seen.state()
            mine = None if mark.place is None else packed(mark.place())
            place = self.ranks.gather(mine)[mark.last]
            facts["mark"] = {**mark._asdict(), "seen": seen, "place": place is not None}
            tensors |= {} if place is None else {"place": place}
            tensors |= {f"seen.{name}": tensor for name, tensor in pending.items()}
        if self._repeats is not None:
            facts["repeats"], known = self._repeats.state(self.ranks.rank)
            tensors |= {f"known.{name}": tensor for name, tensor in known.items()}
        return facts, tensors

    def load_state(self, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state; the next pass begins where it was taken."""
        self._seed, self.data_seen = facts["seed"], facts["data_seen"]
        self._seen = list(facts["batches_seen"])
        if "mark" in facts:
            seen = Seen.loaded(facts["mark"]["seen"], below("seen.", tensors))
            state = unpacked(tensors["place"]) if facts["mark"]["place"] else None
            place = None if state is None else lambda: state
            self._mark = Mark(**{**facts["mark"], "seen": seen, "place": place, "last": 0})
        if self._repeats is not None:
            self._repeats.load_state(facts["repeats"], below("known.", tensors))

    def _next(
        self, batches: Iterator[tuple[_Part, Batch]], seen: Seen, number: int
    ) -> tuple[Iterator[tuple[int, Batch | None]], list[int]] | None:
        """A round: the next batch of each rank. What this rank sends through the network, with the number of
        its first sample, None where it is another rank's turn alone; and the samples of each rank that has
        one. None at the end. ``seen``: so far; ``number``: of batches before."""
        mine: list[tuple[int, Batch]] = []
        read = None
        for part, batch in batches:
            mine.append((part.first, batch))
            read, self._place = part.read, part.place
            if part.last:
                break
        if read is not None and self.ranks.size > 1:
            read = read.on_cpu()
        told = self.ranks.gather((len(mine), sum(len(batch) for _, batch in mine), read))
        sizes = [count for _, count, _ in told if count]
        if not sizes:
            return None
        if sum(count for _, count, _ in told[: len(sizes)]) != sum(sizes):
            raise DataError(
                f"{self.observed.stream.description}: some ranks have data where others have none left: give "
                "all of them the same"
            )
        for index, (_, _, one) in enumerate(told):
            if one is not None and (self._compare or not self.data_seen):
                seen.take(one)
                if self._compare:
                    self._check(number + index, seen.text(), not self.data_seen)
        return self._turns(mine, [parts for parts, *_ in told]), sizes

    def _turns(
        self, mine: list[tuple[int, Batch]], parts: Sequence[int]
    ) -> Iterator[tuple[int, Batch | None]]:
        """All ranks' parts at once where each has one; else rank after rank, so that their order is that of
        the batches."""
        if max(parts) == 1:
            yield mine.pop(0) if mine else (0, None)
            return
        for rank, count in enumerate(parts):
            for _ in range(count):
                yield mine.pop(0) if rank == self.ranks.rank else (0, None)

    def _batches(self, begun: Mark) -> Generator[tuple[_Part, Batch], None, None]:
        """This rank's batches on the device in the model's dtype."""
        observed = self.observed
        stream, device = observed.stream, observed.device
        # One that lies on the device needs no way there.
        there = stream.tensor is not None and stream.tensor.device == device
        places: deque[_Part] = deque()
        chosen = self._read(begun, places)
        for batch in chosen if there else prefetch(chosen, device):
            yield places.popleft(), as_input(batch, device, observed.dtype)

    def _read(self, begun: Mark, places: deque[_Part]) -> Iterator[Batch]:
        """This rank's batches from that place on; into ``places`` goes what belongs to it."""
        for first, batch in self._own(begun):
            read = Read.of(batch, first) if begun.first or self._compare else None
            # One that is larger than any before would take more memory than was planned.
            parts = list(batch.split(self._most(batch)))
            place = self._asked_now()
            for index, part in enumerate(parts, 1):
                last = index == len(parts)
                places.append(_Part(first, last, read if last else None, place))
                first += len(part)
                yield part

    def _asked_now(self) -> Callable[[], Any] | None:
        """What gives the state of the source after the batch that was read last: asked at once where more is
        read before it is needed."""
        stateful = self.observed.stream.stateful
        if stateful is None or self._after is None:
            return None
        if not _reads_ahead(self.observed.device):
            return stateful.state
        state = deepcopy(stateful.state())
        return lambda: state

    def _own(self, begun: Mark) -> Iterator[tuple[int, Batch]]:
        """This rank's batches from that place on, each with the number of its first sample."""
        stream, size, ranks = self.observed.stream, self.observed.batch_size, self.ranks
        if stream.seekable:
            begin = begun.batches + ranks.rank
            for index, batch in enumerate(stream.batches(size, begin, ranks.size)):
                yield (begin + index * ranks.size) * size, batch
            return
        first, self._all = begun.samples, Seen.loaded(*begun.seen.state())
        for number, batch in enumerate(self._from(begun)):
            if ranks.size > 1 and begun.first:
                self._all.add(batch)
            if number % ranks.size == ranks.rank:
                yield first, batch
            first += len(batch)

    def _check_all(self) -> None:
        """That what was read here, all of it where nothing can be skipped, is what all ranks read."""
        stream = self.observed.stream
        if self.ranks.size > 1 and not stream.seekable and self._all.text() != self.data_seen:
            raise DataError(
                f"{stream.description}: other samples came here than on other ranks: give all the same"
            )

    def _from(self, begun: Mark) -> Iterator[Batch]:
        """The stream's batches from that place on, of one that knows no numbers: where it does not know its
        place either it is read from its beginning.

        Raises:
            DataError: it brings other samples than before.
        """
        stream, size = self.observed.stream, self.observed.batch_size
        if stream.stateful is not None and begun.place is not None:
            if begun.samples != self.observed.samples:  # torchdata's would end in the next pass too
                yield from stream.stateful.resumed(begun.place(), size, begun.samples)
            return
        again, batches = Seen(), stream.batches(size)
        while again.samples < begun.samples and (batch := next(batches, None)) is not None:
            again.add(batch)
        if begun.samples and again.text() != begun.seen.text():
            raise DataError(
                f"{stream.description}: its first {begun.samples:,} samples are not those that the "
                "checkpoint was made of: give the same data, or another --checkpoint"
            )
        yield from batches

    def _most(self, batch: Batch) -> int:
        """Samples of a batch that go through the network at once: fewer where its texts are longer than those
        of the first batch, by which memory was planned."""
        size = self.observed.batch_size
        if isinstance(batch, torch.Tensor):
            return size
        return max(1, min(size, size * self.observed.sample_bytes * len(batch) // max(1, batch.nbytes)))

    def _check(self, number: int, seen: str, first: bool) -> None:
        if first:
            self._seen.append(seen)
        elif number >= len(self._seen) or self._seen[number] != seen:
            raise DataError(
                f"{self.observed.stream.description}: batch {number + 1} differs between passes; the data "
                "must repeat (no shuffling, no random augmentation)"
            )


def _reads_ahead(device: torch.device) -> bool:
    """Whether :func:`prefetch` does."""
    return device.type == "cuda"
