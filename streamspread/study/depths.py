"""The experiment on depth: networks of more and fewer convolutions, trained until they are about as accurate.

Deeper networks without shortcuts learn more slowly, so after equal epochs a comparison of their layers would
be one of more and less trained ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import mean
from typing import Any

from streamspread.study.experiments import NARROW

REFERENCE = 6  # convolutions: no2's number, whose accuracy is that to be reached
LONGER = (1, 1.5, 2, 3)  # times the reference's epochs: the lengths that are tried, until one is enough
NEAR = 0.01  # of accuracy, below the reference's mean, is about as accurate


def comparable(
    train: Callable[[int, int, int], dict[str, Any]], epochs: int, seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Train the networks of :data:`NARROW`: the reference with all seeds first; then of each depth the first
    seed for longer and longer, until it is about as accurate, and the other seeds for as long as that.

    Args:
        train: gives what was measured of a training, by number of convolutions, epochs and seed.
        epochs: of the reference. ``seeds``: one or more.

    Yields:
        What was measured of each training, also of those that were too short.
    """
    reference = []
    for seed in seeds:
        reference.append(train(REFERENCE, epochs, seed))
        yield reference[-1]
    wanted = mean(one["accuracy"] for one in reference) - NEAR
    first, *others = seeds
    for depth in NARROW:
        if depth == REFERENCE:
            continue
        length = epochs
        for length in dict.fromkeys(round(times * epochs) for times in LONGER):
            yield (found := train(depth, length, first))
            if found["accuracy"] >= wanted:
                break
        for seed in others:
            yield train(depth, length, seed)
