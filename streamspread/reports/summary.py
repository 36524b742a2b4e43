"""The report's tables as rows of text, and the commands behind it, for Markdown and the page alike."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamspread.reports import text
from streamspread.reports.claims import TAU, Case, Claim, Evidence, Verdict, dependence, evaluate
from streamspread.reports.figure import Texts
from streamspread.reports.labels import training_label
from streamspread.reports.limits import FALL, FEWEST
from streamspread.reports.runs import Collection, Run, growth, layer_names, short_names
from streamspread.reports.spectra_table import classes_table, closed_line, limited_line
from streamspread.results.metrics import metric_names, metrics_of
from streamspread.results.spectra import LayerSpectrum

_Layers = Mapping[str, Sequence[LayerSpectrum]]  # by the names of their runs

MARKS = {
    Verdict.holds: "✓",
    Verdict.fails: "✗",
    Verdict.unclear: "?",
    Verdict.unsettled: "?",
    Verdict.other_data: "–",
    Verdict.absent: "–",
}


@dataclass(frozen=True)
class Table:
    """Rows of cells; a cell is one line or several. ``numbers``: the columns that are set flush right.
    ``notes``: what is said under it, a line each."""

    header: Sequence[str]
    rows: Sequence[Sequence[str | Sequence[str]]]
    numbers: frozenset[int] = frozenset()
    notes: Sequence[str] = ()


def networks(collection: Collection, texts: Texts) -> Table:
    """What was analysed: a row per network."""
    rows = []
    for name, run in short_names(collection.networks).items():
        facts = run.facts
        rows.append(
            [
                name,
                str(facts.get("plan") or texts["unknown"]).replace(",", " "),
                texts["unknown"] if run.training is None else training_label(run.training, texts),
                "–" if run.accuracy is None else f"{100 * run.accuracy:.2f} %",
                text.count(run.samples),
                run.data.name,
                str(facts.get("card") or facts.get("cpu") or facts.get("device") or texts["unknown"]),
            ]
        )
    keys = ("network", "plan", "training_note", "accuracy", "images", "data", "device")
    numbers = {texts[key] for key in ("accuracy", "images")}
    columns = {texts[key]: [row[place] for row in rows] for place, key in enumerate(keys)}
    # A plan is of networks that are built from one, and an accuracy of those that were trained here.
    columns = {head: cells for head, cells in columns.items() if {*cells} - {"–", texts["unknown"]}}
    return Table(
        list(columns),
        list(zip(*columns.values(), strict=True)),
        frozenset(place for place, head in enumerate(columns) if head in numbers),
    )


def conflicts(collection: Collection, texts: Texts) -> list[str]:
    """Why some of the networks cannot be compared with the first; a line for each of them."""
    lines = []
    for name_a, name_b, differences in collection.conflicts:
        reasons = "; ".join(texts[f"compare_{d.what}"].format(a=d.a, b=d.b) for d in differences)
        lines.append(f"{name_a}, {name_b}: {reasons}")
    return lines


def thresholds(collection: Collection) -> list[tuple[float, str]]:
    """The thresholds that the networks were run for, ascending, each with how it is written; the paper's
    where there are none."""
    taus = sorted({tau for run in collection.networks for tau in run.spectra.thresholds}) or [TAU]
    return list(zip(taus, text.fractions(taus), strict=True))


def shares(collection: Collection, texts: Texts, tau: float = TAU) -> Table:
    """K(τ) and K(τ)/D: a row per layer, a column per network."""
    named = short_names(collection.networks)
    layers, found = beside(named.values())
    columns = {texts["layer"]: layers}
    shown: dict[str, list[LayerSpectrum]] = {}
    for (name, run), own in zip(named.items(), found, strict=True):
        shown[name] = [layer for layer in own if layer is not None]
        columns[f"{name}, N = {text.count(run.samples)}"] = [_share(layer, tau) for layer in own]
        if _has_estimates(shown[name], tau):
            columns[f"{name}, {texts['estimate']}"] = [_estimate(layer, tau) for layer in own]
    rows = list(zip(*columns.values(), strict=True))
    return Table(list(columns), rows, frozenset(range(1, len(columns))), _how_sure(shown, [tau], texts))


def beside(runs: Iterable[Run]) -> tuple[list[str], list[list[LayerSpectrum | None]]]:
    """The names of all layers of some runs, and each run's own in this order, None where it has none."""
    own = [run.layers() for run in runs]
    names = layer_names(own)
    return names, [[layers.get(name) for name in names] for layers in own]


def claims(collection: Collection, texts: Texts) -> Table:
    """The paper's claims at its threshold, with each network's numbers, and what a verdict takes."""
    rows = []
    for claim in evaluate(collection.networks):
        lines = [_numbers(evidence) for evidence in claim.evidence]
        rows.append([texts[f"claim_{claim.name}"], lines or ["–"], _verdict_lines(claim, texts)])
    rule = texts["verdict_rule"].format(images=text.count(FEWEST), fall=f"{FALL:g}")
    header = [texts["claim"], texts["numbers"].format(tau=f"{TAU:g}"), texts["verdict"]]
    return Table(header, rows, notes=[rule])


def depends(collection: Collection, texts: Texts) -> Table:
    """Whether the claims hold under other circumstances: a row each, a column per claim."""
    cases = dependence(collection)
    names = [claim.name for claim in cases[0].claims] if cases else []
    rows = [[_circumstance(case, texts), *(_mark(claim, texts) for claim in case.claims)] for case in cases]
    return Table([texts["circumstance"], *(texts[f"short_{name}"] for name in names)], rows)


def over_samples(runs: Sequence[Run], texts: Texts) -> Table:
    """K(τ) of every layer for every number of images, and its growth per doubling at the end, for every
    threshold that they were run for."""
    thresholds = sorted({tau for run in runs for tau in run.spectra.thresholds})
    rows, (layers, own) = [], beside(runs)
    for tau, written in zip(thresholds, text.fractions(thresholds), strict=True):
        for layer, *found in zip(layers, *own, strict=True):
            cells = ["–" if s is None else text.interval(s.components(tau)) for s in found]
            rows.append([layer, written, *cells, grown(runs, layer, tau)])
    header = [texts["layer"], "τ", *over_images(runs, texts)]
    return Table(header, rows, frozenset(range(1, len(header))))


def over_images(runs: Sequence[Run], texts: Texts) -> list[str]:
    """The heads of columns of K for each number of images, and of its growth."""
    return [*(f"N = {text.count(run.samples)}" for run in runs), texts["growth"]]


def grown(runs: Sequence[Run], layer: str, tau: float) -> str:
    """By how much K of a layer grows per doubling of the images, at the end."""
    share = growth(runs, layer, tau)
    return "–" if share is None else text.growth(share)


def numbers(run: Run, texts: Texts) -> Table:
    """K of a run at every threshold, and what it is out of: a row per layer."""
    thresholds, columns = run.spectra.thresholds, {}
    for tau, written in zip(thresholds, text.fractions(thresholds), strict=True):
        columns[f"K({written})"] = [text.interval(layer.components(tau)) for layer in run.spectra.values()]
        columns[f"K({written})/D"] = [_percent(layer, tau) for layer in run.spectra.values()]
        if _has_estimates(run.spectra.values(), tau):
            estimates = [_estimate(layer, tau) for layer in run.spectra.values()]
            columns[f"K({written}), {texts['estimate']}"] = estimates
    notes = _how_sure({run.name: list(run.spectra.values())}, thresholds, texts)
    return by_layer(run, texts, columns, notes)


def by_layer(run: Run, texts: Texts, columns: Mapping[str, Sequence[str]], notes: Sequence[str]) -> Table:
    """A row for each layer: what it is, these columns, and how it was summed."""
    layers = list(run.spectra.values())
    first = {
        texts["layer"]: [layer.layer for layer in layers],
        texts["shape"]: [text.shape(layer.shape) for layer in layers],
        "D": [text.count(layer.dim) for layer in layers],
        texts["images"]: [text.count(layer.seen) for layer in layers],
    }
    if any(layer.seen != layer.samples for layer in layers):
        first[texts["samples"]] = [text.count(layer.samples) for layer in layers]
    first[texts["ceiling"]] = [text.count(layer.ceiling) for layer in layers]
    whole = {**first, **columns, texts["method"]: [text.method(layer) for layer in layers]}
    rows = list(zip(*whole.values(), strict=True))
    return Table(list(whole), rows, frozenset(range(2, len(whole) - 1)), notes)


def metrics(run: Run, texts: Texts) -> Table:
    """All metrics of a run: a row per layer."""
    rows = [
        [layer.layer, *(text.metric(name, value) for name, value in metrics_of(layer).items())]
        for layer in run.spectra.values()
    ]
    header = [texts["layer"], *metric_labels(texts).values()]
    lacking = [layer for layer in run.spectra.values() if not layer.complete and _lacks_some(layer)]
    return Table(
        header, rows, frozenset(range(1, len(header))), [texts["metrics_missing"]] if lacking else []
    )


def _lacks_some(layer: LayerSpectrum) -> bool:
    return any(math.isnan(value) for value in metrics_of(layer).values())


def by_class(run: Run, texts: Texts) -> Table:
    """What labels tell of a run's layers, a row each; without rows where they tell nothing."""
    table = classes_table(list(run.spectra.values()), run.spectra.thresholds, texts)
    return Table(table.header, table.rows, frozenset(range(1, len(table.header))), table.notes)


def metric_labels(texts: Texts) -> dict[str, str]:
    """What the metrics are called; one is shown by its own name until the texts have one for it."""
    return {name: texts.get(f"metric_{name}", name.replace("_", " ")) for name in metric_names()}


def _how_sure(runs: _Layers, thresholds: Sequence[float], texts: Texts) -> list[str]:
    """What K of these layers is worth, a line each: where it is limited by N, and whether it is closed."""
    lines = list(limited_line(runs, thresholds, texts))
    if any(_has_estimates(layers, tau) for layers in runs.values() for tau in thresholds):
        lines.append(texts["estimate_means"])
    return [*lines, closed_line(runs, thresholds, texts)]


def _has_estimates(layers: Iterable[LayerSpectrum], tau: float) -> bool:
    return any(layer.estimate(tau) is not None for layer in layers)


def _estimate(layer: LayerSpectrum | None, tau: float) -> str:
    return "–" if layer is None else text.estimate(layer, tau)


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


def _share(layer: LayerSpectrum | None, tau: float) -> str:
    return "–" if layer is None else f"{text.interval(layer.components(tau))} ({_percent(layer, tau)})"


def _percent(layer: LayerSpectrum, tau: float) -> str:
    return text.percent(layer.spread(tau))


def _numbers(evidence: Evidence) -> str:
    listed = ", ".join(f"{layer} {text.percent(share)}" for layer, share in evidence.spreads.items())
    return f"{evidence.network}: {listed}"


def _verdict_lines(claim: Claim, texts: Texts) -> list[str]:
    """The claim's verdict, and where each network contradicts it, or has too few images or other data."""
    lines = [f"{MARKS[claim.verdict]} {texts[f'verdict_{claim.verdict}']}"]
    reasons: dict[str, list[str]] = {}
    for evidence in claim.evidence:
        if evidence.fails:
            reason = texts["fails_at"].format(where=", ".join(evidence.fails))
            reasons.setdefault(reason, []).append(evidence.network)
        if evidence.unsettled:
            reason = texts["unsettled_at"].format(where=", ".join(evidence.unsettled))
            reasons.setdefault(reason, []).append(evidence.network)
        if evidence.verdict is Verdict.other_data is not claim.verdict:
            reasons.setdefault(texts["verdict_other_data"], []).append(evidence.network)
    return lines + [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _mark(claim: Claim, texts: Texts) -> str:
    """The verdict as a sign, and the layers where any network contradicts the claim."""
    fails = {where for evidence in claim.evidence for where in evidence.fails}
    order = layer_names(evidence.spreads for evidence in claim.evidence)
    listed = sorted(fails, key=lambda where: order.index(where.split(" → ")[0]))
    return " ".join([MARKS[claim.verdict], ", ".join(listed) or texts[f"verdict_{claim.verdict}"]])


def _circumstance(case: Case, texts: Texts) -> str:
    if isinstance(case.value, float):
        (value,) = text.fractions([case.value])
    elif isinstance(case.value, str):
        value = texts[f"part_{case.value}"]
    else:
        value = training_label(case.value, texts)
    networks = dict.fromkeys(evidence.network for claim in case.claims for evidence in claim.evidence)
    return texts[f"case_{case.kind}"].format(value=value, networks=", ".join(networks))
