"""A narrower activation of which a layer is an affine image: the image, its linear part, and the adjoint.

The output of a convolution or a linear layer is y = Wx + b, so its covariance W Cov(x) Wᵀ has no more
non-zero eigenvalues than x has numbers. So it is with chains of such modules.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import nn

from streamspread.observe.taps import TapInfo, activation_of, rows_of

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

#: By how much numbers may differ, in units of rounding: what the same modules make of the same batch, as a
#: share of the largest; and sums that are equal but for the order of rounding, as a share of their norms, of
#: which it is never more than so much: 16-bit units are large.
_SAME, _EQUAL, _MOST = 8, 32, 0.03

#: Units of rounding of a layer's norm: of smaller deviations its own roundings are a share that counts, and
#: these lie in all of its directions. Sums of 27 to 768 terms were off by 0.7 to 1.9 units in float32, so
#: that is less than 10⁻⁶ of T. A model in 16 bits is summed as it is, and has 16.
_DEVIATES = {torch.float64: 2048, torch.float32: 2048, torch.bfloat16: 16, torch.float16: 16}

_FAR = 2.0**200  # times a vector of float64: b is nothing beside its image


class Step(NamedTuple):
    """One affine module, and the shape of a sample that it takes."""

    module: nn.Module
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)  # a source is itself alone
class Source:
    """A narrower activation x, of S numbers, of which a layer's, of D > S, is the affine image y = Wx + b.

    Rows of both lie as a watch hands them over (:func:`streamspread.observe.taps.rows_of`), on the model's
    device. W is never formed: the modules themselves are called, without their hooks, so it serves as long as
    the model stays where it is.

    Attributes:
        tap: where a watch sees x: it enters the first of the modules. Its name is that of the layer whose
            output it is, ``input`` for what enters the network, or ``into …`` for what has no other name.
        layer: the tap that is its image.
        dtype: of x and y.
    """

    tap: TapInfo
    layer: TapInfo
    dtype: torch.dtype
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        return self.tap.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample's x."""
        return self.tap.shape

    @property
    def dim(self) -> int:
        """S, the product of ``shape``: no covariance of the layer has more non-zero eigenvalues."""
        return self.tap.dim

    @property
    def device(self) -> torch.device:
        """Of the modules' parameters."""
        parameters = (parameter for step in self.steps for parameter in step.module.parameters())
        return next(parameters, torch.empty(0)).device

    @property
    def widest(self) -> int:
        """Numbers of a row, all together, on its way through the modules: what every one of them gives, and
        the patches that a convolution of float64 lays out side by side."""
        shapes = [*(step.shape for step in self.steps[1:]), self.layer.shape]
        return sum(_numbers(step, math.prod(gives)) for step, gives in zip(self.steps, shapes, strict=True))

    def apply(self, x_NS: torch.Tensor) -> torch.Tensor:
        """Wx + b for each row: (n, S) to (n, D)."""
        with torch.no_grad():
            return self._image(x_NS)

    def linear(self, x_NS: torch.Tensor) -> torch.Tensor:
        """Wx for each row, (n, S) to (n, D), as the difference to the image of 0, b."""
        return self.apply(x_NS) - self.apply(x_NS.new_zeros(1, self.dim))

    def adjoint(self, y_ND: torch.Tensor) -> torch.Tensor:
        """Wᵀy for each row, (n, D) to (n, S): the gradient of ⟨Wx, y⟩, by torch's own."""
        with torch.inference_mode(False), torch.enable_grad():
            x_NS = y_ND.new_zeros(y_ND.shape[0], self.dim, dtype=self.dtype, requires_grad=True)
            return _gradient(self._image(x_NS), x_NS, y_ND.to(self.dtype))

    def squared(self, x_NS: torch.Tensor) -> torch.Tensor:
        """WᵀWx for each row of float64, (n, S) to (n, S): once through the modules and back."""
        both_NS = torch.cat([x_NS * _FAR, x_NS.new_zeros(1, self.dim)])
        with torch.inference_mode(False), torch.enable_grad():
            both_NS = both_NS.detach().clone().requires_grad_()
            y_ND = self._image(both_NS)
            gradient_NS = _gradient(y_ND, both_NS, (y_ND - y_ND[-1]).detach())
        return gradient_NS[:-1] / _FAR

    def agrees(self, x_NS: torch.Tensor, y_ND: torch.Tensor) -> bool:
        """Whether y is the image of x, to some units of rounding of the largest number in it."""
        off_ND = self.apply(x_NS).sub_(y_ND).abs_()
        unit = torch.finfo(self.dtype).eps
        return bool(off_ND.max() <= _SAME * unit * y_ND.abs().max())  # so put, NaN does not agree

    def in_dtype(self, dtype: torch.dtype) -> Source:
        """The same in another dtype, with weights of its own: float64 takes twice the memory of float32's."""
        steps = tuple(Step(bare(step.module, dtype), step.shape) for step in self.steps)
        return replace(self, dtype=dtype, steps=steps)

    def _image(self, x_NS: torch.Tensor) -> torch.Tensor:
        x = activation_of(x_NS.to(self.dtype), self.tap.shape, self.tap.channels_last)
        for step in self.steps:
            x = step.module.forward(x.reshape(-1, *step.shape))
        return rows_of(x, self.layer.channels_last)


class _Product(torch.autograd.Function):
    """A scalar that has the gradient of ⟨y, w⟩ with respect to y: w itself."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.w = w
        return y.new_zeros(())

    @staticmethod
    def backward(ctx: Any, one: torch.Tensor) -> Any:  # 1, as nothing comes after it
        return ctx.w, None


def _gradient(y: torch.Tensor, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Of ⟨y, w⟩ with respect to x. torch.autograd.grad(y, x, w) would import SymPy to compare two shapes, for
    a sixth of a second."""
    (gradient,) = torch.autograd.grad(_Product.apply(y, w), x)
    return gradient


def is_verified(source: Source, x: torch.Tensor, y: torch.Tensor) -> bool:
    """Whether a batch does not speak against a source; one that cannot even be computed is none."""
    x_NS, y_ND = rows_of(x, source.tap.channels_last), rows_of(y, source.layer.channels_last)
    try:
        with torch.autocast(x.device.type, enabled=False):  # as it is off where a source is used
            return (
                source.agrees(x_NS, y_ND) and _deviates(y_ND) and _acts_affinely(source, x_NS[:1], y_ND[:1])
            )
    except Exception:  # whatever a module raises where the network does not call it so
        return False


def _deviates(y_ND: torch.Tensor) -> bool:
    """Whether rows differ by more than their roundings; also where they do not differ, and tell nothing."""
    wide_ND = y_ND.double()
    off = _norm(wide_ND - wide_ND.mean(0))
    return off == 0.0 or off > _DEVIATES[y_ND.dtype] * torch.finfo(y_ND.dtype).eps * _norm(wide_ND)


def _acts_affinely(source: Source, x_1S: torch.Tensor, y_1D: torch.Tensor) -> bool:
    """Whether a row has the image that it has among others, y, the image of a sum is the sum of images, and
    ⟨Wv, w⟩ = ⟨v, Wᵀw⟩, all of which rounding leaves nearly true."""
    generator = torch.Generator().manual_seed(0)

    def drawn(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator).to(like)

    v_1S = drawn(x_1S) * (_norm(x_1S) / x_1S.numel() ** 0.5 or 1.0)
    alone, moved, other = (source.apply(row) for row in (x_1S, x_1S + v_1S, v_1S))
    size = min(_EQUAL * torch.finfo(source.dtype).eps, _MOST) * (_norm(alone) + _norm(moved) + _norm(other))
    other -= source.apply(torch.zeros_like(x_1S))
    w_1D = drawn(y_1D)
    across = _dot(other, w_1D) - _dot(v_1S, source.adjoint(w_1D))
    return (
        _norm(alone - y_1D) <= size
        and _norm(moved - alone - other) <= size
        and abs(across) <= size * _norm(w_1D)
    )


def _numbers(step: Step, gives: int) -> int:
    kernel = getattr(step.module, "kernel_size", 1)
    places = gives if getattr(step.module, "transposed", False) else math.prod(step.shape)
    return gives + places * (kernel if isinstance(kernel, int) else math.prod(kernel))


def _norm(row: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(row, dtype=torch.float64))


def _dot(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(one.double().flatten() @ other.double().flatten())


def bare(module: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """The module with the very same parameters, or with some of another dtype, but without hooks."""

    def cast(value: Any) -> Any:
        if dtype is None or not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        return value.detach().to(dtype)

    copy = object.__new__(type(module))  # copy.copy() would ask parametrised ones, which refuse
    parts = {name: cast(value) for name, value in vars(module).items()}  # older norms leave a weight there
    parts |= {name: OrderedDict() for name in _HOOKS}
    for name in ("_parameters", "_buffers"):
        parts[name] = {key: cast(value) for key, value in parts[name].items()}
    parts["_modules"] = {
        key: None if part is None else bare(part, dtype) for key, part in module._modules.items()
    }
    vars(copy).update(parts)
    return copy
