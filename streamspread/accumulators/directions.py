"""From eigenvectors in scaled units to a layer's directions."""

from __future__ import annotations

from typing import NamedTuple

import torch

from streamspread.accumulators.staging import Origin, Staging
from streamspread.linalg.eigenpairs import leading_pairs
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.products import UNIT
from streamspread.results.directions import Directions

#: Variances that are no larger a share of the first have no direction: rounding makes them.
NEGLIGIBLE = 1e-12


class Scaled(NamedTuple):
    """Directions in the units of the sums: unit vectors (K, D), vᵀCv and residuals of the scatter C about the
    mean, the mean from the origin, and samples on them."""

    vectors_KD: torch.Tensor
    values_K: torch.Tensor
    residuals_K: torch.Tensor
    mean_D: torch.Tensor
    scores_NK: torch.Tensor | None = None


def in_own_units(found: Scaled, origin: Origin, samples: int) -> Directions:
    """The directions in the activations' unit, rounded to float32, in the computer's memory; without those of
    next to no variance."""
    unit = 1.0 / origin.scale / origin.scale / (samples - 1)
    values_K = found.values_K.double().cpu()
    kept = int((values_K > NEGLIGIBLE * float(values_K[:1].sum())).sum())
    vectors_KD, scores_NK = found.vectors_KD[:kept], None
    sign_K = torch.ones(kept).to(vectors_KD)
    if kept:
        largest_K = vectors_KD.gather(1, vectors_KD.abs().argmax(1, keepdim=True))[:, 0]
        sign_K = torch.where(largest_K < 0.0, -sign_K, sign_K)
    if found.scores_NK is not None:
        scores_NK = (found.scores_NK[:, :kept] * (sign_K / origin.scale)).float().cpu().numpy()
    return Directions(
        vectors_KD=(vectors_KD * sign_K[:, None]).float().cpu().contiguous().numpy(),
        variances_K=(values_K[:kept] * unit).numpy(),
        residuals_K=(found.residuals_K[:kept].double().cpu() * unit).numpy(),
        mean_D=(origin.shift_D.double() + found.mean_D / origin.scale).cpu().numpy(),
        scores_NK=scores_NK,
    )


def of_scatter(panels: SymmetricPanels, staging: Staging, count: int, seed: int) -> Directions:
    """The ``count`` leading directions of scatter, with its correction for the mean; the panels stay as they
    are."""
    pairs = leading_pairs(panels, count, seed=seed, dtype=torch.float32)
    # The mean's own sums err by some √N units of what was added.
    error = 4 * UNIT * staging.count**0.5 * panels.summed()
    found = Scaled(
        pairs.vectors_NK.T,
        torch.from_numpy(pairs.values_K),
        torch.from_numpy(pairs.residuals_K + error),
        staging.remaining_mean(),
    )
    return in_own_units(found, staging.origin, staging.count)
