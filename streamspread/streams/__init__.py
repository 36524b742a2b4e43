"""Streams of batches: what an analysis reads, made from whatever users have, and moved to the device."""

from streamspread.streams.adapt import as_stream
from streamspread.streams.batch import Batch, Named
from streamspread.streams.feed import prefetch
from streamspread.streams.stream import DEFAULT_BATCH_SIZE, Seen, Stream, count, every, head, kept
from streamspread.system.tensors import checksum

__all__ = [
    "DEFAULT_BATCH_SIZE",
    "Batch",
    "Named",
    "Seen",
    "Stream",
    "as_stream",
    "checksum",
    "count",
    "every",
    "head",
    "kept",
    "prefetch",
]
