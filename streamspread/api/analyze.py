"""The main job's doors: over how many principal components the data spreads at each layer, and what it would
take to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

from torch import nn

from streamspread.api.calls import Subject, door, with_facts
from streamspread.engine.analysis import analyzed
from streamspread.engine.checkpoints import agreed, planned_alike, twins
from streamspread.engine.checkpoints import remove as remove
from streamspread.engine.pace import Announce as Announce
from streamspread.engine.pace import foreseen
from streamspread.engine.plan import Plan
from streamspread.engine.whole import half
from streamspread.errors import DataError, Interrupted, OptionError, check_flag
from streamspread.models.twin import Twin, facts_of_twin, given_twin, random_twin, twin_seed
from streamspread.observe.network import unwrapped
from streamspread.observe.observed import observing
from streamspread.options import Options
from streamspread.ranks import ALONE, Ranks
from streamspread.ranks.launch import joined as joined
from streamspread.ranks.launch import ranks_here
from streamspread.results.spectra import Spectra
from streamspread.streams.adapt import as_stream
from streamspread.system.devices import Profile
from streamspread.system.progress import Report, doing, silent
from streamspread.system.progress_display import Shown, shown


@dataclass(frozen=True)
class PlanCall(Options, Subject):
    """The arguments of :func:`plan`."""

    _: KW_ONLY
    alone: bool = False


@dataclass(frozen=True)
class AnalyzeCall(Options, Subject):
    """The arguments of :func:`analyze`."""

    _: KW_ONLY
    progress: Shown = "auto"
    provenance: Mapping[str, Any] | None = None
    twin: nn.Module | None = None
    alone: bool = False


@door(AnalyzeCall)
def analyze(call: AnalyzeCall) -> Spectra:
    """Over how many principal components the data spreads at each layer.

    Args:
        model: any module; its mode, hooks, dtype and device are afterwards as they were, also after an error.
        data: tensors, arrays, lists of samples, data sets, loaders, or a callable that returns a fresh
            iterator of batches (:func:`streamspread.streams.adapt.as_stream` has them all); a one-shot
            iterator is accepted where one pass is enough. Batches that are mappings are given to the model by
            name, as far as its forward takes them.
        {options}
        forward: runs the model on a batch, in place of calling it: ``lambda model, batch: …``; the batch is
            on the model's device, a dict of tensors where it is a mapping.
        progress: True: bars; False or None: nothing; "auto": bars in a notebook and at Python's prompt, and
            nothing in scripts; a function: called with :class:`streamspread.system.progress.Progress`.
        provenance: facts to keep with the result, beside those that are known.
        twin: the network with fresh weights, for ``with_random``, where its modules cannot draw them.
        alone: where torch.distributed is initialised, all its processes share the work, call this with the
            same arguments and get the same result; this one works by itself.

    Raises:
        StreamspreadError: one of its subclasses, with one line that says what to do.
        Interrupted: (a KeyboardInterrupt) Ctrl-C when some layers were done, whose ``spectra`` it holds.
    """
    check_flag("alone", call.alone)
    options, twin = call, None
    if call.twin is not None:
        options, twin = replace(call, with_random=True), given_twin(call.model, call.twin, call.seed)
    ranks = ranks_here(call.alone)
    with shown(call.progress if ranks.leads else None) as report:
        spectra = analyze_with(call, options, report, call.provenance, twin=twin, ranks=ranks)
    if options.checkpoint is not None:
        if ranks.leads:
            remove(options)
        ranks.tell()  # what begins next on another rank must not find it
    return spectra


def analyze_with(
    subject: Subject,
    options: Options,
    progress: Report | None = None,
    provenance: Mapping[str, Any] | None = None,
    constants: Profile | None = None,
    announce: Announce | None = None,
    twin: Twin | None = None,
    ranks: Ranks = ALONE,
) -> Spectra:
    """As :func:`analyze`, with all options in one object; ``constants``: in place of the device's own;
    ``announce``: who is told before it begins how long it will take; ``twin``: of the network, where it is
    known; ``ranks``: that share the work. A checkpoint is left, for the caller to remove."""

    run = _Run(subject, options, progress or silent, provenance, constants, announce, ranks)
    with ranks.together():
        return ranks.share(_both(run, twin) if options.with_random else run.spectra())


@dataclass(frozen=True)
class _Run:
    """One network to analyse, with all that the analysis of its random twin has in common with it."""

    subject: Subject
    options: Options
    progress: Report
    provenance: Mapping[str, Any] | None
    constants: Profile | None
    announce: Announce | None
    ranks: Ranks

    def spectra(self) -> Spectra:
        subject, options = self.subject, self.options
        doing("a first look at network and data")
        looked = observing(subject.model, subject.data, options, self.constants, subject.forward, self.ranks)
        with looked as observed, self.ranks.together():
            doing("planning, which the first time compiles kernels")

            def with_provenance(spectra: Spectra) -> Spectra:
                facts = with_facts(spectra.provenance, subject.model, observed, self.provenance)
                return Spectra(spectra.values(), options.thresholds, facts)

            try:
                return with_provenance(analyzed(observed, options, self.progress, self.announce))
            except Interrupted as stopped:
                raise Interrupted(with_provenance(stopped.result), stopped.left) from None


def _both(run: _Run, twin: Twin | None) -> Spectra:
    """The network's spectra, and those of its random twin."""
    # Both before anything is run: that there is such a network, and that its data come again.
    twin = twin or random_twin(unwrapped(run.subject.model), twin_seed(run.options.seed))
    if not (stream := as_stream(run.subject.data)).repeatable:
        raise OptionError(
            f"the random twin needs the samples of the {stream.description} again: give a callable that "
            "returns a fresh iterator of batches"
        )
    subject = replace(run.subject, data=stream)
    spectra = replace(run, subject=subject, progress=half(run.progress, False)).spectra()
    fresh = replace(
        run,
        subject=replace(subject, model=twin.module),
        options=twins(run.options),
        progress=half(run.progress, True),
        provenance=facts_of_twin(run.provenance, twin),
        announce=None,
    )
    try:
        spectra.twin = fresh.spectra()
    except KeyboardInterrupt:  # the network's own layers are all there
        said = "interrupted before the random twin was done"
        facts = {**spectra.provenance, "notes": [*spectra.provenance["notes"], said]}
        raise Interrupted(Spectra(spectra.values(), spectra.thresholds, facts)) from None
    seen = [one.provenance["data_seen"] for one in (spectra, spectra.twin)]
    if stream.ordered and seen[0] != seen[1]:
        raise DataError(f"{stream.description}: other samples came for the random twin than for the network")
    return spectra


@door(PlanCall)
def plan(call: PlanCall) -> Plan:
    """What :func:`analyze` would run with the same arguments; nothing but a first look at shapes is run.

    Args:
        model, data, forward: as of :func:`analyze`.
        {options}
        alone: where torch.distributed is initialised, all its processes call this with the same arguments,
            and the plan is that of a work that they share; this one asks for itself.

    Raises:
        StreamspreadError: as :func:`analyze`, and for an iterator that can be read once.
    """
    check_flag("alone", call.alone)
    return plan_with(call, call, ranks=ranks_here(call.alone))


def plan_with(
    subject: Subject,
    options: Options,
    constants: Profile | None = None,
    *,
    timed: bool = False,
    ranks: Ranks = ALONE,
) -> Plan:
    """As :func:`plan`, with all options in one object; ``timed``: with how long it will take, for which some
    products and forwards are run; ``ranks``: that share the work."""
    if not (stream := as_stream(subject.data)).repeatable:
        raise OptionError(
            f"a plan would use up the first samples of the {stream.description}: give a callable that "
            "returns a fresh iterator of batches"
        )
    doing("a first look at network and data")
    looked = observing(subject.model, stream, options, constants, subject.forward, ranks)
    with ranks.together(), looked as observed:
        doing("measuring this machine, which the first time compiles kernels")
        observed = agreed(observed, options)
        return foreseen(observed, options) if timed else planned_alike(observed, options)
