"""The stages of a sketch, each a type that has what that stage knows and turns into the next one."""

from __future__ import annotations

from streamspread.accumulators.sketching.first import First, Sketched, Waiting, rows_to_stage
from streamspread.accumulators.sketching.iterating import Iterated, Iterating
from streamspread.accumulators.sketching.later import Refined, Refining
from streamspread.accumulators.sketching.offer import most_passes, quick, rank_to_close
from streamspread.accumulators.sketching.stage import Sizes, Stage, Tensors, least_rank

__all__ = [
    "First",
    "Sizes",
    "Stage",
    "Waiting",
    "least_rank",
    "loaded",
    "most_passes",
    "quick",
    "rank_to_close",
    "rows_to_stage",
]


def loaded(sizes: Sizes, tensors: Tensors) -> Stage:
    """The stage that gave such a state."""
    match int(tensors["stage"]):
        case 1:
            return First.loaded(sizes, tensors)
        case 2:
            return Sketched(First.loaded(sizes, tensors))
        case 3:
            return Refining.loaded(sizes, tensors)
        case 4:
            return Refined(Refining.loaded(sizes, tensors))
        case 5:
            return Iterating.loaded(sizes, tensors)
        case 6:
            return Iterated(Iterating.loaded(sizes, tensors))
    return Waiting(sizes)
