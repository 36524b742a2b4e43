"""Checkpoints of one network, in order: what a line over training is drawn through."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from streamspread.reports.runs import Collection, Run

_FEWEST = 3  # two are a comparison


def courses(collection: Collection) -> dict[str, dict[str, Run]]:
    """Three runs or more of one model over the same data, of different weights, by model; of several such
    courses, by their first and last run too.

    Within a model they go by how long they were trained, where that is known of all and differs; else by
    their own names, in which 20 comes before 100.
    """
    found: dict[tuple[Any, ...], list[Run]] = {}
    for run in collection.runs:
        if run.study_part in ("networks", "training") and not run.is_twin:
            key = (run.model, run.facts.get("plan"), run.data.seen or run.data.name, run.samples)
            found.setdefault(key, []).append(run)
    several = [runs for runs in found.values() if len({run.network for run in runs}) >= _FEWEST]
    counts = Counter(runs[0].model for runs in several)
    return {_name(course, counts): course for course in map(_in_order, several)}


def _name(course: dict[str, Run], counts: Counter[str]) -> str:
    first, *_, last = course.values()
    return first.model if counts[first.model] == 1 else f"{first.model}: {first.name} … {last.name}"


def _in_order(runs: list[Run]) -> dict[str, Run]:
    trained = {run.name: run.training.epochs + run.training.averaged for run in runs if run.training}
    if len(trained) == len(runs) == len(set(trained.values())):
        return {f"{trained[run.name]:,}": run for run in sorted(runs, key=lambda run: trained[run.name])}
    return {run.name: run for run in sorted(runs, key=_natural)}


def _natural(run: Run) -> list[tuple[bool, int | str]]:
    """A key in which numbers within a name count as numbers."""
    words = re.split(r"(\d+)", run.name)
    return [(word.isdecimal(), int(word) if word.isdecimal() else word) for word in words]
