"""What a batch's spread is, differentiably: of its inner products, by several measures from the literature.

All of them are functions of G = X Xᵀ, B x B for B samples, so that they cost one product however large D is;
and all are of the batch divided by its scale, since a layer that a norm follows can be shrunk at no cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_EPSILON_SQUARED = 0.5  # the squared distortion ε² of a coding rate, as in Yu et al. 2020, §3
_LEAST_SHARE = (
    1e-12  # of T: smaller eigenvalues of a batch are rounding errors, the one of its mean among them
)


class CentredGram(torch.autograd.Function):
    """Inner products of a batch's centred rows, in float32 or wider; backward is one product too.

    With dG the gradient of G = X Xᵀ, X = H Z the centred rows of Z, that of Z is H (dG + dGᵀ) X, and H is
    applied to the B x B matrix. Rows are centred before they are multiplied: a mean that is large beside the
    deviations would drown them. X is given too, for others, and so that the gradient has one itself.

    Args:
        z_BD: floating point of any width.
        features: whether Σ_b x² of each feature is asked for.

    Returns:
        G (B, B); Σ of the mean's squares, which has no gradient; X (B, D); Σ_b x² (D,), or None.
    """

    @staticmethod
    def forward(z_BD: Tensor, features: bool) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        work = torch.promote_types(z_BD.dtype, torch.float32)
        mean_D = z_BD.mean(0, dtype=work)
        x_BD = z_BD - mean_D
        squares_D = x_BD.square().sum(0) if features else None
        return x_BD @ x_BD.T, mean_D.square().sum(), x_BD, squares_D

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, bool], output: tuple[Tensor, ...]) -> None:
        _, mean_square, x_BD, _ = output
        ctx.save_for_backward(x_BD)
        ctx.mark_non_differentiable(mean_square)
        ctx.set_materialize_grads(False)
        ctx.dtype = inputs[0].dtype

    @staticmethod
    def backward(
        ctx: Any, d_gram: Tensor | None, _: None, d_x: Tensor | None, d_squares: Tensor | None
    ) -> tuple[Tensor | None, None]:
        parts_BD = []
        if d_x is not None:  # of one's own function, or of a gradient's gradient
            parts_BD.append(d_x - d_x.mean(0))
        if d_gram is not None or d_squares is not None:
            (x_BD,) = ctx.saved_tensors
        if d_squares is not None:
            parts_BD.append(2 * d_squares * x_BD)
        if d_gram is not None:
            weights_BB = d_gram + d_gram.T
            with torch.autocast(x_BD.device.type, enabled=False):
                parts_BD.append((weights_BB - weights_BB.mean(0)) @ x_BD)
        return (sum(parts_BD[1:], parts_BD[0]).to(ctx.dtype) if parts_BD else None), None


@dataclass(frozen=True)
class Batch:
    """What the measures are given of a layer's batch.

    Attributes:
        gram: G (B, B) of the centred rows, float32 or float64. ``dim``: D.
        squares: Σ_b x² of each feature, (D,), where the measure asked for it.
        labels: int64 (B,), where the caller gave them.
    """

    gram: Tensor
    dim: int
    squares: Tensor | None = None
    labels: Tensor | None = None

    @property
    def scaled(self) -> Tensor:
        """G with a mean of its diagonal of 1: no square of it overflows."""
        return self.gram / self.gram.diagonal().mean()


def participation(batch: Batch) -> Tensor:
    """log of the participation ratio (tr C)²/tr C², with tr C² from pairs of different samples only.

    With the diagonal, a batch of B samples has none above B − 1; without, up to about B², since what is left
    of the mean makes other pairs' products −1/B of their squares.
    """
    return -_different(batch.scaled).square().sum().log() + math.log(len(batch.gram) * (len(batch.gram) - 1))


def participation_with_diagonal(batch: Batch) -> Tensor:
    """log of the batch's own participation ratio, (tr G)²/‖G‖²: at most log(B − 1)."""
    return -batch.scaled.square().sum().log() + 2 * math.log(len(batch.gram))


def within_classes(batch: Batch) -> Tensor:
    """As :func:`participation` of what is left when each class's mean is taken from its samples, with tr C²
    from pairs of different classes; a batch of one class is taken as it is."""
    assert batch.labels is not None
    same_BB = batch.labels[:, None] == batch.labels
    means_BB = same_BB.to(batch.gram.dtype)
    means_BB = means_BB / means_BB.sum(1, keepdim=True)
    gram = batch.gram - means_BB @ batch.gram
    gram = gram - gram @ means_BB
    scaled = gram / gram.diagonal().mean()
    pairs_BB = torch.where(
        same_BB.all(), ~torch.eye(len(gram), dtype=torch.bool, device=gram.device), ~same_BB
    )
    return -(scaled.square() * pairs_BB).sum().log() + pairs_BB.sum().to(scaled.dtype).log()


def effective_rank(batch: Batch) -> Tensor:
    """log of the effective rank: the entropy of λ/T (Roy and Vetterli 2007)."""
    shares = torch.linalg.eigvalsh(batch.gram.double() / batch.gram.double().trace())
    return torch.special.entr(shares.clamp_min(_LEAST_SHARE)).sum().to(batch.gram.dtype)


def coding_rate(batch: Batch) -> Tensor:
    """The coding rate ½ log det(I + D/(B ε²) X Xᵀ) of rows of mean square 1, per sample, in nats; ε² = 0.5
    (Yu et al. 2020, "Learning diverse and discriminative representations via the principle of maximal coding
    rate reduction", eq. 7)."""
    g_BB = batch.scaled.double() * (batch.dim / (len(batch.gram) * _EPSILON_SQUARED))
    g_BB = g_BB + torch.eye(len(g_BB), dtype=g_BB.dtype, device=g_BB.device)
    factor = torch.linalg.cholesky_ex(g_BB).L
    return (factor.diagonal().log().sum() / len(g_BB)).to(batch.gram.dtype)


def vicreg(batch: Batch) -> Tensor:
    """Minus the mean over features of the squared covariances with the others, Σ_{d≠e} C_de²/D, of features
    with mean variance 1 (Bardes et al. 2022, eq. 3, which takes them at their own scale)."""
    return -_covariances(batch) / batch.dim


def decov(batch: Batch) -> Tensor:
    """Minus ½(‖C‖² − ‖diag C‖²), of features with mean variance 1 (Cogswell et al. 2015, eq. 2, which takes
    them at their own scale)."""
    return -_covariances(batch) / 2


@dataclass(frozen=True)
class Kind:
    """A measure of spread.

    Attributes:
        measure: gives what is to be raised. ``components``: that is the log of a number of components.
        features: needs Σ_b x² of each feature. ``labels``: needs labels.
    """

    measure: Callable[[Batch], Tensor]
    components: bool = False
    features: bool = False
    labels: bool = False


KINDS = {
    "participation": Kind(participation, components=True),
    "participation-with-diagonal": Kind(participation_with_diagonal, components=True),
    "effective-rank": Kind(effective_rank, components=True),
    "coding-rate": Kind(coding_rate),
    "vicreg": Kind(vicreg, features=True),
    "decov": Kind(decov, features=True),
    "within-classes": Kind(within_classes, components=True, labels=True),
}


def _different(gram: Tensor) -> Tensor:
    return gram - gram.diagonal().diag()


def _covariances(batch: Batch) -> Tensor:
    """Σ_{d≠e} C_de², C the covariance (divisor B) of features scaled to a mean variance of 1."""
    assert batch.squares is not None
    scale = batch.gram.trace() / batch.dim
    return (batch.gram / scale).square().sum() - (batch.squares / scale).square().sum()
