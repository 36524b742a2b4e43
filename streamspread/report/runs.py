"""Stored results sorted by what they can be compared in: networks, numbers of images, depths, trainings."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from streamspread import store
from streamspread.errors import OptionError, StoreError
from streamspread.results.embedding import Embedding
from streamspread.results.spectrum import LayerSpectrum, Spectra

#: What follows a layer's name for the part of it that is observed; the name alone is the convolution.
PARTS = {"conv": "", "bn": ".bn", "relu": ".relu"}

_CONVOLUTION = re.compile(r"c\d+")
_COUNTED = re.compile(r", [\d,]+ (?:of [\d,]+ )?images")  # in the description of data
_SIZE = re.compile(r", at \d+x\d+")


class Difference(NamedTuple):
    """Why two runs cannot be compared: the fact, and what it is in either."""

    fact: str
    a: str
    b: str


class Training(NamedTuple):
    """How weights were trained: epochs, label smoothing, and further epochs whose weights were averaged; of
    all these the best one was kept."""

    epochs: int
    label_smoothing: float = 0.0
    averaged: int = 0


@dataclass(frozen=True)
class Run:
    """A stored result and what to call it. Equal names of files get their folders before them."""

    name: str
    path: Path
    spectra: Spectra

    @property
    def facts(self) -> Mapping[str, Any]:
        """The provenance; a file that was written from Python may have hardly any."""
        return self.spectra.provenance

    @property
    def part(self) -> str:
        """Which part of the study it belongs to; what ``run`` wrote counts as a network."""
        return str(self.facts.get("part") or "networks")

    @property
    def model(self) -> str:
        return str(self.facts.get("model") or self.name)

    @property
    def samples(self) -> int:
        return max((layer.samples for layer in self.spectra.values()), default=0)

    @property
    def data(self) -> str:
        """The data without how much of it: descriptions are "name, 5,000 of 50,000 images …, at 32x32"."""
        whole = str(self.facts.get("data") or "?")
        name = _COUNTED.split(whole)[0]
        size = _SIZE.search(whole)
        return name + (size[0] if size and size.start() >= len(name) else "")

    @property
    def note(self) -> Mapping[str, str]:
        """What the weights say of themselves; empty where they are random."""
        return self.facts.get("weights_note") or {}

    @property
    def accuracy(self) -> float | None:
        """The share of test images that the weights get right, as their training measured it."""
        try:
            return float(self.note["accuracy"])
        except (KeyError, ValueError):
            return None

    @property
    def training(self) -> Training | None:
        """How the weights were trained; no epochs for random ones; None where it is not known, or not told by
        these few numbers."""
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
    def network(self) -> tuple[str, str, str]:
        """What stays the same where only the number of images differs: plan, weights, data."""
        weights = self.facts.get("weights_sha256") or f"random {self.facts.get('seed')}"
        return str(self.facts.get("plan") or self.model), str(weights), self.data

    def layers(self, part: str = "conv") -> dict[str, LayerSpectrum]:
        """The layers of one part (a key of PARTS) by the name without its suffix, in network order.

        Where no convolution was observed itself, and in networks of other names, all layers are of the first
        part, by their whole names.
        """
        split = self.depth > 0
        places = {name: _part(name) if split else (name, "conv") for name in self.spectra}
        return {stem: self.spectra[name] for name, (stem, found) in places.items() if found == part}

    @property
    def convolutions(self) -> tuple[str, ...]:
        """c1 … cn, all convolutions of a network built from a plan, observed or not; none for others."""
        steps = re.split(r"[ ,]+", str(self.facts.get("plan") or ""))
        planned = sum(step.isdecimal() for step in steps)
        return tuple(f"c{i}" for i in range(1, (planned or self.depth) + 1))

    @property
    def depth(self) -> int:
        """The number of convolutions that were observed, by their names c1, c2, …"""
        return sum(_CONVOLUTION.fullmatch(name) is not None for name in self.spectra)


def short_names(runs: Sequence[Run]) -> dict[str, Run]:
    """The runs by the name of their model, or by their own where several have the same model."""
    counts = Counter(run.model for run in runs)
    names = [run.model if counts[run.model] == 1 else run.name for run in runs]
    if len(set(names)) < len(names):  # a file that is called as another's model
        names = [run.name for run in runs]
    return dict(zip(names, runs, strict=True))


def layer_names(found: Iterable[Iterable[str]]) -> list[str]:
    """The names of all, each once: c1, c2, … by their numbers, then others as the network with most layers
    has them, gap last."""
    longest_first = sorted((list(names) for names in found), key=len, reverse=True)
    return sorted(dict.fromkeys(name for layers in longest_first for name in layers), key=_place)


def _part(name: str) -> tuple[str, str]:
    """(c1, relu) of c1.relu, and (name, conv) of whatever is no part of such a convolution."""
    for part, suffix in PARTS.items():
        stem = name.removesuffix(suffix)
        if suffix and stem != name and _CONVOLUTION.fullmatch(stem):
            return stem, part
    return name, "conv"


def _place(name: str) -> tuple[int, int]:
    """Where a layer stands among others; equal where their own order tells."""
    stem = name.split(".")[0]
    if _CONVOLUTION.fullmatch(stem):
        return 0, int(stem[1:])
    return (2, 0) if name == "gap" else (1, 0)


def growth(runs: Sequence[Run], layer: str, tau: float) -> float | None:
    """By which share K(τ) grows where N doubles, over about the last doubling of runs with ascending N.

    That is from the last run with at most half as many images as the last one: K is a whole number, and from
    a nearer one a step of 1 would look like growth. None where there are not two runs, or where either K is
    not one value.
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
    """Why K of two runs cannot be compared; empty where it can."""
    found = []
    if a.data != b.data:
        found.append(Difference("data", a.data, b.data))
    if a.samples != b.samples:
        found.append(Difference("samples", f"{a.samples:,}", f"{b.samples:,}"))
    if not set(a.spectra) & set(b.spectra):
        found.append(Difference("layers", ", ".join(a.spectra), ", ".join(b.spectra)))
    return found


@dataclass(frozen=True)
class Collection:
    """All results of a report.

    runs: in the order given. embeddings: by the name of their file. embedding_paths: as they were given, by
    the same names.
    """

    runs: tuple[Run, ...]
    embeddings: Mapping[str, Embedding]
    embedding_paths: Mapping[str, Path] = field(default_factory=dict)

    @property
    def networks(self) -> tuple[Run, ...]:
        """The runs to be shown side by side: of each network, those whose layers no other run has from more
        images; of those that the study made for K over N, only where there is no other."""
        whole = {run.network for run in self.runs if run.part == "networks"}
        shown = [
            run
            for run in self.runs
            if run.part == "networks" or (run.part == "samples" and run.network not in whole)
        ]
        return tuple(run for run in shown if not any(_outdoes(other, run) for other in shown))

    @property
    def conflicts(self) -> list[tuple[str, str, list[Difference]]]:
        """Networks that cannot be compared with the first one: both names, and why."""
        named = list(short_names(self.networks).items())
        found = [(named[0][0], name, differences(named[0][1], run)) for name, run in named[1:]]
        return [conflict for conflict in found if conflict[2]]

    @property
    def over_samples(self) -> dict[str, tuple[Run, ...]]:
        """Networks analysed with several numbers of images, ascending, by the name of the largest; of runs
        with the same number, the one with most layers."""
        groups: dict[tuple[str, str, str], dict[int, Run]] = {}
        for run in sorted(self.runs, key=lambda run: -len(run.spectra)):
            if run.part in ("networks", "samples"):
                groups.setdefault(run.network, {}).setdefault(run.samples, run)
        ordered = (tuple(group[n] for n in sorted(group)) for group in groups.values())
        return {runs[-1].name: runs for runs in ordered if len(runs) > 1}

    @property
    def depths(self) -> tuple[Run, ...]:
        """Networks of different depths, shallow ones first."""
        return tuple(sorted((run for run in self.runs if run.part == "depth"), key=lambda run: run.depth))

    @property
    def trainings(self) -> dict[Training, tuple[Run, ...]]:
        """Networks by how they were trained, short trainings first; with the results of the same models as
        they are otherwise studied, where these are other networks."""
        trained = [run for run in self.runs if run.part == "training"]
        models = {run.model for run in trained}
        also = [run for run in self.networks if run.part == "networks" and run.model in models]
        found: dict[Training, dict[tuple[str, str, str], Run]] = {}
        for run in trained + also:
            if run.training is not None:
                found.setdefault(run.training, {}).setdefault(run.network, run)
        return {training: tuple(found[training].values()) for training in sorted(found)}

    @property
    def thresholds(self) -> tuple[float, ...]:
        """All thresholds that any run was made for, ascending."""
        return tuple(sorted({tau for run in self.runs for tau in run.spectra.thresholds}))


def _outdoes(a: Run, b: Run) -> bool:
    """Whether a has all that b has of the same network, from more images."""
    return a.network == b.network and a.samples > b.samples and set(b.spectra) <= set(a.spectra)


def collect(paths: Sequence[str | Path]) -> Collection:
    """Read results of either kind.

    Raises:
        OptionError: no file, or no file with spectra.
        StoreError: a file that is none of ours, or without layers.
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
            runs.append(Run(name, Path(path), result))
    if not runs:
        raise OptionError("only embeddings given: name at least one .arrow file that run or study wrote")
    return Collection(tuple(runs), embeddings, embedding_paths)


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
