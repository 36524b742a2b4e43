"""Samples on directions that are known, by one more pass over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from streamspread.errors import ActivationError
from streamspread.results.directions import Directions

_COLUMNS = 8192  # of a batch widened to float64 at a time


class Scoring:
    """The pass: rows (n, D), their features in the order of the directions, become n × K scores."""

    def __init__(self, directions: Directions, samples: int, layer: str, device: torch.device) -> None:
        self.directions, self.samples, self.layer = directions, samples, layer
        self._vectors_KD = torch.tensor(directions.vectors_KD, device=device)
        self._mean_D = torch.tensor(directions.mean_D, device=device)
        self._parts: list[torch.Tensor] = []

    @staticmethod
    def nbytes(dim: int, count: int, samples: int, batch_size: int) -> int:
        """Bytes of directions, scores (twice, when they are joined), and a batch at hand."""
        return 4 * count * (dim + 2 * samples) + 8 * dim + 16 * min(dim, _COLUMNS) * (batch_size + count)

    def add(self, x_ND: torch.Tensor) -> None:
        """Add a batch."""
        scores_NK = self._mean_D.new_zeros(len(x_ND), len(self._vectors_KD))
        for begin in range(0, len(self._mean_D), _COLUMNS):
            columns = slice(begin, begin + _COLUMNS)
            centred_NC = x_ND[:, columns].double() - self._mean_D[columns]
            scores_NK.addmm_(centred_NC, self._vectors_KD[:, columns].double().T)
        self._parts.append(scores_NK.float().cpu())

    def state(self) -> dict[str, torch.Tensor]:
        """The scores so far, which :meth:`load_state` takes."""
        return {str(index): part_NK for index, part_NK in enumerate(self._parts)}

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state."""
        self._parts = [tensors[str(index)].clone() for index in range(len(tensors))]

    def scored(self) -> Directions:
        """The directions with all samples' scores.

        Raises:
            ActivationError: NaN or Inf came, or not as many samples as before.
        """
        scores_NK = torch.cat(self._parts) if self._parts else torch.empty(0, len(self.directions))
        if len(scores_NK) != self.samples:
            raise ActivationError(
                f"layer {self.layer}: {len(scores_NK):,} samples in the pass for their scores, "
                f"{self.samples:,} before: the data must repeat"
            )
        if not bool(torch.isfinite(scores_NK).all()):
            raise ActivationError(f"layer {self.layer}: NaN or Inf in the pass for scores")
        return replace(self.directions, scores_NK=scores_NK.numpy())
