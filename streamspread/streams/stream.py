"""What the engine reads: a stream of batches of one shape, and the few questions asked of any stream."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import torch

from streamspread.errors import DataError, OptionError

DEFAULT_BATCH_SIZE = 256
_MOST_IN_BATCH = 2**31 - 1

_FINGERPRINT_ELEMENTS = 4096


class Stream(ABC):
    """A source of input batches, each a tensor (n, ...) with n >= 1 and all of one shape and dtype but for n.

    samples: how many there are in one pass; None where only a pass can tell.
    repeatable: whether batches() may be called more than once.
    ordered: whether every call of batches() gives the same samples in the same order.
    description: a few words for messages and for the provenance of a result.
    tensor: what all batches are slices of, in order, where there is such a tensor; else None.
    """

    samples: int | None = None
    repeatable: bool = True
    ordered: bool = True
    description: str = "data"
    tensor: torch.Tensor | None = None

    @abstractmethod
    def batches(self, batch_size: int | None = None) -> Iterator[torch.Tensor]:
        """A fresh iterator over all batches. Streams that come in batches of their own keep those and ignore
        batch_size; None means DEFAULT_BATCH_SIZE. Raises DataError for empty, broken or ragged data,
        OptionError for a batch size out of range."""

    def peek(self, n: int) -> Iterator[torch.Tensor]:
        """Batches for a look at the first n samples (more may come); a later batches() still gives them
        all."""
        if not self.repeatable:
            raise DataError(f"{self.description}: a look at the first samples would lose them")
        return self.batches(n)


def head(stream: Stream, n: int) -> torch.Tensor:
    """The first n samples (n, ...), or all where there are fewer; nothing is lost, also not of a one-shot
    stream."""
    if n < 1:
        raise OptionError(f"head of {n} samples asked for; ask for 1 or more")
    parts: list[torch.Tensor] = []
    missing = n
    for batch in stream.peek(n):
        parts.append(batch[:missing])
        missing -= parts[-1].shape[0]
        if missing == 0:
            break
    if not parts:
        raise DataError(f"{stream.description}: no samples in it; at least one is needed")
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def count(stream: Stream) -> int:
    """The number of samples: as the stream says, or else counted in one pass. Raises DataError for a one-shot
    stream, which the counting would use up."""
    if stream.samples is not None:
        return stream.samples
    if not stream.repeatable:
        raise DataError(
            f"{stream.description}: counting its samples would use it up; "
            "give a callable that returns a fresh iterator of batches"
        )
    return sum(batch.shape[0] for batch in stream.batches())


def fingerprint(batch: torch.Tensor) -> int:
    """A checksum (32 bits) of a batch's shape, dtype and some 4,096 strided elements, four or more of every
    sample where it has them: two passes that give the same fingerprints batch by batch read the same data."""
    flat = batch.detach().reshape(-1)
    # At least four of each sample, so that a swap of two samples shows; an odd step does not fall into the
    # period of a row or a channel, where it would see one column only.
    wanted = max(_FINGERPRINT_ELEMENTS, 4 * (batch.shape[0] if batch.ndim else 1))
    step = max(1, flat.numel() // wanted)
    step -= 1 - step % 2
    picked = flat[::step].contiguous().cpu().view(torch.uint8).numpy()
    start = zlib.crc32(f"{tuple(batch.shape)} {batch.dtype}".encode())
    return zlib.crc32(picked.tobytes(), start)


def checksum(*tensors: torch.Tensor) -> str:
    """Eight hexadecimal digits that depend on shape, dtype and every element of all tensors, and on no
    layout."""
    found = 0
    for tensor in tensors:
        found = zlib.crc32(f"{tuple(tensor.shape)} {tensor.dtype}".encode(), found)
        flat = tensor.detach().reshape(-1).contiguous().cpu()
        found = zlib.crc32(flat.view(torch.uint8).numpy().data, found)
    return f"{found:08x}"


def resolve_batch_size(batch_size: int | None) -> int:
    """The batch size to use. Raises OptionError below 1 and above what a tensor can count."""
    if batch_size is None:
        return DEFAULT_BATCH_SIZE
    if batch_size < 1:
        raise OptionError(f"batch size {batch_size} asked for; it must be 1 or more")
    if batch_size > _MOST_IN_BATCH:
        raise OptionError(f"batch size {batch_size} asked for; it may be at most {_MOST_IN_BATCH}")
    return batch_size


def checked(batches: Iterable[torch.Tensor], what: str) -> Iterator[torch.Tensor]:
    """The same batches without empty ones. Raises DataError where a batch has no sample axis, where shape or
    dtype changes (naming the sample's index and both), and at the end where no sample came."""
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
    """The error for sample `index` of another shape than sample `other`."""
    return DataError(
        f"{what}: sample {index} has shape {tuple(shape)}, sample {other} has {tuple(first)}; "
        "all samples must have one shape"
    )
