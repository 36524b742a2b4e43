"""Which numbers of an activation a chain of convolutions couples, and what that saves in forming WᵀW.

(WᵀW)ᵢⱼ is 0 unless some output sees both i and j. So unit vectors whose images do not meet can share one
product, and what comes back is told apart by where it lies (Curtis, Powell & Reid 1974, "On the estimation of
sparse Jacobian matrices", doi:10.1093/imamat/13.1.117): a 3×3 convolution takes 25 for each channel, whatever
the size of an image.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn

from streamspread.observe.source import Source

_POINTWISE = (nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.Identity)


class Coupling:
    """The places of a source's numbers, and how far apart two that one output sees may lie.

    Attributes:
        order_S: the numbers place by place, so that what is coupled lies near.
        colours: of numbers; no output sees two numbers of one colour.
    """

    def __init__(self, source: Source, reach: tuple[int, int]) -> None:
        """``reach``: rows and columns between two numbers that one output sees, at the most."""
        channels, rows, columns = source.shape
        self.reach, self._size = reach, source.dim
        number_CRW = torch.arange(source.dim).view(source.shape)
        if source.tap.channels_last:
            number_CRW = torch.arange(source.dim).view(rows, columns, channels).permute(2, 0, 1)
        self._number_RWC = number_CRW.permute(1, 2, 0)
        self.order_S = self._number_RWC.flatten()
        periods = [min(size, 2 * far + 1) for size, far in zip((rows, columns), reach, strict=True)]
        self.colours = periods[0] * periods[1] * channels
        row_R, column_W = torch.arange(rows) % periods[0], torch.arange(columns) % periods[1]
        place_RW = row_R[:, None] * periods[1] + column_W
        self._colour_RWC = place_RW[:, :, None] * channels + torch.arange(channels)

    @staticmethod
    def of(source: Source) -> Coupling | None:
        """Where all modules are convolutions of images, with zeros around them, and what acts on each number
        alone; None where another one is among them, or where all is coupled."""
        reach, stride = [0, 0], [1, 1]
        if len(source.shape) != 3:
            return None
        for module, _ in source.steps:
            if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros":
                for axis in (0, 1):
                    reach[axis] += stride[axis] * module.dilation[axis] * (module.kernel_size[axis] - 1)
                    stride[axis] *= module.stride[axis]
            elif not isinstance(module, _POINTWISE):
                return None
        coupling = Coupling(source, (reach[0], reach[1]))
        return coupling if coupling.colours < source.dim else None

    def probes(self) -> torch.Tensor:
        """(colours, S) float64: the sum of the unit vectors of each colour."""
        probe_nS = torch.zeros(self.colours, self._size, dtype=torch.float64)
        probe_nS[self._colour_RWC.flatten(), self.order_S] = 1.0
        return probe_nS

    def apart(self, image_nS: torch.Tensor) -> torch.Tensor:
        """A symmetric A (S, S) that couples no others, from the images A·p of the probes."""
        square_SS = torch.zeros(self._size, self._size, dtype=image_nS.dtype, device=image_nS.device)
        rows, columns, _ = self._number_RWC.shape
        for down, right in itertools.product(*(range(-far, far + 1) for far in self.reach)):
            here = (_from(rows, -down), _from(columns, -right))
            there = (_from(rows, down), _from(columns, right))  # so many places from here
            number_kC = self._number_RWC[here].flatten(0, 1)[:, :, None].to(image_nS.device)
            colour_kC = self._colour_RWC[here].flatten(0, 1)[:, :, None].to(image_nS.device)
            other_kC = self._number_RWC[there].flatten(0, 1)[:, None, :].to(image_nS.device)
            square_SS[number_kC, other_kC] = image_nS[colour_kC, other_kC]
        return square_SS


def _from(size: int, begin: int) -> slice:
    """All places but the first ones, or the last ones where there are fewer than none of these."""
    return slice(max(0, begin), max(0, size + min(0, begin)))
