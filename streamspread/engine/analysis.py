"""One analysis: a plan, its passes carried out, and running sums turned into spectra."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch

from streamspread.engine.checkpoints import Keeper, agreed, planned_alike
from streamspread.engine.loading import load_for
from streamspread.engine.pace import Announce, announced
from streamspread.engine.plan import Plan
from streamspread.engine.planning import check_fewer, check_room, plan_for
from streamspread.engine.run import Analysis
from streamspread.errors import Interrupted, partial_facts
from streamspread.kernels.timing import thread_limit
from streamspread.linalg.probes import FAILURE
from streamspread.observe.observed import Observed
from streamspread.options import Options
from streamspread.ranks import Ranks
from streamspread.results.spectra import LayerSpectrum, Spectra
from streamspread.results.views import POOLED, WHOLE
from streamspread.system.memory import PeakMeter
from streamspread.system.progress import Report, doing


def analyzed(
    observed: Observed, options: Options, report: Report, announce: Announce | None = None
) -> Spectra:
    """The spectra of the observed layers, with how they were made. ``announce``: who is told before it begins
    how long it will take.

    Raises:
        Interrupted: Ctrl-C, when some layers were done.
    """
    began = time.perf_counter()
    observed, ranks = agreed(observed, options), observed.ranks
    keeper = None if options.checkpoint is None else Keeper(observed, options)
    if keeper is None or keeper.saved is None:
        plan = planned_alike(observed, options)
    else:
        now, observed = observed, keeper.as_planned(observed)
        plan = plan_for(observed, options, observed.taps, keeper.saved[0]["rounding"])
        check_fewer(observed, options, plan, now.budget)
    if keeper is not None:
        keeper.check_plan(plan)
    announced(announce, observed, options, plan)
    check_room(plan, observed.device)
    doing("loading kernels, which the first time compiles them")
    with _threads(ranks):
        load_for(plan, observed)
    with _threads(ranks), PeakMeter(observed.device, observed.resident_bytes) as meter:
        analysis = Analysis(observed, options, report, meter, keeper)
        try:
            with ranks.together(), keeper or nullcontext():
                spectra = analysis.run(plan)
        except KeyboardInterrupt:
            if not analysis.done:
                raise
            spectra = analysis.done
    left = [tap.name for tap in observed.taps if tap.name not in spectra]
    facts = _facts(plan, observed, options) | {"data_seen": analysis.data_seen}
    facts["seconds"] = round(time.perf_counter() - began, 3)
    notes = [f"{name}: {analysis.notes[name]}" for name in spectra if name in analysis.notes]
    if observed.left_out:
        named = ", ".join(observed.left_out)
        notes.insert(0, f"the model's forward does not take, and was not given: {named}")
    if keeper is not None:
        notes = [*keeper.notes(), *notes]
    notes = [*partial_facts(left).get("notes", ()), *notes, *_notes_on_views(observed, options)]
    facts |= partial_facts(left) | ({"notes": notes} if notes else {})
    if not observed.masked:  # where tokens are left out, means are not of the whole's numbers
        spectra = {name: _beside_whole(each, spectra) for name, each in spectra.items()}
    found = Spectra(
        (spectra[tap.name] for tap in observed.taps if tap.name in spectra), options.thresholds, facts
    )
    if left:
        raise Interrupted(found, left)
    return found


def _threads(ranks: Ranks) -> AbstractContextManager[None]:
    """Launchers give each of several processes one thread of OpenMP, of which Numba does not know."""
    return nullcontext() if ranks.size == 1 else thread_limit(torch.get_num_threads())


def _beside_whole(each: LayerSpectrum, spectra: Mapping[str, LayerSpectrum]) -> LayerSpectrum:
    """A layer's means over places with the share that they hold of the whole's variance, if that is there: an
    output is its mean at every place and what differs from it, which are orthogonal."""
    whole = spectra.get(each.own_name)
    if each.view != POOLED or whole is None or whole.total_variance <= 0.0:
        return each
    share = whole.dim / each.dim * each.total_variance / whole.total_variance
    return replace(each, share_of_whole=min(1.0, share))


def _notes_on_views(observed: Observed, options: Options) -> Iterator[str]:
    """What the views that were asked for cannot tell, a line each."""
    if set(options.view) == {WHOLE}:
        return
    if alike := [tap.name for tap in observed.taps if len(tap.axes) == 2]:
        yield f"no places in the outputs of {', '.join(alike)}: every view of them is the whole"
    uneven = [tap.name for tap in observed.taps if observed.masked and tap.view and tap.view.by_token]
    if options.classes and uneven:
        yield f"no classes of {', '.join(uneven)}: tokens are left out, so their labels' places are not known"


def _measured(plan: Plan, options: Options) -> int:
    """How many numbers random vectors measure of a layer, at the most."""
    return 2 + (options.directions is not None) + any(row.candidate.closes for row in plan.layers)


def _facts(plan: Plan, observed: Observed, options: Options) -> dict[str, Any]:
    """How the numbers were made, for the provenance."""
    device, asked = observed.device, options.asked()
    return {
        "device": str(device),
        "card": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "data": observed.stream.description,
        "samples": plan.samples,
        "samples_are": observed.called,
        "batch_size": observed.batch_size,
        "model_dtype": str(observed.dtype).removeprefix("torch."),
        "budget_bytes": plan.budget,
        "planned_peak_bytes": plan.peak_bytes,
        # With at most this probability a layer's bounds fail: random vectors measure two numbers at the most,
        # the norm of what sums lost, and what lies outside a basis or a trace; and what they lost along all
        # directions. Where a sketch was unfit, its own random vectors come beside.
        "bound_failure": _measured(plan, options) * FAILURE,
        "options": asked,
        **{name: asked[name] for name in ("proof", "all_eigenvalues", "seed")},  # where older files have them
        **({"ranks": observed.ranks.size} if observed.ranks.size > 1 else {}),
        "forward_tf32": False,  # on a card the search for eigenvalues uses it, where it does no harm
    }
