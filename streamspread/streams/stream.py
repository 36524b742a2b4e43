"""What a stream of batches is, and the few questions that are asked of any: head, count, what was seen."""

import hashlib
import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import torch

from streamspread.errors import DataError, OptionError

DEFAULT_BATCH_SIZE = 256  # samples
_MOST_IN_BATCH = 2**31 - 1  # samples

_PICKED = 16  # elements of a sample that are read to tell it from others, about
_TOGETHER = 64  # batches on a card that are waited for at once

#: Whole numbers by their bytes: as these every dtype can be read, and compared bit for bit.
_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Stream(ABC):
    """A source of batches: tensors (n, ...) with n of 1 or more, of one dtype, and of one shape but for n.

    Attributes:
        samples: how many there are in one pass; None where only a pass can tell.
        repeatable: whether batches() may be called more than once.
        ordered: whether every call of batches() gives the same samples in the same order.
        description: a few words for messages and for the provenance of a result.
        tensor: the tensor (N, ...) of which all batches are slices, in order; None where there is none.
        resident_bytes: of memory that was taken for the data, which a budget counts; 0 for a caller's own.
        labels: int64 (N,), the class of every sample by its place, below 0 where it has none; None where the
            data do not say. ``classes``: the names of the classes 0, 1, …, or None.
    """

    samples: int | None = None
    repeatable: bool = True
    ordered: bool = True
    description: str = "data"
    tensor: torch.Tensor | None = None
    resident_bytes: int = 0
    labels: torch.Tensor | None = None
    classes: tuple[str, ...] | None = None

    @abstractmethod
    def batches(self, batch_size: int | None = None) -> Iterator[torch.Tensor]:
        """A fresh iterator over all batches.

        Args:
            batch_size: samples in a batch; None: DEFAULT_BATCH_SIZE. Streams whose data come in batches
                already keep those and ignore it.

        Raises:
            DataError: empty or broken data, or samples of differing shape or dtype.
            OptionError: a batch size out of range.
        """

    def peek(self, n: int) -> Iterator[torch.Tensor]:
        """Batches with the first n samples, or more; a later batches() gives all samples all the same."""
        if not self.repeatable:
            raise DataError(f"{self.description}: a look at the first samples would lose them")
        return self.batches(n)


def head(stream: Stream, n: int) -> torch.Tensor:
    """The first n samples (n, ...), or all where there are fewer. A one-shot stream loses nothing by it.

    Raises:
        DataError: there are no samples. OptionError: n below 1.
    """
    if n < 1:
        raise OptionError(f"head of {n} samples asked for; ask for 1 or more")
    parts: list[torch.Tensor] = []
    missing = n
    for batch in stream.peek(n):
        parts.append(kept(batch[:missing]) if stream.tensor is None else batch[:missing])
        missing -= parts[-1].shape[0]
        if missing == 0:
            break
    if not parts:
        raise DataError(f"{stream.description}: no samples in it; at least one is needed")
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def kept(batch: torch.Tensor) -> torch.Tensor:
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
    return sum(batch.shape[0] for batch in stream.batches())


class Seen:
    """What was read of a stream, as a hash: of the samples and their order, however they come in batches.

    It reads some 16 elements of each sample, all where there are fewer, at other places in every sample, so
    that over the samples all places are read.

    Attributes:
        samples: how many were read.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._waiting: list[torch.Tensor] = []

    def add(self, batch: torch.Tensor) -> None:
        """The next batch (n, ...); one on a card is not waited for."""
        if not self.samples:
            self._hash.update(f"{tuple(batch.shape[1:])} {batch.dtype}".encode())
        self._waiting.append(_picked(batch, self.samples))
        self.samples += batch.shape[0]
        if not batch.is_cuda or len(self._waiting) >= _TOGETHER:
            self._take()

    def text(self) -> str:
        """The hash so far, as 32 hexadecimal digits."""
        self._take()
        return self._hash.hexdigest()

    def _take(self) -> None:
        if self._waiting:
            self._hash.update(torch.cat(self._waiting).cpu().numpy().data)
            self._waiting = []


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
    return every(batch.detach().view(_WHOLE[batch.element_size()]), -first * dim % step, step)


def checksum(*tensors: torch.Tensor) -> str:
    """CRC-32 of shape, dtype and every element of all tensors, as eight hexadecimal digits.

    It does not depend on how the tensors lie in memory, or on their device.
    """
    crc = 0
    for tensor in tensors:
        crc = zlib.crc32(f"{tuple(tensor.shape)} {tensor.dtype}".encode(), crc)
        flat = tensor.detach().reshape(-1).contiguous().cpu()
        crc = zlib.crc32(flat.view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def resolve_batch_size(batch_size: int | None) -> int:
    """The batch size that is meant. Raises OptionError below 1 and above 2³¹ − 1."""
    if batch_size is None:
        return DEFAULT_BATCH_SIZE
    if batch_size < 1:
        raise OptionError(f"batch size {batch_size} asked for; it must be 1 or more")
    if batch_size > _MOST_IN_BATCH:
        raise OptionError(f"batch size {batch_size} asked for; it may be at most {_MOST_IN_BATCH}")
    return batch_size


def checked(batches: Iterable[torch.Tensor], what: str) -> Iterator[torch.Tensor]:
    """The same batches without empty ones.

    Raises:
        DataError: a batch without a sample axis, a change of shape or dtype (the message names the sample and
            both), or, at the end, no sample at all.
    """
    shape: torch.Size | None = None
    dtype: torch.dtype | None = None
    seen = 0
    for batch in batches:
        if batch.ndim == 0:
            raise DataError(f"{what}: a batch is a single number; batches must be tensors of shape (n, ...)")
        if batch.shape[0] == 0:
            continue
        if shape is None:
            shape, dtype = batch.shape[1:], batch.dtype
        elif batch.shape[1:] != shape:
            raise differing_shapes(what, seen, batch.shape[1:], shape)
        elif batch.dtype != dtype:
            raise DataError(
                f"{what}: sample {seen} is {batch.dtype}, sample 0 is {dtype}; all must have one dtype"
            )
        seen += batch.shape[0]
        yield batch
    if seen == 0:
        raise DataError(f"{what}: no samples in it; at least one is needed")


def differing_shapes(
    what: str, index: int, shape: Iterable[int], first: Iterable[int], other: int = 0
) -> DataError:
    """The error that says that sample ``index`` has another shape than sample ``other``."""
    return DataError(
        f"{what}: sample {index} has shape {tuple(shape)}, sample {other} has {tuple(first)}; "
        "all samples must have one shape"
    )
