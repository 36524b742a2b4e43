"""What a stream of batches is, and the few questions that are asked of any: head, count, what was seen."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch

from streamspread.errors import DataError, OptionError
from streamspread.streams.batch import MASK, TOKENS, Batch, Named, joined, tensors_of
from streamspread.streams.loaders import Stateful
from streamspread.system.tensors import unusual

DEFAULT_BATCH_SIZE = 256  # samples
_MOST_IN_BATCH = 2**31 - 1  # samples

_PICKED = 16  # elements of a sample that are read to tell it from others, about
_TOGETHER = 64  # batches on a card that are waited for at once
_BLOCK = 2**20  # bytes that are hashed in one

#: Whole numbers by their bytes: as these every dtype can be read, and compared bit for bit.
_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Stream(ABC):
    """A source of batches: tensors (n, ...) with n of 1 or more, of one dtype, and of one shape but for n; or
    such tensors by name, where the number of tokens may differ from batch to batch too.

    Attributes:
        samples: how many there are in one pass; None where only a pass can tell.
        repeatable: whether batches() may be called more than once.
        ordered: whether every call of batches() gives the same samples in the same order.
        description: a few words for messages and for the provenance of a result.
        tensor: the tensor (N, ...), or those by name, of which all batches are slices, in order; None where
            there is none.
        resident_bytes: of memory that was taken for the data, which a budget counts; 0 for a caller's own.
        held_batches: that are there at once, or what they are made of, the one that was given last included.
        seekable: whether batches() reads nothing of what it leaves out; all batches but the last are then of
            one size.
        stateful: what knows where reading is, and goes on there; None where nothing does.
        labels: int64 (N,), the class of every sample by its place, below 0 where it has none; None where the
            data do not say. ``classes``: the names of the classes 0, 1, …, or None.
    """

    samples: int | None = None
    repeatable: bool = True
    ordered: bool = True
    description: str = "data"
    tensor: Batch | None = None
    resident_bytes: int = 0
    held_batches: int = 2
    seekable: bool = False
    stateful: Stateful | None = None
    labels: torch.Tensor | None = None
    classes: tuple[str, ...] | None = None

    @abstractmethod
    def batches(self, batch_size: int | None = None, first: int = 0, step: int = 1) -> Iterator[Batch]:
        """A fresh iterator over all batches, or over every ``step``-th from number ``first`` on, from 0.

        Args:
            batch_size: samples in a batch; None: DEFAULT_BATCH_SIZE. Streams whose data come in batches
                already keep those and ignore it.

        Raises:
            DataError: empty or broken data, or samples of differing shape or dtype.
            OptionError: a batch size out of range.
        """

    def peek(self, n: int) -> Iterator[Batch]:
        """Batches with the first n samples, or more; a later batches() gives all samples all the same."""
        if not self.repeatable:
            raise DataError(f"{self.description}: a look at the first samples would lose them")
        return self.batches(n)


def head(stream: Stream, n: int) -> Batch:
    """The first n samples (n, ...), or all where there are fewer. A one-shot stream loses nothing by it.

    Raises:
        DataError: there are no samples. OptionError: n below 1.
    """
    if n < 1:
        raise OptionError(f"head of {n} samples asked for; ask for 1 or more")
    parts: list[Batch] = []
    missing = n
    for batch in stream.peek(n):
        parts.append(kept(batch[:missing]) if stream.tensor is None else batch[:missing])
        missing -= len(parts[-1])
        if missing == 0:
            break
    if not parts:
        raise DataError(f"{stream.description}: no samples in it; at least one is needed")
    return joined(parts)


def some(batches: Iterator[Batch], first: int, step: int) -> Iterator[Batch]:
    """Every ``step``-th batch from number ``first`` on, of a stream that cannot skip: the others are read."""
    return batches if (first, step) == (0, 1) else islice(batches, first, None, step)


def kept(batch: Batch) -> Batch:
    """A copy of what its giver may write the next one into: all that outlives the next call to an iterator
    or a data set has to be one."""
    return batch.detach().clone()


def count(stream: Stream) -> int:
    """The number of samples: what the stream says, else counted in one pass.

    Raises:
        DataError: a one-shot stream that does not say it: counting would use it up.
    """
    if stream.samples is not None:
        return stream.samples
    if not stream.repeatable:
        raise DataError(
            f"{stream.description}: counting its samples would use it up; "
            "give a callable that returns a fresh iterator of batches"
        )
    return sum(len(batch) for batch in stream.batches())


class Seen:
    """What was read of a stream, as a hash: of the samples and their order, however they come in batches.

    It reads some 16 elements of each sample, all where there are fewer, at other places in every sample, so
    that over the samples all places are read; of what goes by name, rows of whole numbers are read whole, as
    tokens and masks are. Where tokens are padded to the longest of a batch, the hash depends on the batches.

    Attributes:
        samples: how many were read.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._parts: dict[str, _Part] = {}

    def add(self, batch: Batch) -> None:
        """The next batch; one on a card is not waited for."""
        self.take(Read.of(batch, self.samples))

    def take(self, read: "Read") -> None:
        """What was read of the next batch, perhaps by another process."""
        for name, (kind, bits) in read.parts.items():
            self._parts.setdefault(name, _Part()).add(kind, bits)
        self.samples += read.samples

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """All that :meth:`loaded` needs: what JSON holds, and tensors."""
        parts = {name: part.state() for name, part in self._parts.items()}
        facts = {"samples": self.samples, "kinds": {name: kind for name, (kind, _) in parts.items()}}
        return facts, {name: pending for name, (_, pending) in parts.items()}

    @classmethod
    def loaded(cls, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> "Seen":
        """One that goes on from a state, to the same hash."""
        seen = cls()
        seen.samples = int(facts["samples"])
        for name, kind in facts["kinds"].items():
            seen._parts[name] = _Part(kind, tensors[name].numpy().tobytes())
        return seen

    def text(self) -> str:
        """The hash so far, as 32 hexadecimal digits. Names count, and not their order."""
        if list(self._parts) in ([], [""]):
            return self._parts.get("", _Part()).digest().hex()
        whole = hashlib.blake2b(digest_size=16)
        for name, part in sorted(self._parts.items()):
            whole.update(name.encode(errors="replace") + b" " + part.digest())
        return whole.hexdigest()


class Read(NamedTuple):
    """What a hash reads of a batch: how many samples it has, and by name the kind of its tensors and some of
    their numbers, as whole numbers of the same bits."""

    samples: int
    parts: dict[str, tuple[str, torch.Tensor]]

    @staticmethod
    def of(batch: Batch, first: int) -> "Read":
        """``first``: the number of its first sample."""
        parts = {}
        for name, x in tensors_of(batch).items():
            whole = bool(name) and not _is_wide(x)  # tokens and masks
            bits = _bits(x).flatten() if whole else _picked(x, first)
            parts[name] = f"{tuple(x.shape[1:])} {x.dtype}", bits
        return Read(len(batch), parts)

    def on_cpu(self) -> "Read":
        return self._replace(parts={name: (kind, bits.cpu()) for name, (kind, bits) in self.parts.items()})


class _Part:
    """What was read of the tensors of one name.

    Its hash is that of the bytes, up to a block of them; the next block begins with the hash of those before,
    so that a state is a block at the most. ``kind``, ``pending``: of a state to go on from.
    """

    def __init__(self, kind: str = "", pending: bytes = b"") -> None:
        self._kind = kind
        self._pending = bytearray(pending)
        self._hash = hashlib.blake2b(pending, digest_size=16)
        self._waiting: list[torch.Tensor] = []

    def add(self, kind: str, bits: torch.Tensor) -> None:
        """What was read of the next tensor."""
        if self._kind != kind:
            self._take()
            self._update(memoryview(kind.encode()))
            self._kind = kind
        self._waiting.append(bits)
        if not bits.is_cuda or len(self._waiting) >= _TOGETHER:
            self._take()

    def digest(self) -> bytes:
        self._take()
        return self._hash.digest()

    def _take(self) -> None:
        if self._waiting:
            self._update(torch.cat(self._waiting).cpu().numpy().data.cast("B"))
            self._waiting = []

    def state(self) -> tuple[str, torch.Tensor]:
        """The kind and the bytes to go on from."""
        self._take()
        return self._kind, torch.from_numpy(np.frombuffer(self._pending, np.uint8).copy())

    def _update(self, read: memoryview) -> None:
        while len(read):
            room = _BLOCK - len(self._pending)
            self._hash.update(read[:room])
            self._pending += read[:room]
            read = read[room:]
            if len(self._pending) == _BLOCK:
                before = self._hash.digest()
                self._hash = hashlib.blake2b(before, digest_size=16)
                self._pending = bytearray(before)


def every(x: torch.Tensor, start: int, step: int) -> torch.Tensor:
    """``x.flatten()[start::step]``, without a copy of all of it where it lies in another order."""
    if x.is_contiguous():
        return x.view(-1)[start::step]
    return torch.take(x, torch.arange(start, x.numel(), step, device=x.device))


def _picked(batch: torch.Tensor, first: int) -> torch.Tensor:
    """Elements at even distances of all samples in a row, as whole numbers of the same bits."""
    dim = batch.numel() // batch.shape[0]
    step = max(1, dim // _PICKED)
    while math.gcd(step, dim) > 1:  # or it would read the same places of every sample
        step += 1
    return every(_bits(batch), -first * dim % step, step)


def _bits(x: torch.Tensor) -> torch.Tensor:
    return x.detach().view(_WHOLE[x.element_size()])


def _is_wide(x: torch.Tensor) -> bool:
    """Whether a sample of it is more than a row of whole numbers."""
    return x.ndim > 2 or x.is_floating_point()


def resolve_batch_size(batch_size: int | None) -> int:
    """The batch size that is meant. Raises OptionError below 1 and above 2³¹ − 1."""
    if batch_size is None:
        return DEFAULT_BATCH_SIZE
    if batch_size < 1:
        raise OptionError(f"batch size {batch_size} asked for; it must be 1 or more")
    if batch_size > _MOST_IN_BATCH:
        raise OptionError(f"batch size {batch_size} asked for; it may be at most {_MOST_IN_BATCH}")
    return batch_size


def checked(
    batches: Iterable[Batch], what: str, starts: Iterable[int] | None = None, first: int = 0
) -> Iterator[Batch]:
    """The same batches without empty ones. ``starts``: the number of each one's first sample, where some are
    left out, which may be all; None: they follow each other from sample ``first`` on, of which 0 must come.

    Raises:
        DataError: a batch without a sample axis, a change of shape or dtype (the message names the sample and
            both), or, at the end, no sample at all.
    """
    kinds: dict[str, tuple[torch.Size, torch.dtype]] = {}
    seen, begun, place = first, first, iter(starts or ())
    for batch in batches:
        if starts is not None:
            seen = next(place)
            begun = begun if kinds else seen
        if isinstance(batch, torch.Tensor) and batch.ndim == 0:
            raise DataError(f"{what}: a batch is a single number; batches must be tensors of shape (n, ...)")
        if len(batch) == 0:
            continue
        if kinds and isinstance(batch, Named) == ("" in kinds):
            raise DataError(f"{what}: some batches are tensors and others mappings; all must be of one kind")
        for name, x in tensors_of(batch).items():
            shape, dtype = kinds.setdefault(name, (_lasting(batch, x), x.dtype))
            where = f"{what}: {name}" if name else what
            if kind := unusual(x):
                raise DataError(f"{where}: sample {seen} is {kind}; give ordinary tensors")
            if _lasting(batch, x) != shape:
                raise differing_shapes(where, seen, _lasting(batch, x), shape, begun)
            if x.dtype != dtype:
                raise DataError(
                    f"{where}: sample {seen} is {x.dtype}, sample {begun} is {dtype}; all must have one dtype"
                )
        seen += len(batch)
        yield batch
    if seen == 0 and starts is None:
        raise DataError(f"{what}: no samples in it; at least one is needed")


def _lasting(batch: Batch, x: torch.Tensor) -> torch.Size:
    """The shape that a sample must have in every batch: all of it, but for the number of tokens."""
    lead = batch.tensors.get(TOKENS, batch.tensors.get(MASK)) if isinstance(batch, Named) else None
    of_tokens = lead is not None and x.ndim > 1 and x.shape[:2] == lead.shape[:2]
    return x.shape[2:] if of_tokens else x.shape[1:]


def differing_shapes(
    what: str, index: int, shape: Iterable[int], first: Iterable[int], other: int = 0
) -> DataError:
    """The error that says that sample ``index`` has another shape than sample ``other``."""
    return DataError(
        f"{what}: sample {index} has shape {tuple(shape)}, sample {other} has {tuple(first)}; "
        "all samples must have one shape"
    )
