"""Whether a model repeats: what its taps give in one pass, held against what they gave before."""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Mapping
from typing import Any

import torch

from streamspread.errors import ActivationError
from streamspread.observe.taps import TapInfo
from streamspread.streams import every

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
    random directions, and their size.
    """

    def __init__(self, device: torch.device, names: Collection[str]) -> None:
        """``names``: of the taps that are seen in more than one pass; others are not looked at."""
        generator = torch.Generator().manual_seed(0)
        shape = _DIRECTIONS, 3 * _ELEMENTS
        self._directions = torch.randn(shape, dtype=torch.float64, generator=generator).to(device)
        self._known = {name: array("d") for name in names}
        self._position: dict[str, int] = {}
        self._waiting: list[tuple[TapInfo, int, torch.Tensor, torch.Tensor]] = []
        self._pass = 0
        self._first: dict[str, int] = {}  # the pass in which a tap was first seen

    def begin(self, number: int) -> None:
        """The pass of that number begins."""
        self._pass = number
        self._position = {}
        self._waiting = []

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

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """All that is known in the middle of a pass: what JSON holds, and tensors; errors as :meth:`see`."""
        self.settle()
        facts = {"pass": self._pass, "position": self._position, "first": self._first}
        known = {name: torch.tensor(rows, dtype=torch.float64) for name, rows in self._known.items()}
        return facts, known

    def load_state(self, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state of the same taps."""
        self._pass, self._position, self._first = facts["pass"], dict(facts["position"]), dict(facts["first"])
        self._known = {name: array("d", tensors[name].numpy().tobytes()) for name in self._known}

    def settle(self) -> None:
        """Compare what was seen; errors as :meth:`see`."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        along = torch.stack([numbers for _, _, numbers, _ in waiting])
        sizes = torch.stack([size for *_, size in waiting])[:, None] / _ELEMENTS**0.5
        rows = torch.cat([along, sizes], 1).tolist()
        for (tap, first, *_), row in zip(waiting, rows, strict=True):
            known, position = self._known[tap.name], self._position.get(tap.name, 0)
            self._position[tap.name] = position + len(row)
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
