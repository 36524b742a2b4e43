"""Stored results, grouped by what can be compared: networks, numbers of images, depths, trainings."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from streamspread import store
from streamspread.errors import OptionError, StoreError
from streamspread.reports.data import Data, Difference
from streamspread.results.embedding import Embedding
from streamspread.results.spectra import LayerSpectrum, Spectra
from streamspread.results.views import WHOLE

#: The parts of a layer after which it can be observed, and the suffixes of their taps' names.
LAYER_PARTS = {"conv": "", "bn": ".bn", "relu": ".relu"}

_CONVOLUTION = re.compile(r"c\d+")


class Training(NamedTuple):
    """How weights were trained, as far as the report tells trainings apart. The best of all epochs was kept.

    Attributes:
        epochs: 0 for random weights. ``label_smoothing``: of the loss.
        averaged: further epochs after which the mean of their weights was taken.
    """

    epochs: int
    label_smoothing: float = 0.0
    averaged: int = 0


@dataclass(frozen=True)
class Run:
    """A stored result, or what one has of a view, and its name: its file's, with the folder's before it where
    two are the same, and the view's behind it, unless that is the whole. Layers go by their own names.
    ``is_twin``: it is of the fresh weights that a network was analysed beside."""

    name: str
    path: Path
    spectra: Spectra
    view: str = WHOLE
    is_twin: bool = False

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts of its provenance; a file that was written from Python may have hardly any."""
        return self.spectra.provenance

    @property
    def study_part(self) -> str:
        """The part of the study that it belongs to; a result of ``run`` counts as one of the networks."""
        return str(self.facts.get("part") or "networks")

    @property
    def model(self) -> str:
        """The network's name, and the view; that of the file where it is not known."""
        model = self.facts.get("model")
        return in_view(str(model), self.view) if model else self.name

    @property
    def samples(self) -> int:
        """N, the number of images."""
        return max((layer.seen for layer in self.spectra.values()), default=0)

    @property
    def data(self) -> Data:
        """What is known of its data."""
        seen = self.facts.get("data_seen")
        return Data(str(self.facts.get("data") or "?"), str(seen) if seen else None)

    @property
    def note(self) -> Mapping[str, str]:
        """What the file of the weights says of their training; empty where they are random."""
        return self.facts.get("weights_note") or {}

    @property
    def accuracy(self) -> float | None:
        """The share of test images that are classified correctly, as the training measured it; None where it
        is not known."""
        try:
            return float(self.note["accuracy"])
        except (KeyError, ValueError):
            return None

    @property
    def training(self) -> Training | None:
        """How the weights were trained; None where it is not known, or not told by these few numbers."""
        if self.facts.get("weights") == "none":
            return Training(0)
        try:
            epochs, before = int(self.note["epochs"]), int(self.note.get("epochs_before", 0))
            smoothing = float(self.note["label_smoothing"])
            if float(self.note.get("label_smoothing_before", smoothing)) != smoothing:
                return None
        except (KeyError, ValueError):
            return None
        if "averaged" in self.note.get("schedule", ""):
            return Training(before, smoothing, epochs)
        return Training(before + epochs, smoothing)

    @property
    def network(self) -> tuple[str, str, str, str]:
        """Plan, weights, data and view: runs in which these are the same differ in the number of images at
        most. Data that nothing identifies are those of this run alone."""
        weights = self.facts.get("weights_sha256") or f"random {self.facts.get('seed')}"
        if self.facts.get("weights") is None:  # a module from Python, which has no file
            weights = self.facts.get("parameters_sha256") or weights
        data = (
            self.data.name if self.data.identified else self.data.seen or f"{self.data.name} of {self.name}"
        )
        return str(self.facts.get("plan") or self.model), str(weights), data, self.view

    def layers(self, part: str = "conv") -> dict[str, LayerSpectrum]:
        """The layers observed after one part (a key of LAYER_PARTS), by their names without its suffix, in
        network order.

        Where no convolution itself was observed, as in networks whose layers have other names, all layers
        count as convolutions, by their whole names.
        """
        split = self.depth > 0
        by_name = {name: _stem_and_part(name) if split else (name, "conv") for name in self.spectra}
        return {stem: self.spectra[name] for name, (stem, own) in by_name.items() if own == part}

    @property
    def convolutions(self) -> tuple[str, ...]:
        """c1 … cn: all convolutions of a network that is built from a plan, also those not observed. Without
        a plan, as many as were observed."""
        steps = re.split(r"[ ,]+", str(self.facts.get("plan") or ""))
        planned = sum(step.isdecimal() for step in steps)
        return tuple(f"c{i}" for i in range(1, (planned or self.depth) + 1))

    @property
    def depth(self) -> int:
        """The number of layers named c1, c2, …, which are convolutions of a network built from a plan."""
        return sum(_CONVOLUTION.fullmatch(name) is not None for name in self.spectra)


def short_names(runs: Sequence[Run]) -> dict[str, Run]:
    """The runs by their models' names; by their own names where several have the same model."""
    counts = Counter(run.model for run in runs)
    names = [run.model if counts[run.model] == 1 else run.name for run in runs]
    if len(set(names)) < len(names):  # a file has the name of another's model
        names = [run.name for run in runs]
    return dict(zip(names, runs, strict=True))


def layer_names(networks: Iterable[Iterable[str]]) -> list[str]:
    """The names of several networks' layers, each once, in an order that suits all: c1, c2, … by number, then
    others in the order of the network with most layers, then gap."""
    longest_first = sorted((list(names) for names in networks), key=len, reverse=True)
    return sorted(dict.fromkeys(name for layers in longest_first for name in layers), key=_place)


def _stem_and_part(name: str) -> tuple[str, str]:
    """(c1, relu) for c1.relu; (name, conv) for any name that is no part of a convolution c1, c2, …"""
    for part, suffix in LAYER_PARTS.items():
        stem = name.removesuffix(suffix)
        if suffix and stem != name and _CONVOLUTION.fullmatch(stem):
            return stem, part
    return name, "conv"


def _place(name: str) -> tuple[int, int]:
    """A key that sorts layers; equal for those that keep the order they are in."""
    stem = name.split(".")[0]
    if _CONVOLUTION.fullmatch(stem):
        return 0, int(stem[1:])
    return (2, 0) if name == "gap" else (1, 0)


def growth(runs: Sequence[Run], layer: str, tau: float) -> float | None:
    """The share by which K(τ) grows when N doubles, measured over about the last doubling.

    The last run is compared with the latest one of at most half as many images: K is a whole number, and
    between nearer runs a step of 1 would look like growth.

    Args:
        runs: of one network, with ascending N.

    Returns:
        The share, as 0.05 for 5 %; None where fewer than two runs have the layer, or where either K is not
        one value.
    """
    having = [run for run in runs if layer in run.spectra]
    if len(having) < 2:
        return None
    last = having[-1]
    first = next((run for run in reversed(having) if 2 * run.samples <= last.samples), having[-2])
    before, after = (run.spectra[layer].components(tau) for run in (first, last))
    if not (before.closed and after.closed and before.low):
        return None
    return (after.low / before.low) ** (1 / math.log2(last.samples / first.samples)) - 1


def differences(a: Run, b: Run) -> list[Difference]:
    """Why the K of two runs cannot be compared; empty where they can."""
    data = a.data.difference(b.data, same_number=a.samples == b.samples)
    reasons = [data] if data else []
    if a.samples != b.samples:
        reasons.append(Difference("samples", f"{a.samples:,}", f"{b.samples:,}"))
    if not set(a.spectra) & set(b.spectra):
        reasons.append(Difference("layers", ", ".join(a.spectra), ", ".join(b.spectra)))
    return reasons


@dataclass(frozen=True)
class Collection:
    """All results of a report.

    Attributes:
        runs: in the order given.
        embeddings: by the names of their files. ``embedding_paths``: as they were given, by the same names.
    """

    runs: tuple[Run, ...]
    embeddings: Mapping[str, Embedding]
    embedding_paths: Mapping[str, Path] = field(default_factory=dict)

    @property
    def networks(self) -> tuple[Run, ...]:
        """The runs to be shown side by side: those of whole networks, and runs for K over N only where their
        network has no other. A run is left out where another has all its layers from more images."""
        whole = {run.network for run in self.runs if run.study_part == "networks"}
        shown = [
            run
            for run in self.runs
            if run.study_part == "networks" or (run.study_part == "samples" and run.network not in whole)
        ]
        return tuple(run for run in shown if not any(_outdoes(other, run) for other in shown))

    @property
    def conflicts(self) -> list[tuple[str, str, list[Difference]]]:
        """Networks that cannot be compared with the first one: its name, theirs, and why."""
        named = list(short_names(self.networks).items())
        compared = [(named[0][0], name, differences(named[0][1], run)) for name, run in named[1:]]
        return [(first, name, reasons) for first, name, reasons in compared if reasons]

    @property
    def over_samples(self) -> dict[str, tuple[Run, ...]]:
        """Networks with runs of several numbers of images: the runs in ascending order, by the name of the
        largest. Of runs with the same number, the one with most layers is taken."""
        groups: dict[tuple[str, ...], dict[int, Run]] = {}
        for run in sorted(self.runs, key=lambda run: -len(run.spectra)):
            if run.study_part in ("networks", "samples"):
                groups.setdefault(run.network, {}).setdefault(run.samples, run)
        ordered = (tuple(group[n] for n in sorted(group)) for group in groups.values())
        return {runs[-1].name: runs for runs in ordered if len(runs) > 1}

    @property
    def depths(self) -> tuple[Run, ...]:
        """Networks of different depths, shallow ones first."""
        return tuple(
            sorted((run for run in self.runs if run.study_part == "depth"), key=lambda run: run.depth)
        )

    @property
    def trainings(self) -> dict[Training, tuple[Run, ...]]:
        """Networks by their training, short trainings first. Besides the runs made for this comparison, it
        has the models' usual networks, where their weights are others."""
        trained = [run for run in self.runs if run.study_part == "training"]
        models = {run.model for run in trained}
        also = [run for run in self.networks if run.study_part == "networks" and run.model in models]
        groups: dict[Training, dict[tuple[str, ...], Run]] = {}
        for run in trained + also:
            if run.training is not None and not run.is_twin:
                groups.setdefault(run.training, {}).setdefault(run.network, run)
        return {training: tuple(groups[training].values()) for training in sorted(groups)}

    @property
    def thresholds(self) -> tuple[float, ...]:
        """All thresholds that any run was asked for, ascending."""
        return tuple(sorted({tau for run in self.runs for tau in run.spectra.thresholds}))


def _outdoes(a: Run, b: Run) -> bool:
    """Whether a has all layers of b, of the same network, from more images."""
    return a.network == b.network and a.samples > b.samples and set(b.spectra) <= set(a.spectra)


def collect(paths: Sequence[str | Path]) -> Collection:
    """Read results, spectra and embeddings alike.

    Raises:
        OptionError: no file, or no file with spectra.
        StoreError: a file that cannot be read as a result, or that holds no layers.
    """
    if not paths:
        raise OptionError("no result given: name the .arrow files that run, study or embed wrote")
    runs: list[Run] = []
    embeddings: dict[str, Embedding] = {}
    embedding_paths: dict[str, Path] = {}
    for name, path in zip(_names([Path(path) for path in paths]), paths, strict=True):
        result = store.read_any(path)
        if not result:
            raise StoreError(f"{str(path)!r} holds no layers: make it again with run")
        if isinstance(result, Embedding):
            embeddings[name], embedding_paths[name] = result, Path(path)
        else:
            runs += _runs(name, Path(path), result)
            if result.twin:
                twins = _runs(f"{name}, random", Path(path), result.twin)
                runs += [replace(run, is_twin=True) for run in twins]
    if not runs:
        raise OptionError("only embeddings given: name at least one .arrow file that run or study wrote")
    return Collection(tuple(runs), embeddings, embedding_paths)


def _runs(name: str, path: Path, spectra: Spectra) -> Iterable[Run]:
    """A run for each view."""
    for view, own in by_view(spectra).items():
        yield Run(in_view(name, view), path, Spectra(own, spectra.thresholds, spectra.provenance), view)


def by_view(spectra: Spectra) -> dict[str, list[LayerSpectrum]]:
    """The layers by their own names, for each view that those with places were seen in; those without are in
    all of them."""
    alike = [s.layer for s in spectra.values() if s.view == WHOLE and len(s.shape) == 1]
    views = dict.fromkeys(s.view for s in spectra.values() if s.layer not in alike) or (WHOLE,)
    return {
        view: [replace(s, layer=s.own_name) for s in spectra.values() if s.view == view or s.layer in alike]
        for view in views
    }


def in_view(name: str, view: str) -> str:
    return name if view == WHOLE else f"{name}, {view}"


def _names(paths: Sequence[Path]) -> Iterable[str]:
    """The files' names without suffix; where some are the same, with their folders and then numbers."""
    counts = Counter(path.stem for path in paths)
    longer = [
        path.stem if counts[path.stem] == 1 else f"{path.resolve().parent.name}/{path.stem}" for path in paths
    ]
    seen: Counter[str] = Counter()
    for name in longer:
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name} ({seen[name]})"
