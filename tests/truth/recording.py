"""What was summed: the rounded values themselves, as accumulators staged them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest import mock

import numpy as np

from streamspread.accumulators.staging import Staging


@dataclass
class Part:
    """The rows that one buffer staged, each with the origin that it had then."""

    staging: Staging
    pushes: list = field(default_factory=list)  # (activations, staged rows, shift, scale), float64
    first: np.ndarray | None = None  # the activations that came first of all, in whatever pass

    def values(self, about):
        """(N, columns) longdouble: what the staged rows stand for, measured from ``about``."""
        return np.concatenate(
            [rows / np.longdouble(scale) + (shift - about) for _, rows, shift, scale in self.pushes]
        )


class Recorder:
    """The parts of every layer, in the order in which they began."""

    def __init__(self):
        self.parts = []

    def part(self, staging):
        found = next((part for part in self.parts if part.staging is staging), None)
        if found is None:
            self.parts.append(found := Part(staging))
        return found

    def clear(self):
        """Forget what earlier passes brought, where the next one brings all of it again."""
        for part in self.parts:
            part.pushes.clear()

    def of(self, layer, rounding):
        """The parts that count: at int16 what overflowed is summed again in a larger unit."""
        parts = [
            part for part in self.parts if part.pushes and part.staging.precision[:2] == (rounding, layer)
        ]
        return [part for part in parts if part.staging.precision == parts[-1].staging.precision]

    def summed(self, layer, rounding, dim):
        """(N, D) longdouble: the rounded samples of a layer, each feature measured from its first shift."""
        parts = self.of(layer, rounding)
        if parts[0].staging.columns == dim:
            about = parts[0].pushes[0][2]
            return np.concatenate([part.values(about) for part in parts])
        return np.concatenate([part.values(part.pushes[0][2]) for part in parts], axis=1)

    def excess(self, layer, rounding):
        """Σ‖x‖² of all staged values as a share of Σ‖x − mean‖², in which errors of sums are counted."""
        squares = rest = 0.0
        for part in self.of(layer, rounding):
            rows = part.values(part.pushes[0][2])
            rows = rows / (np.abs(rows).max() or 1)
            squares += float((rows**2).sum())
            rest += float(((rows - rows.mean(0)) ** 2).sum())
        return squares / rest if rest else 1.0

    def check_rounding(self, layer, rounding, bits):
        """By how much of the largest deviation a staged value misses the activation, at the worst, beyond its
        rounding: once, to so many bits or to some 2⁻³² of the largest deviation; at int16, to half a unit."""
        worst = largest = 0.0
        for part in self.of(layer, rounding):
            first = part.first
            value = float(np.abs(first).max())
            if np.abs(first - first[0]).max() <= 2.0**-47 * value:  # it says no more of deviations than that
                largest = max(largest, value)
            largest = max(largest, *(float(np.abs(x - shift).max()) for x, _, shift, _ in part.pushes))
        if not largest:
            return 0.0
        for part in self.of(layer, rounding):
            for x, rows, shift, scale in part.pushes:
                distance = np.abs(x - shift)
                off = np.abs(rows / np.longdouble(scale) - (x - shift))
                allowed = distance * 2.0**-bits * 1.01 + largest * 2.0**-32
                if rounding == "int16":
                    allowed = 0.5 / np.longdouble(scale)
                worst = max(worst, float(((off - allowed) / largest).max()))
        return max(worst, 0.0)


@contextmanager
def recorded():
    """A recorder of everything that is staged meanwhile."""
    recorder, push, restart = Recorder(), Staging.push, Staging.restart

    def pushed(staging, x_ND):
        push(staging, x_ND)
        if not len(x_ND):
            return
        rows = staging.buffer_ND[staging.filled - len(x_ND) : staging.filled].double()
        shift, scale = staging.origin
        wide = (x_ND, rows, shift)
        numbers = [tensor.detach().cpu().double().numpy().astype(np.longdouble) for tensor in wide]
        part = recorder.part(staging)
        part.pushes.append((*numbers, scale))
        part.first = numbers[0] if part.first is None else part.first

    def restarted(staging):
        restart(staging)
        recorder.part(staging).pushes.clear()

    with mock.patch.object(Staging, "push", pushed), mock.patch.object(Staging, "restart", restarted):
        yield recorder
