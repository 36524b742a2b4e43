"""Where each sample lies along a layer's leading principal axes, from three passes that keep no features.

Block subspace iteration on the covariance, which is never formed: a product with it is Xᵀ(XQ), summed batch
by batch. A first look at some of the samples turns random directions Q roughly, a pass over all of them turns
them closely, and a last pass keeps XQ, whose own principal components are the scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from streamspread.accumulators.staging import Precision, Staging, origin_of
from streamspread.errors import ActivationError

#: The passes, by what they give.
PASSES = ("a first look", "axes", "scores")

#: Directions that the passes keep per axis that is wanted: so many that on no1's layers the axes hold at
#: least 99 % of the variance that the exact ones hold.
DIRECTIONS_PER_AXIS = 3

#: Samples of the first look, which only has to turn random directions roughly the right way.
FIRST_LOOK = 2_000


@dataclass(frozen=True)
class Scores:
    """A layer's samples on its leading principal axes.

    scores_NK: float32, centred, in descending order of variance. total_variance: T (divisor N - 1). share: of
    T that lies along the K axes; NaN for a constant layer.
    """

    scores_NK: np.ndarray
    total_variance: float
    share: float


class LeadingScores:
    """The scores of a layer's samples on its ``axes`` leading principal axes, after the three passes.

    The passes bring the same samples in the same order, the first one some of their batches only.
    """

    def __init__(
        self, dim: int, axes: int, samples: int, layer: str, device: torch.device, seed: int = 0
    ) -> None:
        self.axes = min(axes, dim)
        directions = min(DIRECTIONS_PER_AXIS * axes, dim, samples)
        # Made on the CPU: the same numbers on every device.
        random = torch.randn(dim, directions, generator=torch.Generator().manual_seed(seed))
        self._precision = Precision("fp32", layer)
        self._stage: _Between | _Turning | _Scoring | _Scored = _Between(random.to(device), 0)

    @staticmethod
    def nbytes(dim: int, axes: int, samples: int, batch_size: int, device: torch.device) -> int:
        """Bytes of directions, their product, the staged batch and the scores; at the end of a pass the
        decomposition takes as much as directions and product again."""
        directions = min(DIRECTIONS_PER_AXIS * axes, dim, samples)
        staging = Staging.nbytes(dim, batch_size, "fp32", device) + Staging.first_bytes(dim, batch_size)
        return 4 * 4 * dim * directions + staging + 3 * 8 * samples * directions

    def update(self, x_ND: torch.Tensor) -> None:
        """Add a batch (n, D); staging shifts it by the first batch's mean, so that no sum cancels."""
        stage = self._stage
        if isinstance(stage, _Between):
            self._stage = stage = stage.begun(x_ND, self._precision)
        if isinstance(stage, _Scored):
            raise ActivationError(f"layer {self._precision.layer}: its scores are known already")
        for rows_ND in x_ND.split(stage.staging.rows):
            stage.staging.push(rows_ND)
            stage.add(stage.staging.staged())

    def end_pass(self) -> None:
        """End the pass.

        Raises:
            ActivationError: NaN or Inf came.
        """
        stage = self._stage
        if isinstance(stage, _Turning):
            stage.staging.check()
            self._stage = _Between(stage.turned(), stage.passes_done + 1)
        elif isinstance(stage, _Scoring):
            stage.staging.check()
            self._stage = _Scored(stage.scores(self.axes))

    def scores(self) -> Scores:
        """What the last pass gave.

        Raises:
            ActivationError: it has not ended.
        """
        if not isinstance(self._stage, _Scored):
            raise ActivationError(f"layer {self._precision.layer}: scores take {len(PASSES)} passes")
        return self._stage.scores


class _Between(NamedTuple):
    """Before a pass: the directions (D, L)."""

    q_DL: torch.Tensor
    passes_done: int

    def begun(self, x_ND: torch.Tensor, precision: Precision) -> _Turning | _Scoring:
        staging = Staging(origin_of(x_ND, precision), x_ND.shape[0], precision)
        if self.passes_done == len(PASSES) - 1:
            return _Scoring(self.q_DL, staging)
        return _Turning(self.q_DL, staging, self.passes_done)


class _Turning:
    """A pass that sums covariance × directions."""

    def __init__(self, q_DL: torch.Tensor, staging: Staging, passes_done: int) -> None:
        self.q_DL, self.staging, self.passes_done = q_DL, staging, passes_done
        self.product_DL = torch.zeros_like(q_DL)

    def add(self, shifted_ND: torch.Tensor) -> None:
        self.product_DL.addmm_(shifted_ND.T, shifted_ND @ self.q_DL)

    def turned(self) -> torch.Tensor:
        """An orthonormal basis of the product."""
        left_L = self.staging.sums.sum_D.float() @ self.q_DL
        self.product_DL.addr_(self.staging.remaining_mean().float(), left_L, alpha=-1)
        return torch.linalg.qr(self.product_DL)[0]


class _Scoring:
    """The last pass, which keeps samples × directions."""

    def __init__(self, q_DL: torch.Tensor, staging: Staging) -> None:
        self.q_DL, self.staging = q_DL, staging
        self._kept: list[torch.Tensor] = []

    def add(self, shifted_ND: torch.Tensor) -> None:
        self._kept.append(shifted_ND @ self.q_DL)

    def scores(self, axes: int) -> Scores:
        """On the principal axes of what was kept."""
        staging = self.staging
        z_NL = torch.cat(self._kept).double()
        self._kept.clear()
        z_NL -= z_NL.mean(0)
        axes_LK = torch.linalg.eigh(z_NL.T @ z_NL)[1].flip(1)[:, :axes]
        scores_NK = z_NL @ axes_LK
        along, whole = float(torch.linalg.vector_norm(scores_NK)) ** 2, staging.total()
        scale = staging.origin.scale
        return Scores(
            scores_NK=(scores_NK / scale).float().cpu().numpy(),
            total_variance=whole / scale**2 / (staging.count - 1),
            share=min(along / whole, 1.0) if whole > 0 else math.nan,
        )


class _Scored(NamedTuple):
    """After the last pass."""

    scores: Scores
