"""The tables of a report, for the page and Markdown alike, and sections of it that other rooms have."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from streamspread.reports import text
from streamspread.reports.chart import TAU
from streamspread.reports.collection import Collection, growth, layer_names, short_names
from streamspread.reports.comparison_tables import classes_table
from streamspread.reports.run import Run
from streamspread.reports.spectra_table import closed_line, limited_line
from streamspread.reports.table import Cell, Column, Table, ThresholdCell
from streamspread.reports.texts import Texts, training_label
from streamspread.results.metrics import metric_names, metrics_of
from streamspread.results.spectra import LayerSpectrum
from streamspread.system.registry import Registry


class TitledTable(NamedTuple):
    """``name``: of the files that the page keeps the table as."""

    title: str
    name: str
    table: Table


@dataclass(frozen=True)
class Section:
    """A section beside those that every report has.

    Attributes:
        name: its id on the page. ``title``: the key of its title in the texts.
        shown: whether there is anything to see in these results. ``tables``: what there is to see.
        note: the key of a text on where the section comes from.
    """

    name: str
    title: str
    note: str
    shown: Callable[[Collection], bool]
    tables: Callable[[Collection, Texts], list[TitledTable]]


SECTIONS: Registry[Section] = Registry("streamspread.*.sections", "SECTION")


def sections(collection: Collection) -> list[Section]:
    """The sections of other rooms that have something to show."""
    return [section for _, section in SECTIONS.items() if section.shown(collection)]


class Cells(NamedTuple):
    """How cells of K are made: as texts at the thresholds of the results; on a page, at the threshold that
    its reader chooses, which the script writes anew."""

    on_page: bool = False

    def thresholds(self, runs: Iterable[Run]) -> list[tuple[str, float]]:
        """The thresholds that there are columns for, ascending, behind how each is written."""
        if self.on_page:
            return [("τ", TAU)]
        taus = sorted({tau for run in runs for tau in run.spectra.thresholds})
        return list(zip(text.fractions(taus), taus, strict=True))

    def cell(self, kind: str, run: Run, layer: LayerSpectrum | None, tau: float) -> Cell:
        """K, its share of D (``spread``), both (``share``), its share of K at most (``filled``), or its
        estimate; – where there is no such layer."""
        if layer is None:
            return "–"
        k = text.interval(layer.components(tau))
        k += "†" if self.on_page and layer.limited_by_samples(tau) else ""
        spread = text.percent(layer.spread(tau))
        texts = {"k": k, "spread": spread, "share": f"{k} ({spread})"}
        texts |= {"filled": text.filled(layer, tau), "estimate": text.estimate(layer, tau)}
        return ThresholdCell(texts[kind], kind, run.name, layer.layer) if self.on_page else texts[kind]

    def growth(self, runs: Sequence[Run], layer: str, tau: float) -> Cell:
        """By how much K grows per doubling of the samples, at the end."""
        share = growth(runs, layer, tau)
        written = "–" if share is None else text.growth(share)
        if not self.on_page:
            return written
        return ThresholdCell(written, "growth", [run.name for run in runs], layer)

    def notes(
        self, runs: Mapping[str, Sequence[LayerSpectrum]], taus: Sequence[float], texts: Texts
    ) -> list[str]:
        """What K of these layers is worth, a line each; ``runs``: the layers by their runs' names."""
        layers = [layer for run in runs.values() for layer in run]
        estimated = [texts["estimate_means"]] if _has_estimates(layers, taus) else []
        if self.on_page:
            return [texts["live_note"], *estimated]
        return [*limited_line(runs, taus, texts), *estimated, closed_line(runs, taus, texts)]


def networks(collection: Collection, texts: Texts) -> Table:
    """What was analysed: a row per network; without columns of which nothing is known."""
    unknown = texts["unknown"]
    rows = [
        [
            name,
            str(run.facts.get("plan") or unknown).replace(",", " "),
            unknown if run.training is None else training_label(run.training, texts),
            "–" if run.accuracy is None else f"{100 * run.accuracy:.2f} %",
            text.count(run.samples),
            run.data.name,
            str(run.facts.get("card") or run.facts.get("cpu") or run.facts.get("device") or unknown),
        ]
        for name, run in short_names(collection.networks).items()
    ]
    keys = ("network", "plan", "training_note", "accuracy", "images", "data", "device")
    table = Table.of_rows([texts[key] for key in keys], rows, words=(0, 1, 2, 5, 6))
    return Table([column for column in table.columns if {*column.cells} - {"–", unknown}])


def conflicts(collection: Collection, texts: Texts) -> list[str]:
    """Why some of the networks cannot be compared with the first; a line for each of them."""
    lines = []
    for name_a, name_b, differences in collection.conflicts:
        reasons = "; ".join(texts[f"compare_{d.what}"].format(a=d.a, b=d.b) for d in differences)
        lines.append(f"{name_a}, {name_b}: {reasons}")
    return lines


def shares(collection: Collection, texts: Texts, tau: float, cells: Cells) -> Table:
    """K(τ) and K(τ)/D, and the most that K can be: a row per layer, columns for each network."""
    named = short_names(collection.networks)
    names, by_run = _side_by_side(named.values())
    columns = [Column(texts["layer"], names, left=True)]
    ceilings = [
        ["–" if layer is None else text.count(layer.ceiling) for layer in layers] for layers in by_run
    ]
    shown: dict[str, list[LayerSpectrum]] = {}
    for place, ((name, run), layers) in enumerate(zip(named.items(), by_run, strict=True)):
        shown[name] = [layer for layer in layers if layer is not None]
        columns.append(
            Column(f"{name}, {_counted(run, texts)}", [cells.cell("share", run, one, tau) for one in layers])
        )
        if _has_estimates(shown[name], [tau]):
            estimates = [cells.cell("estimate", run, one, tau) for one in layers]
            columns.append(Column(f"{name}, {texts['estimate']}", estimates))
        # One column says it for all networks, where it is the same.
        if cells.on_page and (place == len(named) - 1 or any(other != ceilings[0] for other in ceilings)):
            columns.append(Column(texts["ceiling"], ceilings[place]))
    return Table(columns, cells.notes(shown, [tau], texts))


def _side_by_side(runs: Iterable[Run]) -> tuple[list[str], list[list[LayerSpectrum | None]]]:
    """The names of all layers of some runs, and each run's own in this order, None where it has none."""
    by_run = [run.layers() for run in runs]
    names = layer_names(by_run)
    return names, [[layers.get(name) for name in names] for layers in by_run]


def _counted(run: Run, texts: Texts) -> str:
    """N images; where places count as samples, the number of these too, as both are called N elsewhere."""
    images = texts["caption_images"].format(images=text.count(run.samples))
    most = max((layer.samples for layer in run.spectra.values()), default=0)
    if most == run.samples:
        return images
    return f"{images}, {texts['at_most_samples'].format(n=text.count(most))}"


def over_samples(runs: Sequence[Run], texts: Texts, cells: Cells) -> Table:
    """K(τ) of every layer for every number of images, and its growth per doubling at the end."""
    names, by_run = _side_by_side(runs)
    rows: list[list[Cell]] = []
    for written, tau in cells.thresholds(runs):
        for name, *layers in zip(names, *by_run, strict=True):
            ks = [cells.cell("k", run, layer, tau) for run, layer in zip(runs, layers, strict=True)]
            rows.append([name, *([] if cells.on_page else [written]), *ks, cells.growth(runs, name, tau)])
    numbers = [f"N = {text.count(run.samples)}" for run in runs]
    header = [texts["layer"], *([] if cells.on_page else ["τ"]), *numbers, texts["growth"]]
    return Table.of_rows(header, rows, notes=[texts["live_note"]] if cells.on_page else [])


def numbers(run: Run, texts: Texts, cells: Cells) -> Table:
    """K of a run at every threshold, and what it is out of: a row per layer."""
    layers = list(run.spectra.values())
    columns = [
        Column(texts["layer"], [layer.layer for layer in layers], left=True),
        Column(texts["shape"], [text.shape(layer.shape) for layer in layers], left=True),
        Column("D", [text.count(layer.dim) for layer in layers]),
        Column(texts["images"], [text.count(layer.seen) for layer in layers]),
    ]
    if any(layer.seen != layer.samples for layer in layers):
        columns.append(Column(texts["samples"], [text.count(layer.samples) for layer in layers]))
    columns.append(Column(texts["ceiling"], [text.count(layer.ceiling) for layer in layers]))
    for written, tau in cells.thresholds([run]):
        heads = {
            "k": f"K({written})",
            "spread": f"K({written})/D",
            "filled": texts["filled"].format(tau=written),
        }
        if _has_estimates(layers, [tau]):
            heads["estimate"] = f"K({written}), {texts['estimate']}"
        columns += [
            Column(head, [cells.cell(kind, run, layer, tau) for layer in layers])
            for kind, head in heads.items()
        ]
    columns.append(Column(texts["method"], [text.method(layer) for layer in layers], left=True))
    return Table(columns, cells.notes({run.name: layers}, run.spectra.thresholds, texts))


def of_run(run: Run, texts: Texts) -> list[TitledTable]:
    """All metrics of a run, and what labels tell of its layers, where they tell anything."""
    layers = list(run.spectra.values())
    classes = classes_table(layers, run.spectra.thresholds, texts)
    tables = [TitledTable(texts["metrics"], f"{run.name}-metrics", _metrics(layers, texts))]
    if classes.columns:
        tables.append(TitledTable(texts["classes_title"], f"{run.name}-classes", classes))
    return tables


def _metrics(layers: Sequence[LayerSpectrum], texts: Texts) -> Table:
    """All metrics: a row per layer."""
    by_layer = [metrics_of(layer) for layer in layers]
    columns = [Column(texts["layer"], [layer.layer for layer in layers], left=True)]
    for name, label in metric_labels(texts).items():
        columns.append(Column(label, [text.metric(name, metrics[name]) for metrics in by_layer]))
    lacking = any(
        not layer.complete and any(map(math.isnan, metrics.values()))
        for layer, metrics in zip(layers, by_layer, strict=True)
    )
    return Table(columns, [texts["metrics_missing"]] if lacking else [])


def metric_labels(texts: Texts) -> dict[str, str]:
    """What the metrics are called; one is shown by its own name until the texts have one for it."""
    return {name: texts.get(f"metric_{name}", name.replace("_", " ")) for name in metric_names()}


def commands(collection: Collection, texts: Texts) -> list[str]:
    """The commands that made these results, each once, in the order of the results."""
    provenances = [run.facts for run in collection.runs]
    provenances += [embedding.provenance for embedding in collection.embeddings.values()]
    return list(dict.fromkeys(command(facts, texts) for facts in provenances))


def command(facts: Mapping[str, Any], texts: Texts) -> str:
    """The command that made one result, from the facts of its provenance."""
    typed = facts.get("command")
    if not typed:
        return texts["python_call"]
    return typed if isinstance(typed, str) else shlex.join(typed)


def _has_estimates(layers: Iterable[LayerSpectrum], taus: Sequence[float]) -> bool:
    return any(layer.estimate(tau) is not None for layer in layers for tau in taus)
