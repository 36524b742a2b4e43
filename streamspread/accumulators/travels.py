"""What goes between ranks that share a layer, in bytes, and how long that takes."""

from __future__ import annotations

from typing import NamedTuple


class Wire(NamedTuple):
    """How many bytes a second go between some ranks, of the kinds that :class:`Travels` counts."""

    rows: float
    columns: float
    sums: float


class Travels(NamedTuple):
    """Bytes of what goes between ranks, each counted once.

    rows: that every rank is sent whole. ``columns``: of rows of which each rank is sent its own share.
    ``sums``: of tensors of which the sum over all ranks is formed at each of them.
    """

    rows: float = 0.0
    columns: float = 0.0
    sums: float = 0.0

    def to_each(self, ranks: int) -> float:
        """Bytes that each of so many ranks is sent by the others; a sum sends most of it twice."""
        return (1.0 - 1.0 / ranks) * (self.rows + self.columns / ranks + 2.0 * self.sums)

    def seconds(self, wire: Wire) -> float:
        """How long it takes."""
        return sum(each / rate for each, rate in zip(self, wire, strict=True))

    def more(self, other: Travels) -> Travels:
        """Both together."""
        return Travels(*(a + b for a, b in zip(self, other, strict=True)))


#: Of one process.
NOTHING = Travels()
