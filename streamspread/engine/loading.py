"""The kernels made ready: imported, compiled where they never were on this machine, and started."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

import torch

from streamspread.accumulators.moments import FourthMoments
from streamspread.accumulators.staging import Origin, Precision, Staging
from streamspread.engine.layer import WIDER
from streamspread.engine.plan import Plan
from streamspread.kernels import exact_speed, for_device
from streamspread.kernels.formats import SUM_DTYPES
from streamspread.observe.observed import Observed
from streamspread.observe.views import WIDE

_TAKEN = (torch.float32, torch.float64)  # of activations: of most models, and of narrow sides and some views


def load_for(plan: Plan, observed: Observed) -> None:
    """What a plan needs, before memory and time are measured: it is no layer's.

    Raises:
        DeviceError: CuPy is missing.
    """
    device, roundings = observed.device, {layer.rounding for layer in plan.layers}
    wide = (layer for layer in plan.layers if layer.summed_dim or layer.of.view in WIDE)
    dtypes = {observed.dtype} | {torch.float64 for _ in wide}
    _load_sums(roundings | {WIDER[one] for one in roundings & set(WIDER)}, dtypes, device)


def load_all() -> None:
    """All that the CPU has, which compiles for some seconds once: for the end of an installation."""
    cpu = torch.device("cpu")
    exact_speed(cpu)  # loads every kind of exact products
    _load_sums(set(SUM_DTYPES), _TAKEN, cpu)


def _load_sums(roundings: Collection[str], dtypes: Collection[torch.dtype], device: torch.device) -> None:
    for rounding in sorted(roundings):
        for dtype in dtypes:
            _load(rounding, dtype, device)


@cache  # once in a process
def _load(rounding: str, dtype: torch.dtype, device: torch.device) -> None:
    for columns in (1, 4, 8):  # activations are read one number at a time, four, or eight
        shift_D = torch.zeros(columns, dtype=SUM_DTYPES[rounding], device=device)
        tiny = Staging(Origin(shift_D, 1.0), 2, Precision(rounding))
        tiny.push(torch.zeros(2, columns, dtype=dtype, device=device))
        rows_ND = tiny.staged()
        sums = torch.zeros(columns, columns, dtype=SUM_DTYPES[rounding], device=device)
        for_device(device).add_gram_rows(sums, rows_ND.mT)
        FourthMoments(columns, device).add(rows_ND)
