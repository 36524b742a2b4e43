"""Where each image lies along a layer's leading principal axes, from a few passes that keep no features."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from streamspread.accumulators.staging import Staging
from streamspread.engine.session import Progress
from streamspread.errors import DataError
from streamspread.observe.placement import as_input, model_dtype
from streamspread.observe.taps import TapInfo, Watch
from streamspread.streams import Stream, prefetch

#: Directions that the passes keep per axis that is wanted: so many that on no1's layers the axes found hold
#: at least 99 % of the variance that the exact ones hold.
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
    samples: int,
    *,
    device: torch.device,
    batch_size: int,
    seed: int,
    report: Callable[[Progress], None],
) -> list[Scores]:
    """The scores of all ``samples`` images of ``stream`` on the ``axes`` leading principal axes of each tap.

    Block subspace iteration on the covariance, which is never formed: a product with it is Xᵀ(XQ), summed
    batch by batch. A first look at some of the images turns random directions Q roughly, a pass over all of
    them turns them closely, and a last pass keeps XQ, whose own principal components are the scores.
    ``model`` is in eval mode on ``device``; the stream repeats in the same order.

    Raises:
        ActivationError: NaN or Inf in a layer. DataError: the passes differ in their number of images.
    """
    layers = {tap.name: _Layer(tap, axes, samples, device, seed) for tap in taps}
    watch = Watch(model, taps)
    stride = max(1, samples // _FIRST_LOOK)
    counts = []
    for index, stage in enumerate(_STAGES):
        looking, scoring = stage == _STAGES[0], stage == _STAGES[-1]
        done = 0
        for batch in _batches(model, stream, device, batch_size, stride if looking else 1):
            watch.run(batch, partial(_add, layers, scoring))
            done += batch.shape[0]
            report(
                Progress("pass", index + 1, len(_STAGES), done, None if looking else samples, "images", stage)
            )
        counts.append(done)
        if not scoring:
            for layer in layers.values():
                layer.turn()
    if counts[1] != counts[2]:
        raise DataError(
            f"{stream.description}: {counts[1]:,} images came in one pass and {counts[2]:,} in the next"
        )
    return [layer.scores() for layer in layers.values()]


def _add(layers: dict[str, _Layer], keep_scores: bool, tap: TapInfo, x_ND: torch.Tensor) -> None:
    layers[tap.name].add(x_ND, keep_scores)


def _batches(
    model: torch.nn.Module, stream: Stream, device: torch.device, batch_size: int, stride: int
) -> Iterator[torch.Tensor]:
    """Every ``stride``-th batch, as the model takes it: so data that is sorted by class shows all classes."""
    chosen = (batch for number, batch in enumerate(stream.batches(batch_size)) if number % stride == 0)
    for batch in prefetch(chosen, device):
        yield as_input(batch, device, model_dtype(model, batch))


class _Layer:
    """One tap's directions, and the sums of the pass that is running."""

    def __init__(self, tap: TapInfo, axes: int, samples: int, device: torch.device, seed: int) -> None:
        self.tap, self.device = tap, device
        self.axes = min(axes, tap.dim)
        directions = min(DIRECTIONS_PER_AXIS * axes, tap.dim, samples)
        # Made on the CPU: the same numbers on every device.
        random = torch.randn(tap.dim, directions, generator=torch.Generator().manual_seed(seed))
        self.q_DL = random.to(device)
        self.kept: list[torch.Tensor] = []
        self.staging: Staging | None = None

    def add(self, x_ND: torch.Tensor, keep_scores: bool) -> None:
        """One batch of features; staging shifts them by the first batch's mean, so that no sum cancels."""
        if self.staging is None:
            self.staging = Staging(self.tap.dim, x_ND.shape[0], "fp32", self.device, self.tap.name)
            self.product_DL = torch.zeros_like(self.q_DL)
        for rows_ND in x_ND.split(self.staging.rows):
            self.staging.push(rows_ND)
            shifted_ND = self.staging.staged()
            xq_NL = shifted_ND @ self.q_DL
            if keep_scores:
                self.kept.append(xq_NL)
            else:
                self.product_DL.addmm_(shifted_ND.T, xq_NL)

    def turn(self) -> None:
        """End a pass: the directions become an orthonormal basis of covariance × directions."""
        staging = self._ended()
        mean_D = staging.remaining_mean()
        left_L = staging.sum_D.float() @ self.q_DL
        self.product_DL.addr_(mean_D.float(), left_L, alpha=-1)
        self.q_DL = torch.linalg.qr(self.product_DL)[0]

    def scores(self) -> Scores:
        """End the last pass."""
        staging = self._ended()
        z_NL = torch.cat(self.kept).double()
        self.kept.clear()
        z_NL -= z_NL.mean(0)
        axes_LK = torch.linalg.eigh(z_NL.T @ z_NL)[1].flip(1)[:, : self.axes]
        scores_NK = z_NL @ axes_LK
        held, whole = float(torch.linalg.vector_norm(scores_NK)) ** 2, staging.total()
        return Scores(
            tap=self.tap,
            scores_NK=(scores_NK / staging.scale).float().cpu().numpy(),
            total_variance=whole / staging.scale**2 / (staging.count - 1),
            share=min(held / whole, 1.0) if whole > 0 else math.nan,
        )

    def _ended(self) -> Staging:
        assert self.staging is not None  # a pass has at least one batch
        ended, self.staging = self.staging, None
        ended.check()
        return ended
