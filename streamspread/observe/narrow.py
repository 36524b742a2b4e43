"""The narrow side of a layer: rows of fewer numbers that have the inner products of the layer's own."""

from __future__ import annotations

import torch

from streamspread.errors import ActivationError
from streamspread.observe.source import Source
from streamspread.system.switches import side_by_side

_NUMBERS = 1 << 20  # of images of unit vectors at a time, and of all on the way to them
_BYTES = 2 * 8  # of such a number: on the way there, and back
_UNIT = 2.0**-53
_JITTERS = (0.0, 1.0, 16.0, 256.0, 4096.0)  # units of rounding on the diagonal, until there is a factor


class Narrow:
    """x ↦ R·x for an upper triangular R (S × S) with RᵀR = WᵀW: an isometric picture of y = Wx + b.

    Rows of S numbers then have the inner products of the layer's rows of D, once a mean is taken off. So what
    is summed of them, inner products or scatter, has the layer's non-zero eigenvalues, trace and norm, and is
    rounded to no larger a share of them.

    R is the Cholesky factor of WᵀW, which is formed from the images of the unit vectors, all in float64, with
    every number of x measured in units of its own, in which its column of W has norm 1: so columns may be of
    any size. Where W loses directions, the diagonal is raised by some units of rounding.

    Attributes:
        transposed_SS: Rᵀ.
    """

    def __init__(self, source: Source) -> None:
        """Forms R.

        Raises:
            ActivationError: W holds NaN or Inf, or numbers whose squares are beyond float64.
        """
        with torch.inference_mode(False):  # or nothing could be differentiated
            square_SS = _square(source)
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
        self.transposed_SS = factor_SS.mul_(norm_S).T.contiguous()

    @classmethod
    def of(cls, transposed_SS: torch.Tensor) -> Narrow:
        """That of a factor that was formed before."""
        narrow = cls.__new__(cls)
        narrow.transposed_SS = transposed_SS
        return narrow

    @staticmethod
    def making_bytes(source: Source) -> int:
        """Bytes that R takes while it is made, beside three matrices as large as itself: weights in float64,
        and what becomes of some unit vectors."""
        weights = sum(part.numel() for step in source.steps for part in step.module.parameters())
        return 8 * weights + _BYTES * source.widest * (_height(source) + 1) * _at_once(source.device)

    def rows(self, x_NS: torch.Tensor) -> torch.Tensor:
        """(n, S) float64: R·x for each row."""
        return x_NS.double() @ self.transposed_SS


def _square(source: Source) -> torch.Tensor:
    """WᵀW (S, S) in float64, where the modules are."""
    wide, dim = source.in_dtype(torch.float64), source.dim
    device = source.device
    square_SS = torch.empty(dim, dim, dtype=torch.float64, device=device)
    height = _height(source)

    def form(begin: int) -> None:
        end = min(dim, begin + height)
        unit_nS = torch.zeros(end - begin, dim, dtype=torch.float64, device=device)
        unit_nS[:, begin:end].fill_diagonal_(1.0)
        square_SS[begin:end] = wide.squared(unit_nS)

    begins = range(0, dim, height)
    if device.type == "cuda":
        for begin in begins:
            form(begin)
    else:
        side_by_side(form, begins)
    return square_SS.add_(square_SS.T.clone()).div_(2)


def _height(source: Source) -> int:
    """Unit vectors at a time."""
    return min(source.dim, max(1, _NUMBERS // source.widest))


def _at_once(device: torch.device) -> int:
    """Groups of unit vectors that are on their way together."""
    return 1 if device.type == "cuda" else torch.get_num_threads()
