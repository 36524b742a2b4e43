"""Accumulators over given samples: the one place where tests say how they are made, fed and finished."""

from dataclasses import dataclass, field, replace

from streamspread.accumulators.methods.covariance import Covariance
from streamspread.accumulators.methods.gram import Gram
from streamspread.accumulators.methods.sketch import Sketch
from streamspread.accumulators.staging import Precision
from streamspread.options import Options
from streamspread.system.devices import CPU as CPU_PROFILE
from tests.devices import CPU

#: Thresholds at which intervals of sketches are looked at.
SKETCHED = (0.3, 0.5, 0.7, 0.9, 0.99)


def covariance(x, rounding="fp32", device=CPU, batch=64, staging_rows=96, panel_rows=50):
    """A covariance of x, (N, D), that came in batches of one size, or of these sizes."""
    state = Covariance(
        x.shape[1],
        precision=Precision(rounding),
        device=device,
        staging_rows=staging_rows,
        panel_rows=panel_rows,
    )
    for part in x.to(device).split(batch):
        state.update(part)
    return state


def gram(x, rounding="fp32", device=CPU, batch=64):
    """Inner products of x, (N, D), whose features came in three passes."""
    tile = x.shape[1] // 3 + 1
    state = Gram(
        x.shape[1], x.shape[0], tile=tile, precision=Precision(rounding), device=device, panel_rows=50
    )
    return fed(state, x.to(device), -(-x.shape[1] // tile), batch)


#: The exact ones.
EXACT = {"covariance": covariance, "gram": gram}


def sketch(
    dim=90, rank=40, rounding="fp32", device=CPU, thresholds=(0.5, 0.7), staging_rows=None, layer="", **more
):
    """A sketch that has seen nothing."""
    return Sketch(
        dim,
        rank=rank,
        thresholds=thresholds,
        precision=Precision(rounding, layer),
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


@dataclass
class How:
    """How eigenvalues are computed, where not in the usual way: other constants of the device, the most
    vectors of a search, and options."""

    constants: dict = field(default_factory=dict)
    max_block: int | None = None
    options: dict = field(default_factory=dict)


def solved(state, thresholds=None, how=None):
    """The spectrum of a state, as far as the thresholds need it; those of a sketch are its own."""
    how = how or How()
    if how.constants:
        state.step = state.step._replace(profile=replace(CPU_PROFILE, **how.constants))
    if how.max_block:
        state.step = state.step._replace(max_block=how.max_block)
    return state.spectrum(Options(thresholds=thresholds or state.thresholds, **how.options))


def leading(order, *, block=32, most=None, proof=True):
    """Leading eigenvalues alone: no order is small enough for a dense solve."""
    return How({"dense_limit": 0, "block": block}, most or order, {"proof": proof})


def every(limit=0):
    """All eigenvalues, in the sums' own memory above an order; None: the device's own."""
    return How({} if limit is None else {"dense_limit": limit}, options={"all_eigenvalues": True})
