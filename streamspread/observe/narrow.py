"""The narrow side of a layer: rows of fewer numbers that have the inner products of the layer's own.

They are R·x with RᵀR = WᵀW, and (WᵀW)ᵢⱼ is 0 unless some output sees both i and j. So unit vectors whose
images do not meet can share one product, and what comes back is told apart by where it lies (Curtis, Powell &
Reid 1974, "On the estimation of sparse Jacobian matrices", doi:10.1093/imamat/13.1.117): a 3×3 convolution
takes 25 for each channel, whatever the size of an image.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cached_property

import torch
from torch import nn

from streamspread.errors import ActivationError
from streamspread.linalg.banded import Banded, Layout, MeasuredProduct
from streamspread.observe.source import Source
from streamspread.system.threads import side_by_side

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


_NUMBERS = 1 << 20  # of images of unit vectors at a time, and of all on the way to them
_BYTES = 2 * 8  # of such a number: on the way there, and back
_UNIT = 2.0**-53
_EQUAL = 32  # times S units of rounding: two products that are the same
_COPIES = 4  # of a block while its numbers are told apart
_JITTERS = (0.0, 1.0, 16.0, 256.0, 4096.0)  # units of rounding on the diagonal, until there is a factor


class Narrow:
    """x ↦ R·x for an R (S × S) with RᵀR = WᵀW: an isometric picture of y = Wx + b.

    Rows of S numbers then have the inner products of the layer's rows of D, once a mean is taken off. So what
    is summed of them, inner products or scatter, has the layer's non-zero eigenvalues, trace and norm, and is
    rounded to no larger a share of them.

    R is the Cholesky factor of WᵀW, which is formed from the images of the unit vectors, all in float64, with
    every number of x measured in units of its own, in which its column of W has norm 1: so columns may be of
    any size. Where W loses directions, the diagonal is raised by some units of rounding. The numbers of x are
    taken place by place: then what convolutions couple is a band, within which the factor lies, and nothing
    of size S² is formed.

    Attributes:
        order_S: the numbers of x as R takes them, int64.
        factor: Rᵀ, a lower triangle.
        quick: whether it is applied in float32, where that moves rows by next to nothing
            (:class:`streamspread.linalg.banded.MeasuredProduct`).
    """

    def __init__(self, order_S: torch.Tensor, factor: Banded, quick: bool = False) -> None:
        self.order_S, self.factor, self.quick = order_S, factor, quick

    @classmethod
    def of(cls, source: Source, quick: bool = False) -> Narrow:
        """Forms R.

        Raises:
            ActivationError: W holds NaN or Inf, or numbers whose squares are beyond float64.
        """
        with torch.inference_mode(False):  # or nothing could be differentiated
            square, order_S = _square(source, Coupling.of(source))
        norm_S = square.diagonal().sqrt()
        square.divide_(torch.where(norm_S == 0.0, 1.0, norm_S))
        factor = Banded.empty(square.layout, square.flat.device)
        for jitter in _JITTERS:
            factor.flat.copy_(square.flat)
            factor.fill_diagonal_(1.0 + jitter * source.dim * _UNIT)  # also where W has nothing but 0
            if factor.factorise_():
                break
        else:
            raise ActivationError(
                f"layer {source.layer.name}: NaN or Inf, or too wide a range in its weights: check them"
            )
        factor.scale_rows_(norm_S)
        return cls(order_S, factor, quick)

    @classmethod
    def like(cls, layout_3: torch.Tensor, device: torch.device, quick: bool = False) -> Narrow:
        """One whose numbers, :meth:`state`, are still to be written; ``layout_3`` is the state's."""
        layout = Layout(*layout_3.tolist())
        order_S = torch.empty(layout.order, dtype=torch.int64, device=device)
        return cls(order_S, Banded.empty(layout, device), quick)

    def state(self) -> dict[str, torch.Tensor]:
        """References to all that it consists of: ``layout``, (3,) int64, ``order`` and ``factor``."""
        layout = self.factor.layout
        layout_3 = torch.tensor([layout.order, layout.grain, layout.reach], device=self.order_S.device)
        return {"layout": layout_3, "order": self.order_S, "factor": self.factor.flat}

    @staticmethod
    def making_bytes(source: Source, coupling: Coupling) -> int:
        """Bytes that R takes while it is made, beside itself: WᵀW or the images of all probes, some on their
        way, weights in float64, and what is made of a block."""
        weights = sum(part.numel() for step in source.steps for part in step.module.parameters())
        images, square = coupling.colours * source.dim, coupling.layout.numbers
        block = _COPIES * max(block.numbers for block in coupling.layout.blocks)
        on_their_way = _BYTES * source.widest * (_height(source) + 1) * _at_once(source.device)
        return 8 * (weights + max(images, square) + block) + on_their_way

    @cached_property
    def _measured(self) -> MeasuredProduct:
        return MeasuredProduct(self.factor)

    def rows(self, x_NS: torch.Tensor) -> torch.Tensor:
        """(n, S) float64: R·x for each row."""
        x_NS = x_NS[:, self.order_S]
        return self._measured.rows(x_NS) if self.quick else self.factor.transposed_times(x_NS.double())


def _square(source: Source, coupling: Coupling) -> tuple[Banded, torch.Tensor]:
    """WᵀW in float64, where the modules are, and the order of the numbers of x in which it is a band."""
    wide, dim = source.in_dtype(torch.float64), source.dim
    square, order_S = coupling.apart(_images(wide, coupling)), coupling.order().to(wide.device)
    generator = torch.Generator().manual_seed(0)
    x_1S = torch.randn(1, dim, generator=generator, dtype=torch.float64).to(wide.device)
    off_1S = (wide.squared(x_1S)[:, order_S] - square.times_symmetric(x_1S[:, order_S])).abs_()
    sizes = Banded(square.layout, square.flat.abs())
    size = float(sizes.times_symmetric(x_1S[:, order_S].abs()).max())
    if coupling.all_coupled or not float(off_1S.max()) > _EQUAL * dim * _UNIT * size:
        return square, order_S
    return _square(source, Coupling.whole(dim))


def _images(wide: Source, coupling: Coupling) -> torch.Tensor:
    """(colours, S): WᵀW times each probe, some at a time."""
    colours, height = coupling.colours, _height(wide)
    image_nS = torch.empty(colours, wide.dim, dtype=torch.float64, device=wide.device)

    def form(begin: int) -> None:
        end = min(colours, begin + height)
        image_nS[begin:end] = wide.squared(coupling.probes(begin, end).to(wide.device))

    begins = range(0, colours, height)
    if wide.device.type == "cuda":
        for begin in begins:
            form(begin)
    else:
        side_by_side(form, begins)
    return image_nS


def _height(source: Source) -> int:
    """Unit vectors at a time."""
    return min(source.dim, max(1, _NUMBERS // source.widest))


def _at_once(device: torch.device) -> int:
    """Groups of unit vectors that are on their way together."""
    return 1 if device.type == "cuda" else torch.get_num_threads()
