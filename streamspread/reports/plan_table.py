"""Plans, and the layers of a model, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamspread.reports import text
from streamspread.reports.table import Column, Output, print_line, print_widest_that_fits


def print_plan(plan: Any, output: Output) -> None:
    """A plan: a row per layer, why each method was chosen, which layers have more directions than the samples
    span, then the passes and the memory."""
    rows, ahead = plan.layers, plan.outlook
    columns = [
        Column("layer", [row.layer for row in rows], left=True),
        Column("shape", [text.shape(row.shape) for row in rows], priority=3),
        Column("D", [text.count(row.dim) for row in rows]),
        Column("N", ["?" if row.samples is None else text.count(row.samples) for row in rows], priority=4),
        Column("K at most", [text.count(row.ceiling) for row in rows], priority=2),
        Column("method", [text.method(row) for row in rows], left=True),
        Column("in pass", [_pass_numbers(row.pass_indices) for row in rows], priority=1),
        Column("memory", [text.size(row.bytes) for row in rows]),
        Column(
            "operations",
            [text.operations(row.operations) for row in rows],
            priority=int(plan.outlook is not None),
        ),
    ]
    if ahead is not None:
        columns.append(Column("seconds, about", [text.seconds(ahead.layers[row.layer]) for row in rows]))
    print_widest_that_fits(output, [columns])
    everyone = [row.layer for row in rows]
    reasons = [f"{row.why}; rejected {'; '.join(row.rejected)}" if row.rejected else row.why for row in rows]
    for names, reason in text.alike(zip(everyone, reasons, strict=True)):
        print_line(output, f"{text.listed(names, everyone)}: {reason}")
    if plan.samples is not None and (limited := [row.layer for row in rows if row.ceiling < row.directions]):
        print_line(
            output,
            f"limited by the number of {plan.called}: {text.listed(limited, everyone)}: {plan.samples:,} of "
            f"them span at most {plan.samples - 1:,} directions, and these layers have more",
        )
    for step in plan.passes:
        those = text.listed(step.layers, everyone)
        line = f"pass {step.index + 1} of {len(plan.passes)}, cut off after {step.deepest}: {those}"
        print_line(output, f"{line} ({text.size(step.bytes)})")
    samples = "an unknown number of" if plan.samples is None else text.count(plan.samples)
    print_line(
        output,
        f"{samples} {plan.called} in batches of {plan.batch_size:,} on {plan.device}: "
        f"peak {text.size(plan.peak_bytes)} of a budget of {text.size(plan.budget)}",
        style="bold",
    )
    if plan.ranks > 1:
        sent = text.size(round(plan.sent_bytes))
        takes = "" if ahead is None else f", for which it waits about {text.duration(ahead.waits)}"
        said = f"{plan.ranks} processes share it: each is sent {sent} by the others{takes}"
        print_line(output, said, style="bold")
    if ahead is not None:
        for line in _outweighed(ahead):
            print_line(output, line)
        own, forwards = text.duration(ahead.seconds), text.duration(ahead.forwards)
        print_line(output, f"about {own}, of which the network's forward takes {forwards}", style="bold")


def outlook_lines(now: Any, more: Any, twice: bool = False, called: str = "images") -> list[str]:
    """How long a run will take, and what all samples would; ``twice``: for a random twin too; ``called``:
    what samples are."""
    line = f"about {text.duration(now.seconds)}{', and as long again for the random twin' if twice else ''}"
    if now.wire:
        line += f", of which the processes wait about {text.duration(now.waits)} for each other's rows"
    if more is not None:
        takes = text.duration(more.seconds)
        line += f"; all {more.samples:,} {called}: about {takes}, with --samples {more.samples}"
    return [line, *_outweighed(now)]


def _outweighed(outlook: Any) -> list[str]:
    """That several processes wait longer than they work, if they do."""
    if not outlook.outweighed:
        return []
    names = text.listed(outlook.outweighed, tuple(outlook.layers))
    return [
        f"{names}: sending rows between processes takes longer than summing them; fewer processes, or a "
        "faster network, may be quicker"
    ]


def print_layers(taps: Sequence[Any], output: Output) -> None:
    """The taps of a model: name, shape of one image's activation, D, the kind of module, and which of them
    ``--layers`` takes."""
    taken = set(getattr(taps, "taken", ()))
    columns = [
        Column("layer", [tap.name for tap in taps], left=True),
        Column("shape", [text.shape(tap.shape) for tap in taps]),
        Column("D", [text.count(tap.dim) for tap in taps]),
        Column("axes", [tap.axes or "?" for tap in taps], priority=2, left=True),
        Column("module", [tap.kind for tap in taps], priority=1, left=True),
    ]
    if taken:
        columns.append(Column("taken", ["•" if tap.name in taken else "" for tap in taps], left=True))
    print_widest_that_fits(output, [columns])
    if taken:
        asked = getattr(taps, "asked", "all")
        print_line(output, f"• {len(taken):,} of {len(taps):,}: what --layers {asked} takes")


def _pass_numbers(indices: tuple[int, ...]) -> str:
    """The numbers of passes, counted from 1: 1, or 2–5."""
    first, last = indices[0] + 1, indices[-1] + 1
    return str(first) if first == last else f"{first}–{last}"
