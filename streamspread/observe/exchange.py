"""Rows of a tap that go from each rank to all, in the order of the batches, so that every rank meets them as
one process would."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from streamspread.errors import ModelError
from streamspread.observe.taps import TapInfo
from streamspread.ranks import ALONE, Ranks

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_NOTHING = -1

Prepare = Callable[[TapInfo, torch.Tensor], torch.Tensor]
Bounds = Callable[[TapInfo], Sequence[int] | None]


class Exchange:
    """What a tap gives here, and on other ranks.

    ``prepare``: is done to rows before they travel. ``bounds``: the columns that each rank wants of a tap,
    from its bound to the next one; None where all want all of them.
    """

    def __init__(
        self, ranks: Ranks = ALONE, prepare: Prepare | None = None, bounds: Bounds | None = None
    ) -> None:
        self.ranks = ranks
        self._prepare, self._bounds = prepare, bounds
        self._device = torch.device("cpu")

    def use(self, device: torch.device) -> None:
        """Where rows lie."""
        self._device = device

    def rows(
        self, taps: Sequence[TapInfo], tap: TapInfo | None, slices: Iterable[torch.Tensor]
    ) -> Iterator[tuple[TapInfo, torch.Tensor]]:
        """All ranks' rows of a tap, those of the first rank first. Who has no batch gives no tap, and is told
        which it was.

        Raises:
            ModelError: ranks are at different taps, as where a model takes another way for each batch.
        """
        own = slices if self._prepare is None or tap is None else (self._prepare(tap, x) for x in slices)
        if self.ranks.size == 1:
            assert tap is not None
            yield from ((tap, x_ND) for x_ND in own)
            return
        place = _NOTHING if tap is None else next(i for i, one in enumerate(taps) if one.name == tap.name)
        mine = iter(own)
        part = next(mine, None)
        told = self._told(place, part)
        (place,) = self._places(taps, told)
        tap = taps[place]
        for source in range(self.ranks.size):
            while told[source][2]:  # columns: a part may be of no rows
                yield tap, self._travelled(tap, part, told[source], source)
                if tap.view is None:
                    break
                if source == self.ranks.rank:  # a view gives some rows at a time
                    part = next(mine, None)
                told = self._told(place, part)

    def _told(self, place: int, part: torch.Tensor | None) -> list[Sequence[int]]:
        """(tap's place, rows, columns, number of their dtype) of what each rank has next."""
        if part is None:
            return self.ranks.tell(place, 0, 0, 0)
        return self.ranks.tell(place, *part.shape, _DTYPES.index(part.dtype))

    def _places(self, taps: Sequence[TapInfo], told: list[Sequence[int]]) -> set[int]:
        places = {place for place, *_ in told if place != _NOTHING}
        if len(places) != 1:
            names = " and ".join(taps[place].name for place in sorted(places))
            raise ModelError(
                f"the model reaches {names} in another order for some batches: such a model is analysed by "
                "one process alone"
            )
        return places

    def _travelled(
        self, tap: TapInfo, part: torch.Tensor | None, told: Sequence[int], source: int
    ) -> torch.Tensor:
        """The source's rows, or the columns of them that are wanted here."""
        _, rows, columns, number = told
        bounds = self._bounds(tap) if self._bounds else None
        if source == self.ranks.rank and part is not None:
            sent = part
        else:
            if bounds is not None:
                columns = bounds[self.ranks.rank + 1] - bounds[self.ranks.rank]
            sent = torch.empty(rows, columns, dtype=_DTYPES[number], device=self._device)
        if bounds is None:
            return self.ranks.broadcast(sent, source)
        return self.ranks.scatter(sent, bounds, source)
