"""Centre, scale and round activations into a staging buffer, with the sums that every accumulator needs."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from streamspread import kernels
from streamspread.errors import ActivationError

# fp16 reaches 65,504. The first batch's largest deviation is scaled to 2⁹ = 512, which leaves later batches
# 128 times as much, and what is 2²³ times smaller than that maximum still has full precision.
_FP16_TARGET = 9
_FP16_TINY = 2.0**-20  # the deviation to expect after a first batch of zeros
_CONSTANT = 2.0**-48  # of the values: deviations that are no larger come from the mean's rounding in float64
_PILOT_COLUMNS = 8192  # widened to float64 at a time for the first batch's mean
_FORMAT = "layer {layer}: {what} in batch {batch}"


class Overflow(Exception):
    """An activation, or a sum of its products, lay beyond the range of the rounding once scaled: it must be
    summed again, rounded otherwise."""


class Staging:
    """Rows of round((x − pilot)·scale), and Σ and Σ² of those rounded values.

    The pilot is the first batch's mean, so that nothing is ever computed as E[x²] − E[x]²; what is left of
    the mean is known from the sums, and taken off by the accumulator. All values here are in scaled units;
    the scale is a power of two, so it costs no precision.

    Attributes:
        width: number of features staged. ``rows``: capacity. ``filled``: rows in use. ``wanted``: rows at
            which :meth:`fill` has them taken; all, unless its owner wants fewer.
        count: samples seen, an int. ``sum_D``: (D,) float64. ``squares``: (1,) float64.
        pilot_D: (D,) in the sums' dtype, None before the first batch. ``scale``: float.
    """

    def __init__(
        self,
        width: int,
        rows: int,
        rounding: str,
        device: torch.device,
        layer: str = "",
        largest_scale: float = math.inf,
    ) -> None:
        """``largest_scale``: of values that will be added to others, scaled by so much."""
        self.width, self.rows, self.rounding, self.device, self.layer = width, rows, rounding, device, layer
        self.largest_scale, self.wanted = largest_scale, rows
        self.buffer_ND = torch.empty(rows, width, dtype=kernels.staged_dtype(rounding, device), device=device)
        self.sum_D = torch.zeros(width, dtype=torch.float64, device=device)
        self.squares = torch.zeros(1, dtype=torch.float64, device=device)
        self.first_bad = torch.full((2,), kernels.NEVER, dtype=torch.int32, device=device)
        self.pilot_D: torch.Tensor | None = None
        self.scale = min(1.0, largest_scale)
        self.count = self.filled = self.batches = 0

    @staticmethod
    def nbytes(width: int, rows: int, rounding: str, device: torch.device) -> int:
        """Bytes of the buffer, the pilot and the sums."""
        return width * (rows * kernels.staged_dtype(rounding, device).itemsize + 8 + 8)

    @staticmethod
    def first_bytes(width: int, rows: int) -> int:
        """Extra bytes while the first batch sets the pilot: a block in float64, and deviations twice."""
        return 3 * rows * min(width, _PILOT_COLUMNS) * 8

    def fill(self, x_ND: torch.Tensor, take: Callable[[], None]) -> None:
        """Stage a batch of any size; ``take`` is called whenever ``wanted`` rows are filled, and must take
        them by :meth:`staged`."""
        begin, batch = 0, self.batches
        while begin < x_ND.shape[0]:
            free = self.wanted - self.filled
            self.batches = batch  # also where it takes several pushes
            self.push(x_ND[begin : begin + free])
            begin += free
            if self.filled == self.wanted:
                take()

    def push(self, x_ND: torch.Tensor) -> None:
        """Stage a batch that fits into the rows left."""
        if self.pilot_D is None:
            self._set_pilot(x_ND)
        assert self.pilot_D is not None
        rows = x_ND.shape[0]
        kernels.for_device(self.device).stage(
            x_ND,
            self.pilot_D,
            self.scale,
            self.rounding,
            self.buffer_ND[self.filled : self.filled + rows],
            self.sum_D,
            self.squares,
            self.first_bad,
            self.batches,
        )
        self.filled += rows
        self.count += rows
        self.batches += 1

    def staged(self) -> torch.Tensor:
        """The rows in use, (filled, D); the buffer counts as empty afterwards."""
        rows_ND = self.buffer_ND[: self.filled]
        self.filled = 0
        return rows_ND

    def check(self) -> None:
        """Whether everything staged so far was finite; on CUDA this waits for the device.

        Raises:
            ActivationError: NaN or Inf came, naming the layer and the first such batch.
            Overflow: rounding overflowed.
        """
        bad_input, overflow = self.first_bad.tolist()
        if bad_input != kernels.NEVER:
            raise self._not_finite(bad_input)
        if overflow != kernels.NEVER:
            raise Overflow(
                _FORMAT.format(layer=self.layer, what=f"{self.rounding} overflow", batch=overflow + 1)
            )

    def remaining_mean(self) -> torch.Tensor:
        """(D,) float64: the mean of the staged values, which the pilot left."""
        return self.sum_D / self.count

    def total(self) -> float:
        """Σ‖x − mean‖² of the staged values in float64, scaled units; NaN where their sums overflowed."""
        found = float(self.squares[0] - self.sum_D.square().sum() / self.count)
        return 0.0 if found < 0.0 else found

    def _set_pilot(self, x_ND: torch.Tensor) -> None:
        dtype = kernels.SUM_DTYPES[self.rounding]
        # A copy in float64 of one column block at a time: the whole of it would be larger than the batch.
        mean_D = torch.empty(self.width, dtype=torch.float64, device=self.device)
        largest = torch.zeros(3, dtype=torch.float64, device=self.device)  # deviation, value, from the mean
        for begin in range(0, self.width, _PILOT_COLUMNS):
            block = x_ND[:, begin : begin + _PILOT_COLUMNS].double()
            mean = block.mean(0)
            mean_D[begin : begin + _PILOT_COLUMNS] = mean
            deviation = (block - mean.to(dtype).double()).abs().max()
            spread = (block - mean).abs().max()
            largest = torch.maximum(largest, torch.stack([deviation, block.abs().max(), spread]))
        self.pilot_D = mean_D.to(dtype)
        farthest, value, spread_by = largest.tolist()
        if not math.isfinite(value):
            raise self._not_finite(self.batches)
        if not math.isfinite(farthest):  # float64 values beyond float32's range: overflow, as staging finds
            self.pilot_D.zero_()
            return
        target = _FP16_TARGET if self.rounding == "fp16" else 0
        # A first batch without deviations, such as one of a single sample, says of later ones' size only what
        # its values say. Where these are zero too, fp16 takes a scale at which all but tiny deviations
        # overflow: that is noticed and mended, where underflow would go unseen.
        if spread_by <= _CONSTANT * value:  # what is left is the mean's own rounding, to the pilot's dtype
            farthest = 0.0
        expected = farthest or value or (_FP16_TINY if self.rounding == "fp16" else 0.0)
        if expected > 0:
            exponent = target - math.frexp(expected)[1]
            self.scale = min(self.largest_scale, 2.0 ** max(-126, min(126, exponent)))

    def _not_finite(self, batch: int) -> ActivationError:
        what = _FORMAT.format(layer=self.layer or "?", what="NaN or Inf in the activation", batch=batch + 1)
        return ActivationError(f"{what}: check the weights and the input scale, or run the model in float32")
