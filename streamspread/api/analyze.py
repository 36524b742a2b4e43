"""The main job's doors: over how many principal components the data spreads at each layer, and what it would
take to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from streamspread.api.doors import Subject, door
from streamspread.engine.analysis import Interrupted, analyzed
from streamspread.engine.pace import Announce, foreseen
from streamspread.engine.planning import planned
from streamspread.errors import OptionError
from streamspread.observe.observed import observing
from streamspread.options import Options
from streamspread.planner import Plan
from streamspread.results.spectrum import Spectra
from streamspread.streams import as_stream
from streamspread.system.devices import Profile
from streamspread.system.progress import Report, silent


@dataclass(frozen=True)
class PlanCall(Options, Subject):
    """The arguments of :func:`plan`."""


@dataclass(frozen=True)
class AnalyzeCall(Options, Subject):
    """The arguments of :func:`analyze`."""

    _: KW_ONLY
    progress: Report | None = None
    provenance: Mapping[str, Any] | None = None


@door(AnalyzeCall)
def analyze(call: AnalyzeCall) -> Spectra:
    """Over how many principal components the data spreads at each layer.

    Args:
        model: any module; its mode, hooks, dtype and device are afterwards as they were, also after an error.
        data: a tensor, Dataset, DataLoader, or a callable that returns a fresh iterator of batches; a
            one-shot iterator is accepted where one pass is enough.
        {options}
        progress: called with signs of life, :class:`streamspread.system.progress.Progress`.
        provenance: facts to keep with the result.

    Raises:
        StreamspreadError: one of its subclasses, with one line that says what to do.
        Interrupted: (a KeyboardInterrupt) Ctrl-C when some layers were done, whose ``spectra`` it holds.
    """
    return analyze_with(call, call, call.progress, call.provenance)


def analyze_with(
    subject: Subject,
    options: Options,
    progress: Report | None = None,
    provenance: Mapping[str, Any] | None = None,
    constants: Profile | None = None,
    announce: Announce | None = None,
) -> Spectra:
    """As :func:`analyze`, with all options in one object; ``constants``: in place of the device's own;
    ``announce``: who is told before it begins how long it will take."""
    with observing(subject.model, subject.data, options, constants) as observed:
        try:
            return _told(analyzed(observed, options, progress or silent, announce), provenance)
        except Interrupted as stopped:
            stopped.spectra = _told(stopped.spectra, provenance)
            raise


def _told(spectra: Spectra, provenance: Mapping[str, Any] | None) -> Spectra:
    """The spectra with the facts that are given to go with them."""
    given = dict(provenance or {})
    facts = spectra.provenance | given
    if notes := [*given.get("notes", ()), *spectra.provenance.get("notes", ())]:
        facts["notes"] = notes
    return Spectra(spectra.values(), spectra.thresholds, facts)


@door(PlanCall)
def plan(call: PlanCall) -> Plan:
    """What :func:`analyze` would run with the same arguments; nothing but a first look at shapes is run.

    Args:
        model, data: as of :func:`analyze`.
        {options}

    Raises:
        StreamspreadError: as :func:`analyze`, and for an iterator that can be read once.
    """
    return plan_with(call, call)


def plan_with(
    subject: Subject, options: Options, constants: Profile | None = None, *, timed: bool = False
) -> Plan:
    """As :func:`plan`, with all options in one object; ``timed``: with how long it will take, for which some
    products and forwards are run."""
    if not (stream := as_stream(subject.data)).repeatable:
        raise OptionError(
            f"a plan would use up the first samples of the {stream.description}: give a callable that "
            "returns a fresh iterator of batches"
        )
    with observing(subject.model, stream, options, constants) as observed:
        return foreseen(observed, options) if timed else planned(observed, options)
