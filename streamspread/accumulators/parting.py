"""A gram as named tensors, and again a gram of them, on any number of ranks.

What several ranks have is a part of the sums each, until these are joined; and each has a share of the
columns. Who resumes them takes neighbouring shares, as they are, and the sum of as many parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

import torch

from streamspread.accumulators.tiles import Share
from streamspread.accumulators.turning import Turning
from streamspread.ranks import cut
from streamspread.system.tensors import as_tensor, below, numbered

if TYPE_CHECKING:
    from streamspread.accumulators.methods.gram import Gram

_SUMS = ("total", "moved", "scale")


def state_of(gram: Gram) -> dict[str, torch.Tensor]:
    """All that :func:`load` needs, as references."""
    sums = {name: as_tensor(getattr(gram, name)) for name in _SUMS}
    sums |= {"squares": gram.squares_N, "means": gram.means_CC}
    sums |= {f"panels.{name}": tensor for name, tensor in gram.panels.state().items()}
    kinds = {"whole" if gram.joined else f"part.{gram.ranks.rank}": sums}
    kinds |= {f"share.{number}": share.state() for number, share in enumerate(gram.shares, gram.first_share)}
    if gram.turning is not None:
        kinds["turning"] = gram.turning.state(_columns(gram)[0])
    own = {f"{kind}.{name}": tensor for kind, parts in kinds.items() for name, tensor in parts.items()}
    return own | {"agreed": as_tensor(int(gram.agreed))}


def load(gram: Gram, tensors: Mapping[str, torch.Tensor]) -> None:
    """Bring a gram to a state, which may be of another number of ranks; what is given is copied.

    Raises:
        OptionError: a part has another shape or dtype.
        LookupError: a part is missing.
    """
    rank, size = gram.ranks.rank, gram.ranks.size
    shares = numbered("share.", tensors)
    starts = [0, *accumulate(int(share["width"]) for share in shares)]
    if starts[-1] != gram.dim:
        raise LookupError(f"shares of {starts[-1]:,} features, of {gram.dim:,}")
    of_each = cut(len(shares), size)
    gram.bounds = None if size == 1 else [starts[number] for number in of_each]
    gram.first_share = of_each[rank]
    gram.shares = [Share.loaded(share, gram) for share in shares[of_each[rank] : of_each[rank + 1]]]
    gram.agreed = bool(tensors["agreed"])
    gram.total, gram.moved, gram.scale = 0.0, 0.0, math.inf
    whole, parts = below("whole.", tensors), numbered("part.", tensors)
    mine = cut(len(parts), size)
    gram.joined = bool(whole)
    if whole and size > 1:
        del gram.panels  # before there are others
        gram.panels = gram.new_panels(gram.ranks)
    for part in [whole] if whole else parts[mine[rank] : mine[rank + 1]]:
        _add(gram, part)
    if turning := below("turning.", tensors):
        gram.turning = Turning.loaded(turning, gram.windows, gram.precision, gram.device)
        gram.turning.load_columns(turning, *_columns(gram))


def _columns(gram: Gram) -> tuple[int, int]:
    """The first of this rank's, and one past the last."""
    rank = gram.ranks.rank
    return (gram.bounds[rank], gram.bounds[rank + 1]) if gram.bounds else (0, gram.dim)


def _add(gram: Gram, tensors: Mapping[str, torch.Tensor]) -> None:
    """Add sums, panel after panel; the first of them exactly as they are."""
    total, moved, scale = (float(tensors[name]) for name in _SUMS)
    if scale == math.inf:  # nothing was added yet
        return
    panels, beside = below("panels.", tensors), ((gram.squares_N, "squares"), (gram.means_CC, "means"))
    if gram.scale == math.inf:
        gram.panels.load_state(panels)
        for sums, name in beside:
            sums.copy_(tensors[name])
        gram.total, gram.moved, gram.scale = total, moved, scale
        return
    gram.rescale(min(gram.scale, scale))
    factor = (gram.scale / scale) ** 2
    gram.panels.add_state(panels, factor)
    for sums, name in beside:
        sums.add_(tensors[name].to(gram.device), alpha=factor)
    gram.total += factor * total
    gram.moved += factor * moved
