"""What is known of a layer before any data come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from streamspread.results.views import WHOLE


@dataclass(frozen=True)
class NarrowSide:
    """An activation of fewer numbers of which a layer is the image Wx + b, and where it may be summed:
    as rows of so many numbers that have the layer's inner products.

    Attributes:
        dim: S, how many. ``operations``: of Wx.
        products: by W and its adjoint, as many as vectors tell all of WᵀW, of which the factor is made that
            makes such rows. ``making_bytes``: that this takes once beside the factor, before data stream.
        factor_numbers: of that factor. ``factor_operations``: of the factorisation.
    """

    dim: int
    operations: float
    making_bytes: int
    products: int
    factor_numbers: int
    factor_operations: float


@dataclass(frozen=True)
class LayerShape:
    """A layer before any data: name, one sample's shape, D, the operations of the forward up to it for an
    image, and the dimension of a smaller activation of which it is an affine image, if any; and that side
    itself, where sums can be made there.

    Attributes:
        view: what a sample is. ``places``: how many samples an image is; ``uneven``: whether some are fewer.
    """

    name: str
    shape: tuple[int, ...]
    dim: int
    operations: float
    source_dim: int | None = None
    narrow: NarrowSide | None = None
    view: str = WHOLE
    places: int = 1
    uneven: bool = False


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
