"""What a result from Python keeps of how it was made: as one of the command line, as far as it is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from streamspread.observe.hashing import parameters_sha256
from streamspread.observe.observed import Observed


def with_facts(
    made: Mapping[str, Any], model: nn.Module, observed: Observed, given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The provenance of a result: versions, machine, time and title, the model's class and the hash of its
    parameters; over these what the run ``made`` known, and over all what the caller has ``given``, such as
    the command line. Of notes all are kept."""
    from streamspread import store

    given = dict(given or {})
    plan = getattr(model, "plan", None)
    general = store.provenance(
        store.Subject(type(model).__name__, plan if isinstance(plan, str) else None),
        data=observed.stream.description,
        device=observed.device,
    )
    notes = [*given.get("notes", ()), *made.get("notes", ())]
    hashed = {"parameters_sha256": parameters_sha256(model)}
    return {**general, **made, **hashed, **given, "notes": notes}
