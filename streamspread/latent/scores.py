"""Where each image lies along a layer's leading principal axes, from a few passes that keep no features."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from streamspread.datasets import Stream, prefetch
from streamspread.engine import Progress
from streamspread.errors import ActivationError, DataError
from streamspread.placement import as_input, model_dtype
from streamspread.taps import TapInfo, Watch

#: Directions that the passes keep per axis that is wanted. On no1's layers three times as many as axes hold at
#: least 99 % of the variance that the exact axes do, the same number 81 to 93 %.
DIRECTIONS_PER_AXIS = 3

#: Images of the first look, which only has to turn random directions roughly the right way.
_FIRST_LOOK = 2_000

_STAGES = ("a first look", "axes", "scores")


@dataclass(frozen=True)
class Scores:
    """A layer's images on its leading principal axes.

    scores_NK: float32, centred, in descending order of variance. total_variance: T (divisor N - 1). share: of
    T that lies along the K axes; NaN for a constant layer.
    """

    tap: TapInfo
    scores_NK: np.ndarray
    total_variance: float
    share: float


def leading_scores(
    model: torch.nn.Module,
    stream: Stream,
    taps: list[TapInfo],
    axes: int,
    *,
    device: torch.device,
    batch_size: int,
    seed: int,
    report: Callable[[Progress], None],
) -> list[Scores]:
    """The scores of every image of ``stream`` on the ``axes`` leading principal axes of each tap.

    Block subspace iteration on the covariance, which is never formed: a product with it is Xᵀ(XQ), summed batch
    by batch. A first look at some of the images turns random directions Q roughly, a pass over all of them
    turns them closely, and a last pass keeps XQ, whose own principal components are the scores. ``model`` is
    in eval mode on ``device``. Needs the stream to repeat in the same order.

    Raises:
        ActivationError: NaN or Inf in a layer. DataError: the passes differ in their number of images.
    """
    layers = {tap.name: _Layer(tap, axes, device, seed) for tap in taps}
    watch = Watch(model, taps)
    total = stream.samples
    stride = max(1, (total or 0) // _FIRST_LOOK)
    counts = []
    for index, stage in enumerate(_STAGES):
        looking, scoring = stage == _STAGES[0], stage == _STAGES[-1]
        done = 0
        for batch in _batches(model, stream, device, batch_size, stride if looking else 1):
            watch.run(
                batch,
                lambda tap, x_ND, scoring=scoring: layers[tap.name].add(x_ND.float(), keep_scores=scoring),
            )
            done += batch.shape[0]
            report(
                Progress("pass", index + 1, len(_STAGES), done, None if looking else total, "images", stage)
            )
        counts.append(done)
        for layer in layers.values():
            layer.end_pass(turn=not scoring)
    if counts[1] != counts[2]:
        raise DataError(
            f"{stream.description}: {counts[1]:,} images came in one pass and {counts[2]:,} in the next"
        )
    return [layer.scores() for layer in layers.values()]


def _batches(
    model: torch.nn.Module, stream: Stream, device: torch.device, batch_size: int, stride: int
) -> Iterator[torch.Tensor]:
    """Every ``stride``-th batch, as the model takes it: data that is sorted by class still shows all of it."""
    chosen = (batch for number, batch in enumerate(stream.batches(batch_size)) if number % stride == 0)
    for batch in prefetch(chosen, device):
        yield as_input(batch, device, model_dtype(model, batch))


class _Layer:
    """One tap's directions and the running sums of a pass."""

    def __init__(self, tap: TapInfo, axes: int, device: torch.device, seed: int) -> None:
        self.tap = tap
        self.axes = min(axes, tap.dim)
        directions = min(DIRECTIONS_PER_AXIS * axes, tap.dim)
        # Made on the CPU: the same numbers on every device.
        random = torch.randn(tap.dim, directions, generator=torch.Generator().manual_seed(seed))
        self.q_DL = random.to(device)
        self.pilot_D: torch.Tensor | None = None
        self.kept: list[torch.Tensor] = []
        self._begin()

    def _begin(self) -> None:
        self.count = 0
        self.squares = 0.0
        self.sum_D = torch.zeros(self.tap.dim, dtype=torch.float64, device=self.q_DL.device)
        self.product_DL = torch.zeros_like(self.q_DL)

    def add(self, x_ND: torch.Tensor, keep_scores: bool) -> None:
        """One batch of features. They are shifted by the first batch's mean, so that no sum cancels."""
        if self.pilot_D is None:
            self.pilot_D = x_ND.mean(0)
        x_ND = x_ND - self.pilot_D
        xq_NL = x_ND @ self.q_DL
        if keep_scores:
            self.kept.append(xq_NL)
        else:
            self.product_DL.addmm_(x_ND.T, xq_NL)
        self.sum_D += x_ND.sum(0, dtype=torch.float64)
        self.squares += float(torch.linalg.vector_norm(x_ND, dtype=torch.float64)) ** 2
        self.count += x_ND.shape[0]

    def end_pass(self, turn: bool) -> None:
        """``turn``: the directions become an orthonormal basis of covariance × directions."""
        if not math.isfinite(self.squares):
            raise ActivationError(f"layer {self.tap.name} holds NaN or Inf: check the weights")
        mean_D = self.sum_D / self.count
        self.scatter = max(self.squares - self.count * float(mean_D @ mean_D), 0.0)
        if turn:
            mean_D = mean_D.float()
            self.product_DL -= self.count * torch.outer(mean_D, mean_D @ self.q_DL)
            self.q_DL = torch.linalg.qr(self.product_DL)[0]
            self._begin()

    def scores(self) -> Scores:
        z_NL = torch.cat(self.kept).double()
        self.kept.clear()
        z_NL -= z_NL.mean(0)
        axes_LK = torch.linalg.eigh(z_NL.T @ z_NL)[1].flip(1)[:, : self.axes]
        scores_NK = z_NL @ axes_LK
        held = float(torch.linalg.vector_norm(scores_NK)) ** 2
        return Scores(
            tap=self.tap,
            scores_NK=scores_NK.float().cpu().numpy(),
            total_variance=self.scatter / (self.count - 1),
            share=min(held / self.scatter, 1.0) if self.scatter > 0 else math.nan,
        )
