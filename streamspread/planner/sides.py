"""What it takes to sum a layer at its narrow side, beside what the method itself takes there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from streamspread.accumulators.base import ACCUMULATORS, Candidate, LayerShape, Setting
from streamspread.linalg.banded import MeasuredProduct

_PASSES = 2  # through W for a unit vector: forward and backward
_MADE = 1.5  # times as long as a float64 product takes an operation of a float64 convolution


def at_the_narrow_side(layer: LayerShape, setting: Setting) -> Iterator[Candidate]:
    """The exact ways to do the layer as rows that have its inner products and fewer numbers; none where it
    has no such side, where such sides are left aside, or where directions are wanted: those of the rows are
    not the layer's."""
    side = layer.narrow
    if side is None or setting.directions or not setting.profile.narrow_sides:
        return
    profile, samples = setting.profile, setting.expected
    making = _MADE * _PASSES * side.products * side.operations + side.factor_operations
    making *= profile.float64_cost
    # In a pass, and what is held: the factor, and rows with those that they are made of.
    applying = profile.float64_cost * 2.0 * samples * side.factor_numbers
    held_bytes = 8 * side.factor_numbers + 2 * 8 * setting.batch_size * side.dim
    measuring = profile.float64_cost * MeasuredProduct.operations(side.dim)
    quickly = samples * (profile.float32_cost * 2.0 * side.factor_numbers + measuring)
    quick = setting.rounding != "fp64" and quickly < applying
    if quick:
        applying, held_bytes = quickly, 8 * side.factor_numbers
        held_bytes += MeasuredProduct.nbytes(side.dim, side.factor_numbers)
        held_bytes += MeasuredProduct.row_bytes(side.dim) * setting.batch_size
    shape = replace(layer, dim=side.dim, narrow=None)
    # The factor is there while data streams, so that much less is left to the method; and while it is made,
    # which no forward is, so are sums of layers.
    beside = replace(
        setting,
        budget=max(0, setting.budget - held_bytes),
        forward_bytes=max(setting.forward_bytes, side.making_bytes),
        itemsize=8,
    )
    for method in dict(ACCUMULATORS.items()).values():
        offer = method.candidate(shape, beside)
        if isinstance(offer, Candidate) and offer.exact:
            rows = making + offer.passes * applying
            yield replace(
                offer,
                state_bytes=offer.state_bytes + held_bytes,
                finish_bytes=max(offer.finish_bytes, side.making_bytes),
                operations=offer.operations + rows,
                why=f"{offer.why}; of {side.dim:,} numbers that have the inner products of its {layer.dim:,}",
                summed_dim=side.dim,
                making_rows=rows,
                quick_rows=quick,
            )
