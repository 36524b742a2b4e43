"""Leading sums of all computed eigenvalues: bounds on the exact ones, and what eigenvectors may close."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamspread.linalg.slack import Slack
from streamspread.results.spectrum import components_for


def worth_vectors(
    values_N: np.ndarray, lower: np.ndarray, upper: np.ndarray, targets: Sequence[float]
) -> int:
    """How many eigenvectors may close a K: the largest one at which the computed sum, and not only its upper
    bound, reaches a target that no lower bound reaches; 0 where there is none."""
    sums, most = np.cumsum(values_N), 0
    for target in targets:
        k = components_for(upper, target)
        if k is not None and k < len(lower) and lower[k - 1] < target <= sums[k - 1]:
            most = max(most, k)
    return most


def sums_between(
    values_N: np.ndarray, slack: Slack, trace: float, rank_limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds on λ₁ + … + λ_k for k = 1 … ``rank_limit``, from all n computed values, descending: from the sum
    of the first k and, since the trace is known, from that of the others too."""
    head, tail = np.cumsum(values_N), np.cumsum(values_N[::-1])[::-1]
    beyond = np.append(tail[1:], 0.0)
    first, others = slack.of(len(head)), np.append(slack.of(len(head))[:-1][::-1], slack.flat)
    lower = np.maximum(head - first, trace - beyond - others)[:rank_limit]
    upper = np.minimum(np.minimum(head + first, trace - beyond + others), trace)[:rank_limit]
    # True sums grow with k, are not negative, and end at the trace.
    upper[-1] = trace
    return np.maximum.accumulate(np.maximum(lower, 0.0)), np.minimum.accumulate(upper[::-1])[::-1]
