"""The narrow side of a layer: rows of fewer numbers that have the inner products of the layer's own."""

from __future__ import annotations

from functools import cached_property

import torch

from streamspread.errors import ActivationError
from streamspread.linalg.banded import Banded, Layout, MeasuredProduct
from streamspread.observe.coupling import Coupling
from streamspread.observe.source import Source
from streamspread.system.threads import side_by_side

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
