"""The report's tables as rows of text, and the commands behind it, for Markdown and the page alike."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamspread.report import text
from streamspread.report.claims import TAU, Case, Claim, Evidence, Verdict, dependence, evaluate
from streamspread.report.figure import Texts
from streamspread.report.labels import training_label
from streamspread.report.runs import Collection, Run, growth, layer_names, short_names
from streamspread.results.metrics import metric_names, metrics_of
from streamspread.results.spectrum import LayerSpectrum

MARKS = {Verdict.holds: "✓", Verdict.fails: "✗", Verdict.unclear: "?", Verdict.absent: "–"}


@dataclass(frozen=True)
class Table:
    """Rows of cells; a cell is one line or several. ``numbers``: the columns that are set flush right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str | Sequence[str]]]
    numbers: frozenset[int] = frozenset()


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
                run.data,
                str(facts.get("card") or facts.get("cpu") or facts.get("device") or texts["unknown"]),
            ]
        )
    keys = ("network", "plan", "training_note", "accuracy", "images", "data", "device")
    return Table([texts[key] for key in keys], rows, frozenset({3, 4}))


def conflicts(collection: Collection, texts: Texts) -> list[str]:
    """Why some of the networks cannot be compared with the first; a line for each of them."""
    lines = []
    for name_a, name_b, differences in collection.conflicts:
        reasons = "; ".join(texts[f"compare_{d.what}"].format(a=d.a, b=d.b) for d in differences)
        lines.append(f"{name_a}, {name_b}: {reasons}")
    return lines


def shares(collection: Collection, texts: Texts, tau: float = TAU) -> Table:
    """K(τ) and K(τ)/D: a row per layer, a column per network."""
    named = short_names(collection.networks)
    layers = layer_names(run.layers() for run in named.values())
    rows = [[layer, *(_share(run.layers().get(layer), tau) for run in named.values())] for layer in layers]
    return Table([texts["layer"], *named], rows, frozenset(range(1, len(named) + 1)))


def claims(collection: Collection, texts: Texts) -> Table:
    """The paper's claims at its threshold, with each network's numbers."""
    rows = []
    for claim in evaluate(collection.networks):
        lines = [_numbers(evidence) for evidence in claim.evidence]
        rows.append([texts[f"claim_{claim.name}"], lines or ["–"], _verdict_lines(claim, texts)])
    return Table([texts["claim"], texts["numbers"].format(tau=f"{TAU:g}"), texts["verdict"]], rows)


def depends(collection: Collection, texts: Texts) -> Table:
    """Whether the claims hold under other circumstances: a row each, a column per claim."""
    cases = dependence(collection)
    names = [claim.name for claim in cases[0].claims] if cases else []
    rows = [[_circumstance(case, texts), *(_mark(claim, texts) for claim in case.claims)] for case in cases]
    return Table([texts["circumstance"], *(texts[f"short_{name}"] for name in names)], rows)


def over_samples(runs: Sequence[Run], texts: Texts, tau: float = TAU) -> Table:
    """K(τ) of every layer for every number of images, and its growth per doubling at the end."""
    rows = []
    for layer in layer_names(run.layers() for run in runs):
        cells = [
            text.interval(run.layers()[layer].components(tau)) if layer in run.layers() else "–"
            for run in runs
        ]
        grown = growth(runs, layer, tau)
        rows.append([layer, *cells, "–" if grown is None else f"{100 * grown:+.1f} %"])
    header = [texts["layer"], *(f"N = {text.count(run.samples)}" for run in runs), texts["growth"]]
    return Table(header, rows, frozenset(range(1, len(header))))


def numbers(run: Run, texts: Texts) -> Table:
    """All numbers of a run: a row per layer."""
    thresholds = run.spectra.thresholds
    rows = [
        [
            layer.layer,
            text.shape(layer.shape),
            text.count(layer.dim),
            *(
                cell
                for tau in thresholds
                for cell in (text.interval(layer.components(tau)), _percent(layer, tau))
            ),
            *(_rounded(value) for value in metrics_of(layer).values()),
            f"{layer.method} {layer.rounding}",
        ]
        for layer in run.spectra.values()
    ]
    per_tau = [head for tau in thresholds for head in (f"K({tau:g})", f"K({tau:g})/D")]
    # A metric is shown by its own name until the texts have one for it.
    metrics = [texts.get(name, name.replace("_", " ")) for name in metric_names()]
    header = [texts["layer"], texts["shape"], "D", *per_tau, *metrics, texts["method"]]
    return Table(header, rows, frozenset(range(2, len(header) - 1)))


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
    """The claim's verdict, and the layers where each network contradicts it."""
    lines = [f"{MARKS[claim.verdict]} {texts[f'verdict_{claim.verdict}']}"]
    failing: dict[tuple[str, ...], list[str]] = {}
    for evidence in claim.evidence:
        if evidence.fails:
            failing.setdefault(evidence.fails, []).append(evidence.network)
    for fails, names in failing.items():
        lines.append(f"{', '.join(names)}: {texts['fails_at'].format(where=', '.join(fails))}")
    return lines


def _mark(claim: Claim, texts: Texts) -> str:
    """The verdict as a sign, and the layers where any network contradicts the claim."""
    fails = {where for evidence in claim.evidence for where in evidence.fails}
    order = layer_names(evidence.spreads for evidence in claim.evidence)
    listed = sorted(fails, key=lambda where: order.index(where.split(" → ")[0]))
    return " ".join([MARKS[claim.verdict], ", ".join(listed) or texts[f"verdict_{claim.verdict}"]])


def _circumstance(case: Case, texts: Texts) -> str:
    if isinstance(case.value, float):
        value = f"{case.value:g}"
    elif isinstance(case.value, str):
        value = texts[f"part_{case.value}"]
    else:
        value = training_label(case.value, texts)
    networks = dict.fromkeys(evidence.network for claim in case.claims for evidence in claim.evidence)
    return texts[f"case_{case.kind}"].format(value=value, networks=", ".join(networks))


def _rounded(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:,.1f}"
