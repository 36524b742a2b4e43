"""Tables that follow the page's threshold: their cells hold what the script needs to write them anew."""

from __future__ import annotations

import json
from collections.abc import Sequence

from streamspread.reports import summary, text
from streamspread.reports.claims import TAU
from streamspread.reports.figure import Texts
from streamspread.reports.runs import Collection, Run, short_names
from streamspread.reports.summary import Table
from streamspread.results.spectra import LayerSpectrum


class Live(str):
    """A cell's text at the first threshold. ``of``: what the script writes at others, as JSON: what it is,
    the run's or runs' names, and the layer's."""

    of: str

    @classmethod
    def of_layer(cls, what: str, runs: str | Sequence[str], layer: str, written: str) -> Live:
        cell = cls(written)
        cell.of = json.dumps([what, runs, layer], ensure_ascii=False)
        return cell


def shares(collection: Collection, texts: Texts) -> Table:
    """K(τ), K(τ)/D and the most that K can be: a row per layer, columns for each network."""
    named = short_names(collection.networks)
    layers, found = summary.beside(named.values())
    ceilings = [["–" if layer is None else text.count(layer.ceiling) for layer in own] for own in found]
    header, columns = [texts["layer"]], [layers]
    for number, ((name, run), own) in enumerate(zip(named.items(), found, strict=True)):
        header.append(f"{name}, {_counted(run, texts)}")
        columns.append(["–" if layer is None else _cell("share", run, layer) for layer in own])
        # One column says it for all networks, where it is the same.
        if number == len(named) - 1 or any(other != ceilings[0] for other in ceilings):
            header.append(texts["ceiling"])
            columns.append(ceilings[number])
    rows = list(zip(*columns, strict=True))
    return Table(header, rows, frozenset(range(1, len(header))), [texts["live_note"]])


def numbers(run: Run, texts: Texts) -> Table:
    """K(τ) of a run, what it is out of, and how it was summed: a row per layer."""
    heads = {"k": "K(τ)", "spread": "K(τ)/D", "filled": texts["filled"], "estimate": texts["estimate"]}
    columns = {
        head: [_cell(what, run, layer) for layer in run.spectra.values()] for what, head in heads.items()
    }
    return summary.by_layer(run, texts, columns, [texts["live_note"], texts["estimate_means"]])


def over_samples(runs: Sequence[Run], texts: Texts) -> Table:
    """K(τ) of every layer for every number of images, and its growth per doubling at the end."""
    names, rows = [run.name for run in runs], []
    layers, own = summary.beside(runs)
    for layer, *found in zip(layers, *own, strict=True):
        cells = ["–" if one is None else _cell("k", run, one) for run, one in zip(runs, found, strict=True)]
        rows.append([layer, *cells, Live.of_layer("growth", names, layer, summary.grown(runs, layer, TAU))])
    header = [texts["layer"], *summary.over_images(runs, texts)]
    return Table(header, rows, frozenset(range(1, len(header))), [texts["live_note"]])


def _cell(what: str, run: Run, layer: LayerSpectrum) -> Live:
    return Live.of_layer(what, run.name, layer.layer, written(what, layer))


def written(what: str, layer: LayerSpectrum, tau: float = TAU) -> str:
    """A cell's text: K, its share of D, both, the share of K's ceiling, or K's estimate."""
    k, share = layer.components(tau), layer.spread(tau)
    mark = "†" if layer.limited_by_samples(tau) else ""
    if what == "estimate":
        return str(layer.estimate(tau) or "–")
    if what == "filled":
        return (
            text.percent(type(share)(k.low / layer.ceiling, k.high / layer.ceiling)) if layer.ceiling else "–"
        )
    if what == "spread":
        return text.percent(share)
    number = text.interval(k) + mark
    return number if what == "k" else f"{number} ({text.percent(share)})"


def _counted(run: Run, texts: Texts) -> str:
    """N images; where places count as samples, the number of these too, as both are called N elsewhere."""
    images = texts["caption_images"].format(images=text.count(run.samples))
    most = max((layer.samples for layer in run.spectra.values()), default=0)
    return (
        images if most == run.samples else f"{images}, {texts['at_most_samples'].format(n=text.count(most))}"
    )
