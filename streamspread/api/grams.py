"""The inner products between the samples at each layer, from which layers and networks are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from streamspread.api.calls import Subject, door, with_facts
from streamspread.engine.grams import kept_grams
from streamspread.errors import DataError, Interrupted, partial_facts
from streamspread.observe.observed import observing
from streamspread.options import ViewOptions
from streamspread.results.similarity import Grams
from streamspread.streams.adapt import as_stream
from streamspread.system.progress_display import Shown, shown


@dataclass(frozen=True)
class GramsCall(ViewOptions, Subject):
    """The arguments of :func:`grams`."""

    _: KW_ONLY
    progress: Shown = "auto"
    provenance: Mapping[str, Any] | None = None


@door(GramsCall)
def grams(call: GramsCall) -> Grams:
    """The inner products between all samples at each layer, which :func:`streamspread.cka` compares: with
    those of the other layers, or of another network that was given the same data.

    They take N(N + 1)/2 float32 numbers a layer, and those of all layers lie in memory at once; the features
    never do. In a view N counts its samples, which must be the same for all layers: of ``position`` layers
    must have the same places, and N is their number times that of the images; ``whole``, ``pooled`` and
    ``pooled-max`` can be asked for together.

    Args:
        model: any module; its mode, hooks, dtype and device are afterwards as they were, also after an error.
        data: as of :func:`streamspread.analyze`, and it must repeat in the same order.
        {options}
        forward, progress, provenance: as of :func:`streamspread.analyze`.

    Raises:
        StreamspreadError: one of its subclasses, with one line that says what to do; LayerError, where layers
            do not have the same samples.
        Interrupted: (a KeyboardInterrupt) Ctrl-C when some layers were done, whose ``grams`` it holds.
    """
    stream = as_stream(call.data)
    if not (stream.repeatable and stream.ordered):
        raise DataError(f"{stream.description}: grams need data that repeats in the same order")
    with (
        shown(call.progress) as report,
        observing(call.model, stream, call, forward=call.forward) as observed,
    ):

        def told(found: Grams, left: Sequence[str] = ()) -> Grams:
            facts: dict[str, Any] = {
                "device": str(observed.device),
                "data": stream.description,
                "data_seen": found.data_seen,
                "samples": found.samples,
                "samples_are": observed.called,
                "options": call.asked(),
            }
            facts = with_facts(facts | partial_facts(left), call.model, observed, call.provenance)
            return Grams(found.values(), samples=found.samples, data_seen=found.data_seen, provenance=facts)

        try:
            return told(kept_grams(observed, report))
        except Interrupted as stopped:
            raise Interrupted(told(stopped.result, stopped.left), stopped.left) from None
