"""The narrow side of a layer: rows of fewer numbers that have the inner products of the layer's own."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from streamspread.errors import ActivationError
from streamspread.observe.coupling import Coupling
from streamspread.observe.source import Source
from streamspread.system.switches import side_by_side

_NUMBERS = 1 << 20  # of images of unit vectors at a time, and of all on the way to them
_BYTES = 2 * 8  # of such a number: on the way there, and back
_UNIT = 2.0**-53
_EQUAL = 32  # times S units of rounding: two products that are the same
_COLUMNS = 256  # of Rᵀ that are multiplied at a time
_JITTERS = (0.0, 1.0, 16.0, 256.0, 4096.0)  # units of rounding on the diagonal, until there is a factor


class Narrow:
    """x ↦ R·x for an R (S × S) with RᵀR = WᵀW: an isometric picture of y = Wx + b.

    Rows of S numbers then have the inner products of the layer's rows of D, once a mean is taken off. So what
    is summed of them, inner products or scatter, has the layer's non-zero eigenvalues, trace and norm, and is
    rounded to no larger a share of them.

    R is the Cholesky factor of WᵀW, which is formed from the images of the unit vectors, all in float64, with
    every number of x measured in units of its own, in which its column of W has norm 1: so columns may be of
    any size. Where W loses directions, the diagonal is raised by some units of rounding. The numbers of x are
    taken place by place: then what convolutions couple is a band, which the factor keeps.

    Attributes:
        transposed_SS: Rᵀ.
    """

    def __init__(self, source: Source) -> None:
        """Forms R.

        Raises:
            ActivationError: W holds NaN or Inf, or numbers whose squares are beyond float64.
        """
        coupling = Coupling.of(source)
        with torch.inference_mode(False):  # or nothing could be differentiated
            square_SS = _square(source, coupling)
        if coupling is not None:
            order_S = coupling.order_S.to(square_SS.device)
            square_SS = square_SS[order_S[:, None], order_S]
        norm_S = square_SS.diagonal().sqrt()
        unit_S = torch.where(norm_S == 0.0, 1.0, norm_S)
        square_SS.div_(unit_S).div_(unit_S[:, None])
        for jitter in _JITTERS:
            square_SS.diagonal().fill_(1.0 + jitter * source.dim * _UNIT)  # also where W has nothing but 0
            factor_SS, info = torch.linalg.cholesky_ex(square_SS, upper=True)
            if not int(info) and bool(torch.isfinite(factor_SS).all()):
                break
        else:
            raise ActivationError(
                f"layer {source.layer.name}: NaN or Inf, or too wide a range in its weights: check them"
            )
        del square_SS
        factor_SS = factor_SS.mul_(norm_S).T
        if coupling is None:
            self._hold(factor_SS.contiguous())
        else:
            transposed_SS = torch.empty(factor_SS.shape, dtype=factor_SS.dtype, device=factor_SS.device)
            transposed_SS[order_S] = factor_SS
            self._hold(transposed_SS)

    def _hold(self, transposed_SS: torch.Tensor) -> None:
        self.transposed_SS, self._parts = transposed_SS, list(_parts(transposed_SS))

    @classmethod
    def of(cls, transposed_SS: torch.Tensor) -> Narrow:
        """That of a factor that was formed before."""
        narrow = cls.__new__(cls)
        narrow._hold(transposed_SS)
        return narrow

    @staticmethod
    def making_bytes(source: Source) -> int:
        """Bytes that R takes while it is made, beside three matrices as large as itself: weights in float64,
        and what becomes of some unit vectors."""
        weights = sum(part.numel() for step in source.steps for part in step.module.parameters())
        return 8 * weights + _BYTES * source.widest * (_height(source) + 1) * _at_once(source.device)

    @staticmethod
    def products(source: Source) -> int:
        """With so many vectors WᵀW is multiplied to be known."""
        coupling = Coupling.of(source)
        return source.dim if coupling is None else coupling.colours

    def rows(self, x_NS: torch.Tensor) -> torch.Tensor:
        """(n, S) float64: R·x for each row."""
        x_NS = x_NS.double()
        return torch.cat([x_NS[:, index_K] @ part_KB for index_K, part_KB in self._parts], dim=1)


Part = tuple[torch.Tensor | slice, torch.Tensor]


def _parts(transposed_SS: torch.Tensor) -> Iterator[Part]:
    """Some columns at a time, without the rows in which they have nothing but 0, and which rows are left."""
    for part_SB in transposed_SS.split(_COLUMNS, dim=1):
        index_K = (part_SB != 0.0).any(1).nonzero()[:, 0]
        first, last = (int(index_K[0]), int(index_K[-1]) + 1) if len(index_K) else (0, 1)
        if len(index_K) > (last - first) // 2:  # a view
            yield slice(first, last), part_SB[first:last]
        else:
            yield index_K, part_SB[index_K]


def _square(source: Source, coupling: Coupling | None) -> torch.Tensor:
    """WᵀW (S, S) in float64, where the modules are."""
    wide, dim = source.in_dtype(torch.float64), source.dim
    if coupling is not None:
        square_SS = _symmetric(coupling.apart(_squared(wide, coupling.probes())))
        generator = torch.Generator().manual_seed(0)
        x_1S = torch.randn(1, dim, generator=generator, dtype=torch.float64).to(source.device)
        size_1S = x_1S.abs() @ square_SS.abs()
        off_1S = (wide.squared(x_1S) - x_1S @ square_SS).abs()
        if bool((off_1S <= _EQUAL * dim * _UNIT * size_1S.max()).all()):  # so put, NaN is none
            return square_SS
    return _symmetric(_squared(wide, torch.eye(dim, dtype=torch.float64)))


def _symmetric(square_SS: torch.Tensor) -> torch.Tensor:
    return square_SS.add_(square_SS.T.clone()).div_(2)


def _squared(wide: Source, x_nS: torch.Tensor) -> torch.Tensor:
    """WᵀWx of rows on the CPU, some at a time, where the modules are."""
    y_nS = torch.empty(x_nS.shape, dtype=torch.float64, device=wide.device)
    height = _height(wide)

    def form(begin: int) -> None:
        y_nS[begin : begin + height] = wide.squared(x_nS[begin : begin + height].to(wide.device))

    begins = range(0, len(x_nS), height)
    if wide.device.type == "cuda":
        for begin in begins:
            form(begin)
    else:
        side_by_side(form, begins)
    return y_nS


def _height(source: Source) -> int:
    """Unit vectors at a time."""
    return min(source.dim, max(1, _NUMBERS // source.widest))


def _at_once(device: torch.device) -> int:
    """Groups of unit vectors that are on their way together."""
    return 1 if device.type == "cuda" else torch.get_num_threads()
