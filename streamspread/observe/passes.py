"""The pass loop: the data through the observed network, again and again, each time checked to be the same."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import torch

from streamspread.errors import DataError
from streamspread.linalg.states import below, packed_state, unpacked_state
from streamspread.observe.observed import Observed
from streamspread.observe.placement import as_input
from streamspread.observe.repeats import Repeats
from streamspread.observe.taps import TapInfo, Watch
from streamspread.streams import Batch, Seen, prefetch
from streamspread.system.generators import as_before, drawn_seed, seeded
from streamspread.system.progress import Progress, Report

Consume = Callable[[TapInfo, torch.Tensor], None]


class Turn(NamedTuple):
    """Which of how many passes this is, from 1, and what the progress calls it; None: by its layers."""

    number: int
    of: int
    label: str | None = None


class Mark(NamedTuple):
    """A place between two of the stream's batches: how many of them, and of their samples, went through the
    network in this pass, what was ``seen`` of them, and whether the pass is the ``first``; ``place``: what
    gives the state of a source that knows by itself where it is, or None."""

    batches: int
    samples: int
    seen: Seen
    first: bool
    place: Callable[[], Any] | None = None


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
        after: Callable[[], None] | None = None,
    ) -> None:
        """``several``: whether more than one pass may come, so that batches are worth remembering; ``again``:
        the taps that take part in more than one, all of them where it is None; ``after``: called after each
        of the stream's batches, when :meth:`state` may be asked."""
        self.observed, self.report = observed, report
        self.data_seen = ""
        self._compare = several and observed.stream.ordered and observed.stream.tensor is None
        self._seen: list[str] = []  # up to each batch of the first pass
        names = [tap.name for tap in observed.taps] if again is None else again
        self._repeats = Repeats(observed.device, names) if several and names else None
        self._seed = drawn_seed()
        self._after = after
        self._mark: Mark | None = None  # in the middle of a pass

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
        watch = Watch(observed.model, taps, observed.call)
        label = turn.label or (f"{taps[0].name} … {taps[-1].name}" if len(taps) > 1 else taps[0].name)
        total = observed.samples if every == 1 else None
        first, done = 0, self._mark.samples if self._mark else 0

        def report() -> None:
            self.report(Progress("pass", turn.number, turn.of, done, total, "images", label))

        def see(tap: TapInfo, x_ND: torch.Tensor) -> None:
            if repeats is not None:
                repeats.see(tap, first, x_ND)
            consume(tap, x_ND)

        if repeats is not None and self._mark is None:
            repeats.begin(turn.number)
        report()
        with (
            as_before(observed.device),
            closing(self._batches(every)) as batches,
        ):  # at once, also after an error
            for first, mark, batch in batches:
                with seeded((self._seed + first) % 2**63, observed.device):
                    watch.run(batch, see)
                done += len(batch)
                del batch  # before the next one is made
                if mark is not None and self._after is not None:
                    self._mark = mark
                    self._after()
                report()
        self._mark = None
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
        first = mark is not None and mark.first  # reading may be ahead, and at its end already
        facts: dict[str, Any] = {
            "seed": self._seed,
            "data_seen": "" if first else self.data_seen,
            "batches_seen": self._seen[: mark.batches] if mark is not None and first else self._seen,
        }
        if mark is not None:
            seen, pending = mark.seen.state()
            facts["mark"] = {**mark._asdict(), "seen": seen, "place": None}
            if mark.place is not None and (packed := packed_state(mark.place())) is not None:
                tensors["place"] = packed
            tensors |= {f"seen.{name}": tensor for name, tensor in pending.items()}
        if self._repeats is not None:
            facts["repeats"], known = self._repeats.state()
            tensors |= {f"known.{name}": tensor for name, tensor in known.items()}
        return facts, tensors

    def load_state(self, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state; the next pass begins where it was taken."""
        self._seed, self.data_seen = facts["seed"], facts["data_seen"]
        self._seen = list(facts["batches_seen"])
        if "mark" in facts:
            seen = Seen.loaded(facts["mark"]["seen"], below("seen.", tensors))
            packed = tensors.get("place")
            place = None if packed is None else partial(unpacked_state, packed.clone())
            self._mark = Mark(**{**facts["mark"], "seen": seen, "place": place})
        if self._repeats is not None:
            self._repeats.load_state(facts["repeats"], below("known.", tensors))

    def _batches(self, every: int) -> Generator[tuple[int, Mark | None, Batch], None, None]:
        """The stream's batches on the device in the model's dtype, with the number of its first sample, and
        the place after it where that is between two batches of the stream."""
        observed = self.observed
        stream, device = observed.stream, observed.device
        # One that lies on the device needs no way there.
        there = stream.tensor is not None and stream.tensor.device == device
        places: deque[tuple[int, Mark | None]] = deque()
        chosen = self._read(every, places, ahead=device.type == "cuda" and not there)
        for batch in chosen if there else prefetch(chosen, device):
            yield *places.popleft(), as_input(batch, device, observed.dtype)

    def _read(self, every: int, places: deque[tuple[int, Mark | None]], ahead: bool) -> Iterator[Batch]:
        """Every so many-th batch; into ``places`` goes what belongs to it. ``ahead``: before the one that was
        read last has been through the network."""
        first = not self.data_seen
        begun = self._mark or Mark(0, 0, Seen(), first)
        seen, start, marked = begun.seen, begun.samples, every == 1 and self._after is not None
        for number, batch in enumerate(self._from(begun), begun.batches):
            if first or self._compare:
                seen.add(batch)
            if self._compare:
                self._check(number, seen.text(), first)
            # One that is larger than any before would take more memory than was planned.
            parts = list(batch.split(self._most(batch)))
            for index, part in enumerate(parts, 1):
                begin, start = start, start + len(part)
                if number % every == 0:
                    mark = None
                    if marked and index == len(parts):
                        place = self._place(ahead)
                        mark = Mark(number + 1, start, seen.copy() if ahead else seen, first, place)
                    places.append((begin, mark))
                    yield part
        if first:
            self.data_seen = seen.text()

    def _place(self, ahead: bool) -> Callable[[], Any] | None:
        """What gives the state of the source after the batch that was read last: asked at once where more is
        read before it is needed."""
        stream = self.observed.stream
        if stream.seekable or stream.stateful is None:
            return None
        if not ahead:
            return stream.stateful.state_dict
        state = copy.deepcopy(stream.stateful.state_dict())
        return lambda: state

    def _from(self, begun: Mark) -> Iterator[Batch]:
        """The stream's batches from that place on.

        Raises:
            DataError: it must be read from its beginning, and brings other samples than before.
        """
        stream, size = self.observed.stream, self.observed.batch_size
        if not begun.samples:
            yield from stream.batches(size)
            return
        if stream.seekable:
            yield from stream.rest(size, begun.samples)
            return
        if stream.stateful is not None and begun.place is not None:
            if begun.samples == self.observed.samples:
                return  # torchdata's loaders would be at their end in the next pass too
            yield from stream.resumed(begun.place(), size, begun.samples)
            return
        again, batches = Seen(), stream.batches(size)
        while again.samples < begun.samples and (batch := next(batches, None)) is not None:
            again.add(batch)
        if again.text() != begun.seen.text():
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
