"""Whether a model repeats: what its taps give in one pass, held against what they gave before."""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Mapping
from typing import Any

import torch

from streamspread.errors import ActivationError
from streamspread.observe.taps import TapInfo
from streamspread.streams.stream import every
from streamspread.system.tensors import numbered

_ELEMENTS = 4096  # of an output that are read, or up to three times as many
_SHIFT = 7_919  # places by which they lie further, for each sample before the batch: a prime
_DIRECTIONS = 3  # random ones, along which these elements are measured
_TOGETHER = 64  # outputs that are waited for at once

#: By how much outputs may differ that are the same but for rounding, in units of rounding, and at most as a
#: share: on a card some operations add up in another order each time.
_UNITS, _MOST = 256, 0.02


class Repeats:
    """Compares each tap's output of each batch with that of the first pass in which the tap was seen.

    Some 4,096 elements are read, at other places in each batch, and kept as four numbers: their sum along
    random directions, and their size. A rank sees its own batches, and knows by the number of a batch's first
    sample what it, or another rank before it, saw of that.
    """

    def __init__(self, device: torch.device, names: Collection[str]) -> None:
        """``names``: of the taps that are seen in more than one pass; others are not looked at."""
        generator = torch.Generator().manual_seed(0)
        shape = _DIRECTIONS, 3 * _ELEMENTS
        self._directions = torch.randn(shape, dtype=torch.float64, generator=generator).to(device)
        self._known: dict[str, dict[int, array[float]]] = {name: {} for name in names}
        self._at: dict[str, tuple[int, int]] = {}  # of a tap: the batch, and how much of it was compared
        self._waiting: list[tuple[TapInfo, int, torch.Tensor, torch.Tensor]] = []
        self._pass = 0
        self._first: dict[str, int] = {}  # the pass in which a tap was first seen

    def begin(self, number: int) -> None:
        """The pass of that number begins."""
        self._pass = number
        self._at, self._waiting = {}, []

    def see(self, tap: TapInfo, first: int, x_ND: torch.Tensor) -> None:
        """A tap's output of the batch whose first sample has that number.

        Raises:
            ActivationError: it, or one before it, is not what the tap gave in an earlier pass.
        """
        if tap.name not in self._known:
            return
        numel = x_ND.numel()
        step = max(1, numel // _ELEMENTS)
        step -= 1 - step % 2  # an even one could divide the length of a row, and would read one column only
        read = every(x_ND, first * _SHIFT % step, step).double()
        size = torch.linalg.vector_norm(read, 1)
        self._waiting.append((tap, first, self._directions[:, : len(read)] @ read, size))
        if len(self._waiting) >= _TOGETHER:
            self.settle()

    def state(self, rank: int) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """All that is known between two batches: what JSON holds, and tensors, under names of the rank's own;
        errors as :meth:`see`."""
        self.settle()
        own = {}
        for name, known in self._known.items():
            own[f"{rank}.{name}.batches"] = torch.tensor([[first, len(known[first])] for first in known])
            numbers = [number for rows in known.values() for number in rows]
            own[f"{rank}.{name}.numbers"] = torch.tensor(numbers, dtype=torch.float64)
        return {"pass": self._pass, "first": self._first}, own

    def load_state(self, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from the states of all ranks, of the same taps."""
        self._pass, self._first = facts["pass"], dict(facts["first"])
        for rank in numbered("", tensors):
            for name, known in self._known.items():
                numbers, begin = array("d", rank[f"{name}.numbers"].numpy().tobytes()), 0
                for first, count in rank[f"{name}.batches"].tolist():
                    known[first] = numbers[begin : begin + count]
                    begin += count

    def settle(self) -> None:
        """Compare what was seen; errors as :meth:`see`."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        along = torch.stack([numbers for _, _, numbers, _ in waiting])
        sizes = torch.stack([size for *_, size in waiting])[:, None] / _ELEMENTS**0.5
        rows = torch.cat([along, sizes], 1).tolist()
        for (tap, first, *_), row in zip(waiting, rows, strict=True):
            known = self._known[tap.name].setdefault(first, array("d"))
            batch, position = self._at.get(tap.name, (first, 0))
            position = position if batch == first else 0
            self._at[tap.name] = first, position + len(row)
            if self._first.setdefault(tap.name, self._pass) == self._pass:
                known.extend(row)
            elif not _alike(row, known[position : position + len(row)], tap.itemsize):
                raise ActivationError(
                    f"layer {tap.name} gave other values in pass {self._pass} than in pass "
                    f"{self._first[tap.name]}, from sample {first:,} on, of the same data: the model does "
                    "not repeat (random numbers from a generator of its own, or a state that changes); make "
                    "it deterministic, or let one pass be enough: more --memory, or another --method"
                )


def _alike(one: list[float], other: array[float], itemsize: int) -> bool:
    """Whether the outputs behind both differ by no more than the order of sums can make them differ."""
    if one == other.tolist():
        return True
    dtype = {2: torch.float16, 4: torch.float32, 8: torch.float64}[itemsize]
    if len(one) != len(other) or list(map(math.isfinite, one)) != list(map(math.isfinite, other)):
        return False
    most = min(_MOST, _UNITS * torch.finfo(dtype).eps) * max(one[-1], other[-1])
    # NaN and Inf in both are refused by the accumulators.
    return all(abs(a - b) <= most for a, b in zip(one, other, strict=True) if math.isfinite(a))
