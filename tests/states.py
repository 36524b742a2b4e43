"""Accumulators over given samples: the one place where tests say how they are made, fed and finished."""

from streamspread.accumulators.covariance import Covariance
from streamspread.accumulators.finish import FinishOptions
from streamspread.accumulators.gram import Gram
from streamspread.accumulators.sketch import Sketch
from tests.devices import CPU

#: Thresholds at which intervals of sketches are looked at.
SKETCHED = (0.3, 0.5, 0.7, 0.9, 0.99)


def covariance(x, rounding="fp32", device=CPU, batch=64, staging_rows=96, panel_rows=50):
    """A covariance of x, (N, D), that came in batches of one size, or of these sizes."""
    state = Covariance(
        x.shape[1], rounding=rounding, device=device, staging_rows=staging_rows, panel_rows=panel_rows
    )
    for part in x.to(device).split(batch):
        state.update(part)
    return state


def gram(x, rounding="fp32", device=CPU, batch=64):
    """Inner products of x, (N, D), whose features came in three passes."""
    tile = x.shape[1] // 3 + 1
    state = Gram(x.shape[1], x.shape[0], tile=tile, rounding=rounding, device=device, panel_rows=50)
    return fed(state, x.to(device), Gram.passes(x.shape[1], tile), batch)


#: The exact ones.
EXACT = {"covariance": covariance, "gram": gram}


def sketch(dim=90, rank=40, rounding="fp32", device=CPU, thresholds=(0.5, 0.7), staging_rows=None, **more):
    """A sketch that has seen nothing."""
    return Sketch(
        dim,
        rank=rank,
        thresholds=thresholds,
        rounding=rounding,
        device=device,
        staging_rows=staging_rows or rank,
        **more,
    )


def fed(state, x, passes=1, batch=64):
    """The state after so many passes over x in batches of one size, or of these sizes."""
    for _ in range(passes):
        for part in x.split(batch):
            state.update(part)
        state.end_pass()
    return state


def leading(order, *, block=32, most=None, proof=True):
    """How to find leading eigenvalues alone: no order is small enough for a dense solve."""
    return FinishOptions(full_limit=0, block=block, max_block=most or order, proof=proof)


def every(limit=0):
    """How to find all eigenvalues, in the sums' own memory above an order; None: the device's own."""
    return FinishOptions(full_limit=limit, all_eigenvalues=True)
