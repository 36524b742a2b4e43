"""The results of a report, and the runs among them that stand together."""

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
from streamspread.reports import text
from streamspread.reports.run import CONVOLUTION, Difference, Run, differences, in_view
from streamspread.reports.texts import Texts
from streamspread.results.embedding import Embedding
from streamspread.results.history import History
from streamspread.results.spectra import LayerSpectrum, Spectra
from streamspread.results.views import WHOLE

_FEWEST_CHECKPOINTS = 3  # two are a comparison


@dataclass(frozen=True)
class Collection:
    """All results of a report.

    Attributes:
        runs: in the order given.
        embeddings: by the names of their files. ``embedding_paths``: as they were given, by the same names.
        histories: of spread over trainings, by the names of their files.
    """

    runs: tuple[Run, ...]
    embeddings: Mapping[str, Embedding] = field(default_factory=dict)
    embedding_paths: Mapping[str, Path] = field(default_factory=dict)
    histories: Mapping[str, History] = field(default_factory=dict)

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

        def has_all(a: Run, b: Run) -> bool:
            return a.network == b.network and a.samples > b.samples and set(b.spectra) <= set(a.spectra)

        return tuple(run for run in shown if not any(has_all(other, run) for other in shown))

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
    def thresholds(self) -> tuple[float, ...]:
        """All thresholds that any run was asked for, ascending."""
        return tuple(sorted({tau for run in self.runs for tau in run.spectra.thresholds}))


def collect(paths: Sequence[str | Path]) -> Collection:
    """Read results: spectra, embeddings and histories alike.

    Raises:
        OptionError: no file, or embeddings alone.
        StoreError: a file that cannot be read as a result, or that holds nothing.
    """
    if not paths:
        raise OptionError("no result given: name the .arrow files that run, study or embed wrote")
    runs: list[Run] = []
    embeddings: dict[str, Embedding] = {}
    embedding_paths: dict[str, Path] = {}
    histories: dict[str, History] = {}
    for name, path in zip(_names([Path(path) for path in paths]), map(Path, paths), strict=True):
        if store.is_history(path):
            histories[name] = store.read_history(path)
            if not histories[name].readings:
                raise StoreError(
                    f"{str(path)!r} holds no look yet: give one of a training that was looked at"
                )
            continue
        result = store.read_any(path)
        if not result:
            raise StoreError(f"{str(path)!r} holds no layers: make it again with run")
        if isinstance(result, Embedding):
            embeddings[name], embedding_paths[name] = result, path
        else:
            runs += _runs(name, path, result)
            if result.twin:
                twins = _runs(f"{name}, random", path, result.twin)
                runs += [replace(run, is_twin=True) for run in twins]
    if embeddings and not runs:
        raise OptionError("only embeddings given: name at least one .arrow file that run or study wrote")
    return Collection(tuple(runs), embeddings, embedding_paths, histories)


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


def _place(name: str) -> tuple[int, int]:
    """A key that sorts layers; equal for those that keep the order they are in."""
    stem = name.split(".")[0]
    if CONVOLUTION.fullmatch(stem):
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


class Series(NamedTuple):
    """A run by its number in the collection, and what it is called among those that it stands beside."""

    run: int
    name: str


class SeriesGroup(NamedTuple):
    """Runs that one chart shows together."""

    name: str
    series: tuple[Series, ...]


def series_of(collection: Collection, runs: Iterable[tuple[str, Run]]) -> tuple[Series, ...]:
    """Runs of the collection as series of these names."""
    number = {run.name: index for index, run in enumerate(collection.runs)}
    return tuple(Series(number[run.name], name) for name, run in runs)


def networks(collection: Collection, texts: Texts) -> list[SeriesGroup]:
    """All networks; where there are only runs for a comparison, such as of depths, these."""
    shown = series_of(collection, short_names(collection.networks or collection.runs).items())
    # Twins come last, so that networks have the colours that they have where twins are not shown.
    return [SeriesGroup("", tuple(sorted(shown, key=lambda one: collection.runs[one.run].is_twin)))]


def each_network(collection: Collection, texts: Texts) -> list[SeriesGroup]:
    """Each network alone."""
    shown = series_of(collection, short_names(collection.networks or collection.runs).items())
    return [SeriesGroup(one.name, (one,)) for one in shown]


def numbers_of_samples(collection: Collection, texts: Texts) -> list[SeriesGroup]:
    """Each network's runs of several numbers of samples, ascending."""
    return [
        SeriesGroup(name, series_of(collection, ((text.count(run.samples), run) for run in runs)))
        for name, runs in collection.over_samples.items()
    ]


def checkpoint_series(collection: Collection, texts: Texts) -> list[SeriesGroup]:
    """Each model's checkpoints, in order."""
    return [
        SeriesGroup(model, series_of(collection, runs.items()))
        for model, runs in checkpoints(collection).items()
    ]


def checkpoints(collection: Collection) -> dict[str, dict[str, Run]]:
    """Three runs or more of one model over the same data, of different weights, by model; of several such
    series, by their first and last run too.

    Within a model they go by how long they were trained, where that is known of all and differs; else by
    their own names, in which 20 comes before 100.
    """
    found: dict[tuple[Any, ...], list[Run]] = {}
    for run in collection.runs:
        if run.study_part in ("networks", "training") and not run.is_twin:
            key = (run.model, run.facts.get("plan"), run.data.seen or run.data.name, run.samples)
            found.setdefault(key, []).append(run)
    several = [runs for runs in found.values() if len({run.network for run in runs}) >= _FEWEST_CHECKPOINTS]
    counts = Counter(runs[0].model for runs in several)
    named = {}
    for series in map(_in_order, several):
        first, *_, last = series.values()
        model = first.model
        named[model if counts[model] == 1 else f"{model}: {first.name} … {last.name}"] = series
    return named


def _in_order(runs: list[Run]) -> dict[str, Run]:
    trained = {run.name: run.training.epochs + run.training.averaged for run in runs if run.training}
    if len(trained) == len(runs) == len(set(trained.values())):
        return {f"{trained[run.name]:,}": run for run in sorted(runs, key=lambda run: trained[run.name])}
    return {run.name: run for run in sorted(runs, key=_natural)}


def _natural(run: Run) -> list[tuple[bool, int | str]]:
    """A key in which numbers within a name count as numbers."""
    words = re.split(r"(\d+)", run.name)
    return [(word.isdecimal(), int(word) if word.isdecimal() else word) for word in words]
