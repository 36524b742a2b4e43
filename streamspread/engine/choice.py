"""Shapes and a budget in, a plan out: of the candidates the one with the least work, packed into passes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import attrgetter

from streamspread.accumulators.base import (
    ACCUMULATORS,
    Accumulator,
    Candidate,
    Impossible,
    LayerShape,
    Setting,
)
from streamspread.accumulators.costs import Travels
from streamspread.accumulators.directions import Scoring
from streamspread.engine.plan import LayerPlan, PassPlan, Plan
from streamspread.errors import BudgetError, DataError, OptionError
from streamspread.linalg.banded import MeasuredProduct
from streamspread.system.memory import at_least, format_bytes

# Times the work, for K beyond the samples beside what is proved; of more samples the two are nearly the same.
_ESTIMATE_WORTH, _FEW = 2.0, 16_384
# Times the work, for an exact method beside one that closes K as it is asked for.
_CLOSED_WORTH = 1.25


def make_plan(layers: Sequence[LayerShape], setting: Setting) -> Plan:
    """Choose a method and passes for every layer, in network order, so that no pass needs more than the
    budget.

    Raises:
        BudgetError: a layer fits by no method; the message names the smallest budget that would do.
        OptionError: the method asked for cannot do a layer whatever the budget.
        DataError: the layers need several passes together, and the data can be read once.
    """
    setting = replace(setting, layers=len(layers))
    if setting.options.scores and not setting.same_again:
        raise DataError(
            "scores take a pass over the same samples in the same order, which this data does not give "
            "again: leave them out, or give data that repeats"
        )
    chosen = [one for layer in layers if (one := _choose(layer, setting)) is not None]
    if len(chosen) < len(layers):
        raise _too_little(layers, setting)
    plan = _pack(chosen, setting)
    if len(plan.passes) > 1 and not setting.repeatable:
        raise DataError(
            f"{len(plan.passes)} passes are needed and the data is a one-shot iterator: give a callable that "
            "returns a fresh iterator, ask for fewer layers, or raise --memory"
        )
    return plan


def candidates(layer: LayerShape, setting: Setting) -> tuple[list[Candidate], list[str]]:
    """The ways to do the layer, each in the largest form that fits the budget or else in its smallest; and
    the methods that are out of the question, each with its reason.

    Raises:
        OptionError: the method asked for cannot do the layer whatever the budget.
    """
    layer, setting = setting.of_layer(layer)
    asked_for = setting.options.method
    methods = dict(ACCUMULATORS.items())
    offers = {name: method.candidate(layer, setting) for name, method in methods.items()}
    impossible = {name: offer for name, offer in offers.items() if isinstance(offer, Impossible)}
    if asked_for in impossible:
        offer = impossible[asked_for]
        raise OptionError(
            f"layer {layer.name}: {asked_for}: {offer.why}; {offer.remedy}choose another method"
        )
    possible = [offer for offer in offers.values() if isinstance(offer, Candidate)]
    exact = [methods[offer.method] for offer in possible if offer.exact]
    possible += at_the_narrow_side(layer, setting, exact)
    if setting.options.scores:
        possible = [offer if offer.scores else _with_scores(offer, layer, setting) for offer in possible]
    asked = [offer for offer in possible if asked_for in ("auto", offer.method)]
    reasons = [f"{name}: {offer.why}" for name, offer in impossible.items()]
    reasons += [f"{offer.label}: {asked_for} was asked for" for offer in possible if offer not in asked]
    return asked, reasons


def _with_scores(offer: Candidate, layer: LayerShape, setting: Setting) -> Candidate:
    """With a pass of its own for the samples' scores, after the sums are gone."""
    samples, constants = setting.samples or 0, setting.profile
    count = min(setting.directions, layer.dim)
    products = constants.float64_cost * 2.0 * samples * layer.dim * count
    needed = Scoring.nbytes(layer.dim, count, samples, setting.batch_size)
    forwards = constants.forward_cost * layer.operations * samples / setting.shares
    travels = offer.travels
    if setting.shares > 1:
        travels = travels.more(Travels(rows=float(samples) * layer.dim * setting.itemsize))
    usual = offer.usual_passes
    return replace(
        offer,
        travels=travels,
        passes=offer.passes + 1,
        usual_passes=None if usual is None else usual + 1,
        state_bytes=max(offer.state_bytes, needed),
        operations=offer.operations + forwards + products,
        why=f"{offer.why}; and a pass for scores",
        scoring=True,
    )


def peak_bytes(setting: Setting, together: Sequence[Candidate]) -> int:
    """Peak bytes of a pass with these layers: the data that stays and all states at once, and with them
    either the network's forward or, after the pass, one eigenvalue step after the other."""
    states = sum(one.state_bytes for one in together)
    steps = (one.finish_bytes for one in together)
    return setting.resident_bytes + states + max(setting.forward_bytes, *steps)


def _too_little(layers: Sequence[LayerShape], setting: Setting) -> BudgetError:
    """The error where a layer fits by no method; it names the smallest budget that serves all."""
    smallest = replace(setting, budget=0)
    needs = []
    for layer in layers:
        possible, reasons = candidates(layer, smallest)
        peaks = {one.label: peak_bytes(setting, [one]) for one in possible}
        reasons = [f"{label}: needs {at_least(peak)}" for label, peak in peaks.items()] + reasons
        needs.append((min(peaks.values()), layer, reasons))
    least, layer, reasons = max(needs, key=lambda need: need[0])
    number = setting.of_layer(layer)[1].samples
    samples = "unknown" if number is None else f"{number:,}"
    return BudgetError(
        f"layer {layer.name} (D = {layer.dim:,}, N = {samples}) fits by no method into "
        f"{format_bytes(setting.budget)}: the smallest budget that would do is {at_least(least)} "
        f"({'; '.join(reasons)})"
    )


def _choose(layer: LayerShape, setting: Setting) -> LayerPlan | None:
    """Of the methods that fit the budget the one with the least work; None where none fits."""
    possible, rejected = candidates(layer, setting)
    offers = [(one, one.label, peak_bytes(setting, [one])) for one in possible]
    fitting = [one for one, _, peak in offers if peak <= setting.budget]
    if not fitting:
        return None
    best = _least_work(fitting, setting)
    rejected += [f"{label}: needs {at_least(peak)}" for _, label, peak in offers if peak > setting.budget]
    rejected += [
        f"{label}: {_times(one.operations / best.operations)}× the work"
        for one, label, peak in offers
        if one is not best and peak <= setting.budget
    ]
    rounding, samples = best.rounding or setting.rounding, setting.of_layer(layer)[1].samples
    return LayerPlan(layer, best, samples, rounding, (), tuple(rejected))


def _times(factor: float) -> str:
    return f"{factor:,.1f}" if factor < 100 else f"{factor:,.0f}"


def _least_work(fitting: Sequence[Candidate], setting: Setting) -> Candidate:
    best = min(fitting, key=attrgetter("operations"))
    # An exact method is worth some more work. A single pass of a sketch leaves K open, and none tells of
    # classes: then any is better.
    worth = _CLOSED_WORTH if best.closes else setting.profile.exact_worth
    worth = math.inf if setting.exact or setting.labels is not None or best.passes == 1 else worth
    exact = [one for one in fitting if one.exact and one.operations <= worth * best.operations]
    best = min(exact, default=best, key=attrgetter("operations"))
    worth = _ESTIMATE_WORTH if (setting.samples or 0) <= _FEW else 1.0
    telling = [one for one in exact if one.estimates and one.operations <= worth * best.operations]
    return min(telling, default=best, key=attrgetter("operations"))


def _pack(chosen: Sequence[LayerPlan], setting: Setting) -> Plan:
    """Put each layer into the earliest passes that have room, in network order, so that shallow layers share
    the shallow passes and a pass is cut off as early as its layers allow."""
    members: list[list[LayerPlan]] = []

    def fits(index: int, plan: LayerPlan) -> bool:
        if index >= len(members):
            return True
        together = [member.candidate for member in (*members[index], plan)]
        return peak_bytes(setting, together) <= setting.budget

    placed = []
    for plan in chosen:
        passes = plan.candidate.passes
        start = 0
        while not all(fits(start + k, plan) for k in range(passes)):
            start += 1
        indices = tuple(range(start, start + passes))
        placed.append(replace(plan, pass_indices=indices))
        for index in indices:
            if index == len(members):
                members.append([])
            members[index].append(plan)
    steps = tuple(
        PassPlan(
            index=index,
            layers=tuple(plan.layer for plan in group),
            deepest=group[-1].layer,  # layers came in network order
            bytes=peak_bytes(setting, [plan.candidate for plan in group]),
        )
        for index, group in enumerate(members)
    )
    return Plan(
        tuple(placed),
        steps,
        str(setting.device),
        setting.budget,
        setting.batch_size,
        setting.samples,
        setting.rounding,
        setting.shares,
    )


_PASSES = 2  # through W for a unit vector: forward and backward
_MADE = 1.5  # times as long as a float64 product takes an operation of a float64 convolution


def at_the_narrow_side(
    layer: LayerShape, setting: Setting, exact: Sequence[type[Accumulator]]
) -> Iterator[Candidate]:
    """The ``exact`` ways to do the layer as rows that have its inner products and fewer numbers. There are
    none where it has no such side, where the profile turns this off, or where directions are wanted: those of
    the rows are not the layer's."""
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
    for method in exact:
        offer = method.candidate(shape, beside)
        if isinstance(offer, Candidate):
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
