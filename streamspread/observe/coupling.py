"""Which numbers of an activation a chain of convolutions couples, and what that saves in forming WᵀW.

(WᵀW)ᵢⱼ is 0 unless some output sees both i and j. So unit vectors whose images do not meet can share one
product, and what comes back is told apart by where it lies (Curtis, Powell & Reid 1974, "On the estimation of
sparse Jacobian matrices", doi:10.1093/imamat/13.1.117): a 3×3 convolution takes 25 for each channel, whatever
the size of an image.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import nn

from streamspread.linalg.banded import Banded, Layout
from streamspread.observe.source import Source

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
_POINTWISE = (nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)
_LINEAR = (nn.Linear, nn.Dropout, nn.Identity)


class Coupling:
    """The places of a source's numbers, and how far apart two that one output sees may lie.

    Attributes:
        shape: channels, rows and columns; turned where what is coupled lies nearer then.
        reach: rows and columns between two numbers that one output sees, at the most.
        colours: of numbers; no output sees two numbers of one colour.
        layout: of the lower triangle of WᵀW, of whose numbers those of a place follow each other.
    """

    def __init__(
        self, shape: tuple[int, int, int], reach: tuple[int, int], channels_last: bool = False
    ) -> None:
        channels, rows, columns = shape
        self._last = channels_last
        self._turned = reach[1] * rows + reach[0] < reach[0] * columns + reach[1]
        if self._turned:
            rows, columns, reach = columns, rows, reach[::-1]
        self.shape, self.reach = (channels, rows, columns), reach
        self._periods = tuple(
            min(size, 2 * far + 1) for size, far in zip((rows, columns), reach, strict=True)
        )
        self.colours = self._periods[0] * self._periods[1] * channels
        places = min(rows * columns - 1, reach[0] * columns + reach[1])
        self.layout = Layout(channels * rows * columns, channels, places)

    @staticmethod
    def of(source: Source) -> Coupling:
        """Where all modules are convolutions, with zeros around them, or transposed ones, and what acts on
        each number alone; or linear layers of the last axis. Else all is coupled."""
        shape, modules = source.shape, [step.module for step in source.steps]
        if len(shape) > 1 and all(isinstance(module, _LINEAR) for module in modules):
            alike = all(step.shape[:-1] == shape[:-1] for step in source.steps)
            if alike and not source.tap.channels_last:
                return Coupling((shape[-1], math.prod(shape[:-1]), 1), (0, 0), channels_last=True)
        of_images = len(shape) in (2, 3) and all(len(step.shape) == len(shape) for step in source.steps)
        if not of_images or not all(_in_zeros(module) for module in modules):
            return Coupling.whole(source.dim)
        reach, stride = [Fraction(0)] * (len(shape) - 1), [Fraction(1)] * (len(shape) - 1)
        for module in modules:
            if not isinstance(module, _CONVOLUTIONS):
                continue
            for axis in range(len(reach)):
                if module.transposed:  # its outputs lie closer than what it sees
                    stride[axis] /= module.stride[axis]
                reach[axis] += stride[axis] * module.dilation[axis] * (module.kernel_size[axis] - 1)
                if not module.transposed:
                    stride[axis] *= module.stride[axis]
        far = [min(int(most), size - 1) for most, size in zip(reach, shape[1:], strict=True)]
        (rows, columns), (down, right) = (1, *shape[1:])[-2:], (0, *far)[-2:]
        return Coupling((shape[0], rows, columns), (down, right), source.tap.channels_last)

    @staticmethod
    def whole(dim: int) -> Coupling:
        """Any two of so many numbers, as if they were channels of one place."""
        return Coupling((dim, 1, 1), (0, 0))

    @property
    def all_coupled(self) -> bool:
        """Whether no two numbers are told apart."""
        return self.layout.reach == 0 and self.layout.grain == self.layout.order

    def order(self) -> torch.Tensor:
        """(S,) int64: the source's numbers place by place, so that what is coupled lies near."""
        channels, rows, columns = self.shape
        if self._turned:
            rows, columns = columns, rows
        number_S = torch.arange(self.layout.order)
        if self._last:
            number_RWC = number_S.view(rows, columns, channels)
        else:
            number_RWC = number_S.view(channels, rows, columns).permute(1, 2, 0)
        return (number_RWC.transpose(0, 1) if self._turned else number_RWC).flatten()

    def colour(self) -> torch.Tensor:
        """(S,) int64, of each number in that order."""
        channels, rows, columns = self.shape
        row_R, column_W = torch.arange(rows) % self._periods[0], torch.arange(columns) % self._periods[1]
        place_RW = row_R[:, None] * self._periods[1] + column_W
        return (place_RW[:, :, None] * channels + torch.arange(channels)).flatten()

    def probes(self, begin: int, end: int) -> torch.Tensor:
        """(end − begin, S) float64: the sum of the unit vectors of each colour, in the source's own order."""
        colour_S = self.colour()
        (found_K,) = ((begin <= colour_S) & (colour_S < end)).nonzero(as_tuple=True)
        probe_nS = torch.zeros(end - begin, self.layout.order, dtype=torch.float64)
        probe_nS[colour_S[found_K] - begin, self.order()[found_K]] = 1.0
        return probe_nS

    def apart(self, image_nS: torch.Tensor) -> Banded:
        """A symmetric A that couples no others, place by place, from the images A·p of the probes."""
        device, (channels, _, columns) = image_nS.device, self.shape
        order_S, colour_S = self.order().to(device), self.colour().to(device)
        place_S = torch.arange(self.layout.order, device=device) // channels
        row_S, column_S = place_S // columns, place_S % columns
        square = Banded.empty(self.layout, device)
        for (begin, stop, end), part_KB in square.parts():
            seen_KB = image_nS[colour_S[begin:stop], order_S[begin:end, None]]
            far_KB = _apart(row_S, begin, stop, end) > self.reach[0]
            far_KB |= _apart(column_S, begin, stop, end) > self.reach[1]
            part_KB[:] = seen_KB.masked_fill_(far_KB, 0.0)  # also where it is NaN
        return square


def _in_zeros(module: nn.Module) -> bool:
    """Whether it is a convolution with zeros around what it takes, or acts on each number alone."""
    if isinstance(module, _CONVOLUTIONS):
        return module.padding_mode == "zeros"
    return isinstance(module, _POINTWISE)


def _apart(at_S: torch.Tensor, begin: int, stop: int, end: int) -> torch.Tensor:
    """(end − begin, stop − begin): between the numbers of a block's rows and those of its columns."""
    return (at_S[begin:end, None] - at_S[begin:stop]).abs_()
