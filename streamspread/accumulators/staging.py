"""Centre, scale and round activations into a staging buffer, with the sums that every accumulator needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

from streamspread import kernels
from streamspread.errors import ActivationError
from streamspread.kernels import formats
from streamspread.linalg.products import summation_error
from streamspread.ranks import ALONE, Ranks
from streamspread.system.tensors import as_tensor

# fp16 reaches 65,504. The first batch's largest deviation is scaled to 2⁹ = 512, which leaves later batches
# 128 times as much, and what is 2²³ times smaller than that maximum still has full precision.
# At int16 it is scaled to 2¹⁴, for later batches to be twice as large: there is no precision to spare. What
# exceeds that tells the larger unit with which the layer is summed again. But what is 12 times as large as
# deviations are, as a root mean square, is rare, and 14 bits for the rest cost less (kernels/int8_gemm.py):
# half a unit, of which they are 362 to 724, moves data by less than 6.4 · 10⁻⁷ of T.
_TARGETS = {"fp16": 9, "int16": 14}
_SPREAD = 724.0
_TINY = 2.0**-20  # the deviation to expect after a first batch of zeros; at int16, of its values, of others
_NEAR = 1024.0  # units that a shift may lie off the mean to be a float32 number: a 32nd of what values reach
_CONSTANT = 2.0**-48  # of the values: deviations that are no larger come from the mean's rounding in float64
# Variances of which float64 still holds what is 16 digits smaller; their squares it may not hold.
_LEAST_VARIANCE, _MOST_VARIANCE = 1e-280, 1e280
_LEAST_SQUARED = 1e-146  # of a trace whose square float64 holds with all its digits
_COUNTS = ("count", "wanted", "batches")
_SHIFT_COLUMNS = 8192  # widened to float64 at a time for the first batch's mean


class Overflow(Exception):
    """An activation, or a sum of its products, lay beyond the range of its precision: it must be summed
    again in another one.

    Attributes:
        scale: at int16, in which it would fit: the unit may only be too small, or too large.
    """

    def __init__(self, message: str, scale: float = 0.0) -> None:
        super().__init__(message)
        self.scale = scale


class Origin(NamedTuple):
    """Where values are measured from, and in which units: sums are of round((x − shift)·scale).

    shift_D: (D,) in the sums' dtype: the first batch's mean, so that nothing is computed as E[x²] − E[x]²;
        at int16 a multiple of 1/scale, and sums are of round(x·scale) − shift·scale.
    scale: a power of two, so that it costs no precision.
    """

    shift_D: torch.Tensor
    scale: float


class Precision(NamedTuple):
    """How a layer's values are rounded.

    layer: its name, for messages. ``scale``: at int16, what an earlier try told; 0: the first batch tells it.
    ``most_moved``: the share of T that squared rounding errors may amount to at int16. ``part``: what comes
    at a time, in a word.
    """

    rounding: str
    layer: str = ""
    scale: float = 0.0
    most_moved: float = math.inf
    part: str = "batch"

    @property
    def sum_dtype(self) -> torch.dtype:
        """Of the sums."""
        return formats.SUM_DTYPES[self.rounding]

    @property
    def exact(self) -> bool:
        """Whether they become integers, whose sums are never rounded."""
        return self.rounding == "int16"

    def check_moved(self, moved: float, total: float, numbers: int, scale: float) -> None:
        """Check the sum of squared rounding errors beside that of the squared deviations, of so many numbers.

        Raises:
            Overflow: it is too large a share; or no deviation is left, which may be rounding's doing.
        """
        if total <= 0.0 < moved and self.most_moved < math.inf:
            raise Overflow(f"layer {self.layer}: {self.rounding} left nothing of its deviations")
        if moved > self.most_moved * total:
            what = f"{self.rounding} moved the data by {moved / total:.0e} of their variance"
            finer = math.ldexp(scale, _exponent((total + moved) / numbers))
            raise Overflow(f"layer {self.layer}: {what}", finer)

    def on_grid(self, shift_D: torch.Tensor, scale: float) -> torch.Tensor:
        """The shift as it is used: integers are measured from integers, in float32 where it has them."""
        if not self.exact:
            return shift_D.to(self.sum_dtype)
        whole_D = (shift_D * scale).round_()
        narrow_D = whole_D.float().double()
        return torch.where((narrow_D - whole_D).abs() <= _NEAR, narrow_D, whole_D) / scale


def origin_of(
    x_ND: torch.Tensor, precision: Precision, largest_scale: float = math.inf, ranks: Ranks = ALONE
) -> Origin:
    """The origin that suits a first batch.

    Args:
        largest_scale: of values that will be added to others, scaled by so much.
        ranks: each of which has some of the columns: the scale is that of all.

    Raises:
        ActivationError: the batch holds NaN or Inf.
    """
    dtype, width = precision.sum_dtype, x_ND.shape[1]
    # A copy in float64 of one column block at a time: the whole of it would be larger than the batch.
    mean_D = torch.empty(width, dtype=torch.float64, device=x_ND.device)
    largest = torch.zeros(3, dtype=torch.float64, device=x_ND.device)
    squares = torch.zeros((), dtype=torch.float64, device=x_ND.device)
    for begin in range(0, width, _SHIFT_COLUMNS):
        block = x_ND[:, begin : begin + _SHIFT_COLUMNS].double()
        mean = block.mean(0)
        mean_D[begin : begin + _SHIFT_COLUMNS] = mean
        deviation = (block - mean.to(dtype).double()).abs().max()
        from_mean = block - mean
        squares += torch.linalg.vector_norm(from_mean).square()
        sizes = torch.stack([deviation, block.abs().max(), from_mean.abs_().max()])
        largest = torch.maximum(largest, sizes)
    shift_D = mean_D.to(dtype)
    told = torch.tensor(ranks.gather([*largest.tolist(), float(squares), x_ND.numel()]), dtype=torch.float64)
    farthest, value, farthest_from_mean, *_ = told.amax(0).tolist()  # NaN where there is one
    if not math.isfinite(value):
        raise _not_finite(precision, 0)
    if not math.isfinite(farthest):  # float64 values beyond float32's range: staging will find an overflow
        return Origin(shift_D.zero_(), min(1.0, largest_scale))
    most = 1000 if torch.float64 in (x_ND.dtype, dtype) else 126  # exponents that the arithmetic reaches
    if precision.scale:
        scale = min(precision.scale, 2.0**most)
        return Origin(precision.on_grid(shift_D, scale), scale)
    # A first batch without deviations, such as one of a single sample, says of later ones' size only what its
    # values say; at int16, whose units are all alike, not even that. Where these are zero too, 16 bits take a
    # scale at which all but tiny deviations overflow: that is noticed and mended, where underflow would go
    # unseen.
    if farthest_from_mean <= _CONSTANT * value:  # the rest is the mean's own rounding to the shift's dtype
        farthest = 0.0
    target = _TARGETS.get(precision.rounding)
    expected = farthest or value * (_TINY if precision.exact else 1.0) or (0.0 if target is None else _TINY)
    if expected <= 0.0:
        return Origin(shift_D, min(1.0, largest_scale))
    exponent = (target or 0) - math.frexp(expected)[1]
    *_, all_squares, numbers = told.sum(0).tolist()
    if precision.exact and farthest > 0.0 < all_squares < math.inf:
        exponent = min(exponent, _exponent(all_squares / numbers))
    scale = min(largest_scale, 2.0 ** max(-most, min(most, exponent)))
    return Origin(precision.on_grid(shift_D, scale), scale)


def _exponent(mean_square: float) -> int:
    """Of the scale in which deviations of that mean square are 362 to 724 units, as a root mean square."""
    return math.floor(math.log2(_SPREAD / math.sqrt(mean_square)))


class Staging:
    """Rows of round((x − shift)·scale), and Σ and Σ² of those rounded values, all in scaled units.

    The mean that the shift left is known from the sums; the accumulator takes it off.

    Attributes:
        origin: shift and scale. ``rows``: capacity. ``filled``: rows in use.
        wanted: rows at which :meth:`fill` has them taken; all, unless its owner wants fewer.
        count: samples seen, an int. ``sums``: see :class:`streamspread.kernels.formats.Sums`.
        batches: that came in this pass.
    """

    def __init__(self, origin: Origin, rows: int, precision: Precision) -> None:
        self.origin, self.rows, self.precision, self.wanted = origin, rows, precision, rows
        device = origin.shift_D.device
        self.buffer_ND = formats.staging_buffer(precision.rounding, rows, self.columns, device)
        self.sums = formats.new_sums(self.columns, device)
        self.count = self.filled = self.batches = 0

    @property
    def columns(self) -> int:
        """Features staged."""
        return self.origin.shift_D.shape[0]

    @staticmethod
    def nbytes(columns: int, rows: int, rounding: str, device: torch.device) -> int:
        """Bytes of the buffer, the shift and the sums."""
        return formats.staged_bytes(rounding, rows, columns, device) + columns * (8 + 8)

    @staticmethod
    def first_bytes(columns: int, rows: int) -> int:
        """Extra bytes while the first batch gives the origin: a block in float64, and deviations twice."""
        return 3 * rows * min(columns, _SHIFT_COLUMNS) * 8

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
        rows = x_ND.shape[0]
        if self.columns:  # of more ranks than columns some have none
            kernels.for_device(self.buffer_ND.device).stage(
                x_ND,
                self.origin.shift_D,
                self.origin.scale,
                self.precision.rounding,
                self.buffer_ND[self.filled : self.filled + rows],
                self.sums,
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

    def restart(self) -> None:
        """Begin another pass over the same samples: the same origin, so the same rounded numbers."""
        self.count = self.filled = self.batches = 0
        self.wanted = self.rows

    def check(self) -> None:
        """Whether everything staged so far was finite; on CUDA this waits for the device.

        Raises:
            ActivationError: NaN or Inf came, naming the layer and the first such batch.
            Overflow: rounding overflowed.
        """
        bad_input, overflow = self.sums.first_bad.tolist()
        if bad_input != formats.NEVER:
            raise _not_finite(self.precision, bad_input)
        if overflow != formats.NEVER:
            what = f"{self.precision.rounding} overflow"
            where = f"{self.precision.part} {overflow + 1}"
            raise Overflow(f"layer {self.precision.layer}: {what} in {where}", self._fitting())

    def _fitting(self) -> float:
        """The scale in which values that overflowed at int16 fit, with as much to spare as the first batch;
        0 where none is known."""
        farthest = float(self.sums.farthest)
        if not 0.0 < farthest < math.inf:
            return 0.0
        return math.ldexp(self.origin.scale, _TARGETS["int16"] - math.frexp(farthest)[1])

    def remaining_mean(self) -> torch.Tensor:
        """(D,) float64: the mean of the staged values, which the shift left."""
        return self.sums.sum_D / self.count

    def total(self) -> float:
        """Σ‖x − mean‖² of the staged values in float64, scaled units; NaN where their sums overflowed.

        It is a difference of two sums: where it is within their rounding, the values are all alike. That is
        so where a constant layer's shift was rounded to the sums' dtype: all values are one and the same.
        """
        squares = float(self.sums.squares_D.sum())
        total = squares - float(self.sums.sum_D.square().sum()) / self.count
        return 0.0 if total <= summation_error(self.count + 2) * squares else total

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that :func:`origin_in` and :meth:`load_state` need, as references."""
        return {
            "rows": self.buffer_ND[: self.filled],
            "shift": self.origin.shift_D,
            "scale": as_tensor(self.origin.scale),
            **{name: as_tensor(getattr(self, name)) for name in _COUNTS},
            **self.sums._asdict(),
        }

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copy in the state of a buffer of the same features and origin, with no more rows; ValueError for
        others."""
        if (shape := state["rows"].shape)[1:] != self.buffer_ND.shape[1:]:
            raise ValueError(f"staged rows of shape {tuple(shape)}, not (…, {self.columns})")
        self.filled = len(state["rows"])
        self.buffer_ND[: self.filled] = state["rows"]
        for name in _COUNTS:
            setattr(self, name, int(state[name]))
        for name, sums in self.sums._asdict().items():
            sums.copy_(state[name])

    def rescale(self, scale: float) -> float:
        """Bring the sums to another scale; the ratio of both, a power of two, so that only underflow loses
        anything. Nothing may be staged."""
        ratio = scale / self.origin.scale
        if ratio != 1.0:
            self.sums.sum_D.mul_(ratio)
            self.sums.squares_D.mul_(ratio**2)
            self.sums.moved.mul_(ratio**2)
            self.sums.farthest.mul_(ratio)
            self.origin = self.origin._replace(scale=scale)
        return ratio


def origin_in(state: Mapping[str, torch.Tensor], device: torch.device) -> Origin:
    """The origin in a state of :meth:`Staging.state`, on the device; the state may be released afterwards."""
    return Origin(state["shift"].to(device, copy=True), float(state["scale"]))


def variance_unit(
    trace: float, scale: float, samples: int, layer: str, dtype: torch.dtype = torch.float64
) -> float:
    """What turns sums in scaled units into a covariance: 1/(scale²·(N − 1)).

    Args:
        dtype: of the sums that eigenvalues are computed of; squares of these are float64.

    Raises:
        ActivationError: the variance is too small or too large for float64; or the sums are, in the scaled
            units, for their dtype, as after a first batch that did not vary, which tells no scale.
    """
    unit = 1.0 / scale / scale / (samples - 1)
    held = torch.finfo(dtype)
    if 0.0 < trace < max(held.tiny / held.eps, _LEAST_SQUARED):
        raise ActivationError(
            f"layer {layer}: its first batch did not vary, and deviations after it are so small that their "
            "products underflow: shuffle the data, or scale the activations"
        )
    if trace > 0.0 and not _LEAST_VARIANCE < trace * unit < _MOST_VARIANCE:
        raise ActivationError(
            f"layer {layer}: a variance of {trace * unit:.0e} is beyond what float64 can tell: scale the "
            "activations, or the input"
        )
    return unit


def _not_finite(precision: Precision, number: int) -> ActivationError:
    return ActivationError(
        f"layer {precision.layer or '?'}: NaN or Inf in the activation in {precision.part} {number + 1}: "
        "check the weights and the input scale, or run the model in float32"
    )
