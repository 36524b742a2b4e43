"""What a stream of batches is, and the few questions that are asked of any: head, count, fingerprints."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import torch

from streamspread.errors import DataError, OptionError

DEFAULT_BATCH_SIZE = 256  # samples
_MOST_IN_BATCH = 2**31 - 1  # samples

_FINGERPRINT_ELEMENTS = 4096  # of a batch that are read, about


class Stream(ABC):
    """A source of batches: tensors (n, ...) with n of 1 or more, of one dtype, and of one shape but for n.

    Attributes:
        samples: how many there are in one pass; None where only a pass can tell.
        repeatable: whether batches() may be called more than once.
        ordered: whether every call of batches() gives the same samples in the same order.
        description: a few words for messages and for the provenance of a result.
        tensor: the tensor (N, ...) of which all batches are slices, in order; None where there is none.
    """

    samples: int | None = None
    repeatable: bool = True
    ordered: bool = True
    description: str = "data"
    tensor: torch.Tensor | None = None

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
        parts.append(batch[:missing])
        missing -= parts[-1].shape[0]
        if missing == 0:
            break
    if not parts:
        raise DataError(f"{stream.description}: no samples in it; at least one is needed")
    return parts[0] if len(parts) == 1 else torch.cat(parts)


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


def fingerprint(batch: torch.Tensor) -> int:
    """A checksum (32 bits) of a batch's shape, dtype and some 4,096 of its elements, at even distances.

    Two passes whose fingerprints are the same batch by batch have read the same data in the same order.
    """
    flat = batch.detach().reshape(-1)
    # Four elements or more of each sample, so that a swap of two samples shows. The step is odd, since an
    # even one could divide the length of a row, and would then read one column only.
    wanted = max(_FINGERPRINT_ELEMENTS, 4 * (batch.shape[0] if batch.ndim else 1))
    step = max(1, flat.numel() // wanted)
    step -= 1 - step % 2
    picked = flat[::step].contiguous().cpu().view(torch.uint8).numpy()
    start = zlib.crc32(f"{tuple(batch.shape)} {batch.dtype}".encode())
    return zlib.crc32(picked.tobytes(), start)


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
