"""What each rank has of its own columns, of inner products and of directions, and how all become one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from streamspread.accumulators.directions import Scaled
from streamspread.accumulators.staging import Origin, Overflow
from streamspread.linalg.panels import SymmetricPanels
from streamspread.ranks import Ranks, errors_of

if TYPE_CHECKING:
    from streamspread.accumulators.methods.gram import Gram


def all_well(ranks: Ranks, work: Callable[[], None]) -> None:
    """Do the work on every rank; where it fails on one of them all raise that, and an overflow last, with the
    smallest scale."""
    errors = errors_of(ranks, work)
    overflows = [one for one in errors if isinstance(one, Overflow)]
    if len(errors) > len(overflows):
        raise next(one for one in errors if not isinstance(one, Overflow))
    if overflows:
        raise min(overflows, key=lambda one: one.scale)


def join(gram: Gram) -> None:
    """Add up what the ranks have summed, each of its own columns, and deal the panels among them."""
    ranks = gram.ranks
    if ranks.size == 1:
        return
    gram.rescale(min(ranks.gather(gram.scale)))
    sums = ranks.gather((gram.total, gram.moved, gram.panels.unit, gram.panels.taken_off))
    totals, moved, units, taken_off = zip(*sums, strict=True)
    gram.total, gram.moved = math.fsum(totals), math.fsum(moved)
    for sums_N in (gram.squares_N, gram.means_CC):
        ranks.sum_(sums_N)
    gram.panels = _dealt(gram.panels, ranks)
    gram.panels.unit, gram.panels.taken_off = min(units), math.fsum(taken_off)


def of_all_columns(found: Scaled, origin: Origin, ranks: Ranks) -> tuple[Scaled, Origin]:
    """Directions of all ranks' columns, on the CPU, where each rank has them of its own."""
    if ranks.size == 1:
        return found, origin
    parts = (found.vectors_KD, found.mean_D, origin.shift_D)
    of_each = ranks.gather([part.cpu() for part in parts])
    vectors_KD, mean_D, shift_D = (torch.cat(own, dim=-1) for own in zip(*of_each, strict=True))
    values_K, residuals_K = found.values_K.cpu(), found.residuals_K.cpu()
    return Scaled(vectors_KD, values_K, residuals_K, mean_D), Origin(shift_D, origin.scale)


def _dealt(whole: SymmetricPanels, ranks: Ranks) -> SymmetricPanels:
    """The sum of all ranks' panels, each at its owner alone."""
    n, rows, device = whole.n, whole.rows, whole.device
    owners = SymmetricPanels.owners(n, rows, ranks)
    ranks.sum_(whole.probes.y_NM)
    kept: list[torch.Tensor] = []
    panels = whole.panels
    for owner in owners:  # one after the other, and those of others are let go of
        panel = panels.pop(0)
        ranks.add_to_owners_([(panel, owner)])
        if owner == ranks.rank:
            kept.append(panel)
    dealt = SymmetricPanels(n, rows, whole.dtype, device, whole.exact, kept or None, ranks)
    dealt.probes = whole.probes
    return dealt
