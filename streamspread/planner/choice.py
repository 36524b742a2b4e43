"""Shapes and a budget in, a plan out: of the candidates the one with the least work, packed into passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

import torch

from streamspread.errors import BudgetError, DataError, OptionError
from streamspread.planner.candidates import SKETCH_SHARE, Setting, candidates
from streamspread.planner.plans import LayerPlan, LayerShape, PassPlan, Plan
from streamspread.system.memory import at_least, format_bytes

METHODS = ("auto", "covariance", "gram", "sketch")
ROUNDINGS = ("auto", "fp16", "bf16", "fp32", "fp64")

# An exact method also gives what a sketch leaves open (the participation ratio, other thresholds), so it may
# take this many times the work; on a card, whose tensor cores a sketch leaves idle, any.
_EXACT_WORTH = {"cpu": 2.0, "cuda": math.inf}


def make_plan(
    layers: Sequence[LayerShape],
    samples: int | None,
    *,
    budget: int,
    device: torch.device,
    rounding: str,
    method: str = "auto",
    batch_size: int = 256,
    forward_bytes: int = 0,
    repeatable: bool = True,
    ordered: bool = True,
    rank: int | str = "auto",
    max_passes: int = 3,
    proof: bool = True,
    all_eigenvalues: bool = False,
    resident_bytes: int = 0,
) -> Plan:
    """Choose a method and passes for every layer so that no pass needs more than the budget.

    Args:
        layers: in network order.
        samples: N, or None where only a pass over the data can tell: then only one-pass methods can be had.
        budget: bytes on the device.
        rounding: fp16, bf16, fp32 or fp64.
        method: auto, or one method for all layers.
        forward_bytes: what the network itself needs for a batch.
        repeatable: whether the data can be read more than once; ``ordered``: whether in the same order each
            time.
        rank: directions that a sketch keeps, or auto. max_passes: that a sketch may take.
        proof: whether a factorisation may be made, or all eigenvalues found, where K would stay open.
        all_eigenvalues: whether all are to be found, and not only what the thresholds need.
        resident_bytes: of the data set, where it lies on the device all the time.

    Raises:
        BudgetError: a layer fits by no method; the message names the smallest budget that would do.
        OptionError: an unknown method or rounding.
        DataError: the layers need several passes together, and the data can be read once.
    """
    check_names(method, rounding)
    same_again = repeatable and ordered
    setting = Setting(
        samples,
        budget,
        device,
        rounding,
        forward_bytes,
        same_again,
        rank,
        max_passes if same_again else 1,
        min(len(layers), SKETCH_SHARE),
        proof,
        all_eigenvalues,
        resident_bytes,
    )
    _check_budget(layers, setting, method)
    chosen = [_choose(layer, setting, method) for layer in layers]
    plan = _pack(chosen, setting, batch_size)
    if len(plan.passes) > 1 and not repeatable:
        raise DataError(
            f"{len(plan.passes)} passes are needed and the data is a one-shot iterator: give a callable that "
            "returns a fresh iterator, ask for fewer layers, or raise --memory"
        )
    return plan


def check_names(method: str, rounding: str) -> None:
    """Raise OptionError for an unknown method or rounding."""
    for what, name, known in (("method", method, METHODS), ("rounding", rounding, ROUNDINGS)):
        if name not in known:
            raise OptionError(f"{what} {name!r} is unknown: choose from {', '.join(known)}")


def _check_budget(layers: Sequence[LayerShape], setting: Setting, method: str) -> None:
    """Raise BudgetError where a layer fits by no method, naming the smallest budget that serves all."""
    smallest = replace(setting, budget=0)
    needs = []
    for layer in layers:
        plans, impossible = candidates(layer, smallest, method)
        reasons = [f"{plan.method}: needs {at_least(setting.peak([plan]))}" for plan in plans] + impossible
        needs.append((min(setting.peak([plan]) for plan in plans), layer, reasons))
    least, layer, reasons = max(needs, key=lambda need: need[0])
    if least > setting.budget:
        samples = "unknown" if setting.samples is None else f"{setting.samples:,}"
        raise BudgetError(
            f"layer {layer.name} (D = {layer.dim:,}, N = {samples}) fits by no method into "
            f"{format_bytes(setting.budget)}: the smallest budget that would do is {at_least(least)} "
            f"({'; '.join(reasons)})"
        )


def _choose(layer: LayerShape, setting: Setting, method: str) -> LayerPlan:
    """Of the methods that fit the budget (one does: it was checked) the one with the least work."""
    plans, rejected = candidates(layer, setting, method)
    fitting = [plan for plan in plans if setting.peak([plan]) <= setting.budget]
    rejected += [f"{p.method}: needs {at_least(setting.peak([p]))}" for p in plans if p not in fitting]
    best = _least_work(fitting, setting.device)
    rejected += [
        f"{p.method}: {p.operations / best.operations:,.1f}× the work" for p in fitting if p is not best
    ]
    return replace(best, rejected=tuple(rejected))


def _least_work(plans: Sequence[LayerPlan], device: torch.device) -> LayerPlan:
    best = min(plans, key=attrgetter("operations"))
    # A single pass of a sketch leaves K open: then any exact method is better.
    worth = _EXACT_WORTH[device.type] if best.passes > 1 else math.inf
    exact = [p for p in plans if p.method != "sketch" and p.operations <= worth * best.operations]
    return min(exact, default=best, key=attrgetter("operations"))


def _pack(chosen: Sequence[LayerPlan], setting: Setting, batch_size: int) -> Plan:
    """Put each layer into the earliest passes that have room, in network order, so that shallow layers share
    the shallow passes and a pass is cut off as early as its layers allow."""
    members: list[list[LayerPlan]] = []

    def fits(index: int, plan: LayerPlan) -> bool:
        return index >= len(members) or setting.peak([*members[index], plan]) <= setting.budget

    placed = []
    for plan in chosen:
        start = 0
        while not all(fits(start + k, plan) for k in range(plan.passes)):
            start += 1
        indices = tuple(range(start, start + plan.passes))
        placed.append(replace(plan, pass_indices=indices))
        for index in indices:
            if index == len(members):
                members.append([])
            members[index].append(plan)
    passes = tuple(
        PassPlan(
            index=index,
            layers=tuple(plan.layer for plan in group),
            deepest=group[-1].layer,  # layers came in network order
            bytes=setting.peak(group),
        )
        for index, group in enumerate(members)
    )
    return Plan(tuple(placed), passes, str(setting.device), setting.budget, batch_size, setting.samples)
