"""The main job: plan, send the data through the network pass by pass, and turn running sums into spectra."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from streamspread.accumulators.staging import Staging
from streamspread.engine.session import Progress, Session, opened
from streamspread.errors import BudgetError, OptionError
from streamspread.kernels import SUM_DTYPES, for_device
from streamspread.linalg.band import WIDTH, band_eigenvalues_
from streamspread.linalg.eigenvalues import FULL_LIMIT
from streamspread.linalg.panels import SymmetricPanels
from streamspread.options import Options
from streamspread.planner import Plan
from streamspread.results.spectrum import Spectra, check_thresholds
from streamspread.streams import as_stream
from streamspread.system.memory import PeakMeter, format_bytes, total_bytes


def analyze(
    model: nn.Module,
    data: Any,
    layers: str | Sequence[str] = "all",
    thresholds: Sequence[float] = (0.7,),
    *,
    method: str = "auto",
    rounding: str = "auto",
    rank: str | int = "auto",
    width: int = 0,
    max_passes: int = 3,
    memory: str | int | None = None,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    proof: bool = True,
    all_eigenvalues: bool = False,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Spectra:
    """Over how many principal components the data spreads at each layer.

    Args:
        model: any module; its mode, hooks, dtype and device are afterwards as they were, also after an error.
        data: a tensor, Dataset, DataLoader, or a callable that returns a fresh iterator of batches; a
            one-shot iterator is accepted where one pass is enough.
        layers: ``all``, or glob patterns of module names.
        thresholds: fractions τ of the variance.
        method: auto, covariance, gram or sketch. rounding: auto, fp16, bf16, fp32 or fp64, the precision to
            which centred activations are rounded before they are summed; auto is fp32 on the CPU and fp16 on
            a card (bf16 for a one-shot iterator), fp64 for a model in float64.
        rank: directions that a sketch keeps; auto takes what the thresholds need and the budget holds.
        width, max_passes: a sketch takes further passes, so many at the most, until high − low is no more
            than the width at every threshold.
        memory: budget in bytes or as ``8GiB``; None: 80 % of what is free on the device.
        device: auto, cpu or cuda:0. batch_size: None for 128 on the CPU and 500 on CUDA.
        proof: whether a costly proof may be made where K would stay an interval otherwise.
        all_eigenvalues: whether to find all of them, for every threshold, the effective rank and the whole
            spectrum, instead of as many as the thresholds need; by an exact method, and with more work.
        seed: of the eigenvalue step's random start.
        progress: called with signs of life. provenance: facts to keep with the result.

    Raises:
        StreamspreadError: one of its subclasses, with one line that says what to do.
    """
    thresholds = check_thresholds(thresholds)
    options = Options(
        thresholds=thresholds,
        method=method,
        rounding=rounding,
        rank=rank,
        width=width,
        max_passes=max_passes,
        memory=memory,
        device=device,
        batch_size=batch_size,
        proof=proof,
        all_eigenvalues=all_eigenvalues,
        seed=seed,
    )
    with opened(model, data, layers, options) as session:
        report = progress or (lambda event: None)
        _check_room(session.plan, session.device)
        _load_kernels(session)
        with PeakMeter(session.device, session.resident_bytes) as meter:
            found = session.run(session.plan, report, meter)
        facts = {**session.facts(), **dict(provenance or {})}
        if notes := session.ranks_to_close(found):
            facts["notes"] = [*facts.get("notes", ()), *notes]
    ordered = [found[tap.name] for tap in session.taps]
    return Spectra(ordered, thresholds, facts)


def plan(
    model: nn.Module,
    data: Any,
    layers: str | Sequence[str] = "all",
    thresholds: Sequence[float] = (0.7,),
    *,
    method: str = "auto",
    rounding: str = "auto",
    rank: str | int = "auto",
    width: int = 0,
    max_passes: int = 3,
    memory: str | int | None = None,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    proof: bool = True,
    all_eigenvalues: bool = False,
    seed: int = 0,
) -> Plan:
    """What :func:`analyze` would run with the same arguments; nothing but a first look at shapes is run.

    Raises:
        StreamspreadError: as :func:`analyze`, and for an iterator that can be read once.
    """
    thresholds = check_thresholds(thresholds)
    if not (stream := as_stream(data)).repeatable:
        raise OptionError(
            f"a plan would use up the first samples of the {stream.description}: give a callable that "
            "returns a fresh iterator of batches"
        )
    options = Options(
        thresholds=thresholds,
        method=method,
        rounding=rounding,
        rank=rank,
        width=width,
        max_passes=max_passes,
        memory=memory,
        device=device,
        batch_size=batch_size,
        proof=proof,
        all_eigenvalues=all_eigenvalues,
        seed=seed,
    )
    with opened(model, data, layers, options) as session:
        return session.plan


def _check_room(plan: Plan, device: torch.device) -> None:
    """Raises BudgetError where the budget allows, and the plan takes, more than the whole device has."""
    total = total_bytes(device)
    if plan.peak_bytes > total:
        raise BudgetError(
            f"a budget of {format_bytes(plan.budget)} was given, of which the plan takes "
            f"{format_bytes(plan.peak_bytes)}, but {device} has {format_bytes(total)} in all: lower --memory"
        )


def _load_kernels(session: Session) -> None:
    """Import, compile and start the kernels before memory and time are measured: they are no layer's.

    Raises:
        DeviceError: CuPy is missing.
    """
    device, layers = session.device, session.plan.layers
    rounding = layers[0].rounding
    # What overflows in fp16 is done again in bf16.
    for each in ("fp16", "bf16") if rounding == "fp16" else (rounding,):
        for columns in (1, 4, 8):  # activations are read one number at a time, four, or eight
            tiny = Staging(columns, 2, each, device)
            tiny.push(torch.zeros(2, columns, dtype=session.dtype, device=device))
            rows_ND = tiny.staged()
            sums = torch.zeros(columns, columns, dtype=SUM_DTYPES[each], device=device)
            for_device(device).add_product(sums, rows_ND.T, rows_ND)
    in_place = session.options.all_eigenvalues or session.options.proof
    if in_place and max(layer.order for layer in layers) > FULL_LIMIT[device.type]:
        band_eigenvalues_(SymmetricPanels(2 * WIDTH + 1, WIDTH, SUM_DTYPES[rounding], device))
