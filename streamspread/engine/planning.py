"""What the planner is asked for an observed network, and which rounding is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from streamspread.accumulators.base import LayerShape, Setting
from streamspread.accumulators.costs import NarrowSide
from streamspread.accumulators.staging import Staging
from streamspread.engine.choice import candidates, make_plan, peak_bytes
from streamspread.engine.plan import Plan, work
from streamspread.errors import BudgetError, DataError, DeviceError, OptionError
from streamspread.kernels import exact_speed
from streamspread.observe.narrow import Coupling, Narrow
from streamspread.observe.observed import Observed
from streamspread.observe.taps import TapInfo
from streamspread.options import Options
from streamspread.streams.labels import labels_of
from streamspread.system.devices import Profile
from streamspread.system.memory import at_least, format_bytes, total_bytes

#: How many times as fast as float32 sums those of int16 must be, to be taken where not asked for: they spare
#: what measures the rounding of sums, a tenth of these, and leave no K open.
LEAST_GAIN = 0.8

#: Samples of a layer, of more of which sums of integers may be too large to be exact, and so for nothing.
MOST_EXACT = 2**29


def planned(
    observed: Observed, options: Options, taps: Sequence[TapInfo] | None = None, exact: bool = False
) -> Plan:
    """The plan for the observed layers, or some of them; ``exact``: for those that were unfit once. Errors as
    :func:`streamspread.engine.choice.make_plan`, and:

    Raises:
        OptionError: more directions than any layer can have.
    """
    _check_directions(observed, options)
    stream = observed.stream
    values = Values(observed.device, observed.dtype, stream.repeatable, observed.profile)
    taps = observed.taps if taps is None else taps
    shapes = [_shape(observed, tap) for tap in taps]
    return planned_at(values, options, lambda rounding: _plan(observed, options, shapes, rounding, exact))


class Values(NamedTuple):
    """What decides to what values are rounded: where they lie, their dtype, and whether they come again."""

    device: torch.device
    dtype: torch.dtype
    repeatable: bool
    profile: Profile


def planned_at(values: Values, options: Options, plan_at: Callable[[str], Plan]) -> Plan:
    """The plan at the rounding that suits the values; errors as :func:`planned`."""
    usual = plan_at(_rounding(values, options))
    if not _exact_sums_pay(values, options):
        return usual
    try:
        exact = plan_at("int16")
    except (BudgetError, DataError):  # its sums take twice the memory
        return usual
    return exact if _less_work(exact, usual, values.profile) else usual


def plan_for(
    observed: Observed, options: Options, taps: Sequence[TapInfo], rounding: str, exact: bool = False
) -> Plan:
    """The plan for some of the taps; ``exact``: which were unfit once."""
    return _plan(observed, options, [_shape(observed, tap) for tap in taps], rounding, exact)


def _plan(
    observed: Observed, options: Options, shapes: Sequence[LayerShape], rounding: str, exact: bool
) -> Plan:
    setting = replace(setting_for(observed, options, rounding), exact=exact)
    return replace(make_plan(shapes, setting), called=observed.called)


def setting_for(observed: Observed, options: Options, rounding: str) -> Setting:
    """What is the same for all layers of the observed network."""
    # The first batch gives the origin of every layer, which takes some memory once.
    first_bytes = Staging.first_bytes(observed.largest_dim, observed.batch_size)
    first_bytes = max([first_bytes, *(_slice_bytes(observed, tap) for tap in observed.taps)])
    if observed.shares > 1:  # rows of another rank, in float64 at a narrow side
        first_bytes += 8 * observed.batch_size * max(tap.dim for tap in observed.taps)
    return Setting(
        samples=observed.samples,
        budget=observed.budget,
        device=observed.device,
        rounding=rounding,
        options=options,
        batch_size=observed.batch_size,
        forward_bytes=observed.forward_bytes + first_bytes,
        resident_bytes=observed.resident_bytes + kept_bytes(observed, options),
        repeatable=observed.stream.repeatable,
        ordered=observed.stream.ordered,
        labels=labels_of(observed.stream) if options.classes else None,
        profile=observed.profile,
        ranks=observed.ranks,
        shares=observed.shares,
        itemsize=observed.dtype.itemsize,
    )


def check_fewer(observed: Observed, options: Options, plan: Plan, budget: int) -> None:
    """That the ranks at hand have room for the plan of more of them.

    Args:
        budget: of each rank, now; that of ``observed`` is the plan's.

    Raises:
        BudgetError: they have not.
    """
    size = observed.ranks.size
    if size >= observed.shares:
        return
    fewer = replace(observed, shares=size, budget=budget)
    setting = replace(setting_for(fewer, options, plan.rounding), layers=len(plan.layers))
    shapes = {tap.name: _shape(observed, tap) for tap in observed.taps}
    labels = {one.layer: one.candidate.label for one in plan.layers}
    for step in plan.passes:
        offers = [(name, one) for name in step.layers for one in candidates(shapes[name], setting)[0]]
        needed = peak_bytes(setting, [one for name, one in offers if one.label == labels[name]])
        if needed > budget:
            raise BudgetError(
                f"{observed.shares} ranks began this run, and each of {size} would need {at_least(needed)} "
                f"of memory, of which {format_bytes(budget)} may be taken: go on with more ranks"
            )


def _slice_bytes(observed: Observed, tap: TapInfo) -> int:
    """Bytes of making rows of a view, and of what the first of them take."""
    if tap.view is None:
        return 0
    rows = tap.view.together(observed.device) * tap.view.rows_each
    return tap.view.slice_bytes(observed.device) + Staging.first_bytes(tap.dim, rows)


def _check_directions(observed: Observed, options: Options) -> None:
    samples, wanted = observed.samples, options.directions or 0
    most = max(tap.dim if samples is None else min(tap.dim, samples - 1) for tap in observed.taps)
    if wanted > most > 0:
        raise OptionError(
            f"{wanted:,} directions asked for, and no layer here has more than {most:,}: ask for fewer, or "
            f"give more {observed.called}"
        )


def kept_bytes(observed: Observed, options: Options) -> int:
    """Bytes of all layers' directions, float32, where they are kept in the memory that the sums take too."""
    if not options.directions or observed.device.type != "cpu":
        return 0
    numbers = [tap.dim + (observed.samples or 0) for tap in observed.taps]
    return sum(4 * options.directions * number for number in numbers) + 8 * sum(numbers)


def _shape(observed: Observed, tap: TapInfo) -> LayerShape:
    source, view = observed.sources.get(tap.name), tap.view
    if view is not None:
        shape = LayerShape(tap.name, tap.shape, tap.dim, tap.operations, view=view.name)
        return replace(shape, places=view.rows_each, uneven=observed.masked and view.by_token)
    if source is None or source.dtype not in (torch.float32, torch.float64):
        # In 16 bits the layer's own roundings are large enough to count, and lie in all directions.
        return LayerShape(tap.name, tap.shape, tap.dim, tap.operations)
    coupling = Coupling.of(source)
    side = NarrowSide(
        dim=source.dim,
        operations=tap.operations - source.tap.operations,
        making_bytes=Narrow.making_bytes(source, coupling),
        products=coupling.colours,
        factor_numbers=coupling.layout.numbers,
        factor_operations=coupling.layout.factor_operations,
    )
    # Of what W nearly loses WᵀW holds half the digits of float64: as many as a forward in float32 does.
    narrow = side if source.dtype == torch.float32 else None
    return LayerShape(tap.name, tap.shape, tap.dim, tap.operations, source.dim, narrow)


def _rounding(values: Values, options: Options) -> str:
    """The rounding asked for; ``auto`` is the device's own.

    Raises:
        DeviceError: int16 on a card that does not multiply int8 matrices exactly.
    """
    if options.rounding == "int16" and not exact_speed(values.device):
        raise DeviceError(
            f"rounding int16 needs exact products of int8 matrices, which {values.device} does not form "
            f"here: take --rounding {values.profile.precision}, or --device cpu"
        )
    if options.rounding != "auto":
        return options.rounding
    if values.dtype == torch.float64:
        return "fp64"
    usual = values.profile.precision
    # What overflows at fp16 is summed again, for which data must come again; bf16 reaches as far as float32.
    return "bf16" if usual == "fp16" and not values.repeatable else usual


def _exact_sums_pay(values: Values, options: Options) -> bool:
    """Whether int16 may be taken where it was not asked for. What it does not hold is summed again, so data
    must come again."""
    usual = options.rounding == "auto" and values.device.type == "cpu" and values.dtype != torch.float64
    return usual and values.repeatable and exact_speed(values.device) >= LEAST_GAIN


def _less_work(exact: Plan, usual: Plan, profile: Profile) -> bool:
    """Whether a plan has less work, and an exact method, or one that closes K, for as many layers."""
    pairs = [(a.candidate, b.candidate) for a, b in zip(exact.layers, usual.layers, strict=True)]
    kept = all(a.exact or a.closes or not b.exact for a, b in pairs)
    # What a pass costs is known where the number of samples is.
    longer = usual.samples is None and len(exact.passes) > len(usual.passes)
    few = all((layer.samples or 0) <= MOST_EXACT for layer in exact.layers)
    return kept and few and not longer and work(exact, profile) < work(usual, profile)


def check_room(plan: Plan, device: torch.device) -> None:
    """Raise BudgetError where the budget allows, and the plan takes, more than the whole device has."""
    total = total_bytes(device)
    if plan.peak_bytes > total:
        raise BudgetError(
            f"a budget of {format_bytes(plan.budget)} was given, of which the plan takes "
            f"{format_bytes(plan.peak_bytes)}, but {device} has {format_bytes(total)} in all: lower --memory"
        )
