"""Signs of life from a run: what is being done, and how much of it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One sign of life.

    Attributes:
        stage: "pass", "inner products", "eigenvalues", "all eigenvalues" (within one layer), "t-SNE" or
            "training".
        index, count: which of how many of that stage, from 1.
        done, total: how much of it; ``total`` is None where it is not known. ``unit``: of what.
        label: the layers that it is about.
    """

    stage: str
    index: int
    count: int
    done: int
    total: int | None
    unit: str
    label: str


Report = Callable[[Progress], None]


def silent(event: Progress) -> None:
    """Report nothing."""
