"""Spread over a training: the finding, the table and the figure; :mod:`training_page` is their page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from streamspread import store
from streamspread.errors import StoreError
from streamspread.reports import text
from streamspread.reports.claims import TAU
from streamspread.reports.figure import Spec, Texts
from streamspread.reports.markdown import escaped as escape_markdown
from streamspread.reports.markdown import render
from streamspread.reports.marks import SHARES, curves, drawn, ordered, share_axis
from streamspread.reports.pictures import finish
from streamspread.reports.summary import Table
from streamspread.reports.table import Column, Output, print_line, print_widest_that_fits
from streamspread.results.history import History, Reading

_WIDE = 100  # times the first step that is not 0: beyond, steps are spaced by their logarithm
_NAMED = 6  # layers of a sentence, at the most
_METRICS = ("participation_ratio", "effective_rank", "power_law_10_100")


def split(files: Sequence[Path]) -> tuple[dict[str, History], list[Path]]:
    """Of some files the histories, by names, and the paths of all others.

    Raises:
        StoreError: one of them is no result, or holds nothing yet.
    """
    histories: dict[str, History] = {}
    others = []
    for path in files:
        if not store.is_history(path):
            others.append(path)
            continue
        name = path.stem if path.stem not in histories else str(path)
        histories[name] = store.read_history(path)
        if not histories[name].readings:
            raise StoreError(f"{str(path)!r} holds no look yet: give one of a training that was looked at")
    return histories, others


def tau_of(history: History) -> float:
    """The threshold that a figure shows: 0.7 if it was asked for, else the first one."""
    return TAU if TAU in history.thresholds else next(iter(history.thresholds), TAU)


def drawable(history: History) -> bool:
    """Whether any layer is told, and not constant."""
    tau = tau_of(history)
    return any(one.told and one.components(tau).high > 0 for one in history.readings)


def finding(history: History, texts: Texts) -> str:
    """At which layers the share rises or falls, from the first look to the last, in a sentence."""
    tau = tau_of(history)
    found: dict[str, list[str]] = {"training_rises": [], "training_falls": [], "training_stays": []}
    rises, falls, stays = found.values()
    for layer in history.layers:
        told = [one.components(tau) for one in history.readings if one.layer == layer and one.told]
        if len(told) > 1:
            first, last = told[0], told[-1]
            (rises if last.low > first.high else falls if last.high < first.low else stays).append(layer)
    said = [
        texts[how].format(layers=", ".join(layers) if len(layers) <= _NAMED else len(layers))
        for how, layers in found.items()
        if layers
    ]
    if not said:
        return ""
    steps = [text.count(history.steps[place]) for place in (0, -1)]
    return texts["training_finding"].format(
        tau=f"{tau:g}", first=steps[0], last=steps[1], found="; ".join(said)
    )


def draw(history: History, texts: Texts, titled: bool = True) -> Spec:
    """K(τ)/D of each layer over the steps; a reading that tells nothing is left out. ``titled``: with its
    title in it."""
    tau, place = tau_of(history), {layer: place for place, layer in enumerate(history.layers)}
    rows = [
        {
            "series": one.layer,
            "key": one.layer,
            "layer": one.layer,
            "place": place[one.layer],
            "step": one.step,
            "low": int(one.components(tau).low),
            "high": int(one.components(tau).high),
            "dim": one.dim,
            "samples": one.samples,
            "ceiling": one.ceiling,
            "tau": tau,
            "twin": False,
        }
        for one in history.readings
        if one.told
    ]
    later = [step for step in history.steps if step > 0]
    wide = bool(later) and max(later) >= _WIDE * min(later)
    scale = {"type": "symlog", "constant": min(later)} if wide else {"zero": False}
    x: Spec = {"field": "step", "type": "quantitative", "title": texts["steps_axis"], "scale": scale}
    if wide:
        marked = [0, *(10**power for power in range(len(str(max(later)))))]
        x["axis"] = {"values": marked, "format": "~s"}
    layers = curves("share", share_axis(texts, tight=True), texts, ("place",), "key")
    spec = {"transform": list(SHARES), "layer": drawn(layers, x=x, color=ordered("key"))}
    return finish(spec, rows, [title(history, texts)] if titled else [], tau=tau)


def title(history: History, texts: Texts) -> str:
    """What the figure shows."""
    return f"{texts['over_training_title']}, τ = {tau_of(history):g}"


def table_of(history: History, texts: Texts) -> Table:
    """A row for each step, K at the figure's threshold of each layer."""
    tau, layers = tau_of(history), history.layers
    looks: dict[int, dict[str, Reading]] = {}
    for one in history.readings:
        looks.setdefault(one.step, {})[one.layer] = one
    rows = [
        [text.count(step), *(_k(look.get(layer), tau) for layer in layers)] for step, look in looks.items()
    ]
    notes = [f"K({tau:g}) / D"]
    notes += [f"{one.layer}, {text.count(one.step)}: {one.note}" for one in history.readings if one.note]
    return Table([texts["step"], *layers], rows, frozenset(range(len(layers) + 1)), tuple(notes))


def print_history(history: History, thresholds: Sequence[float], console: Output) -> None:
    """A row for each look and layer; on a terminal that is too narrow the least needed columns are left out.

    Raises:
        OptionError: a threshold of which nothing was kept.
    """
    facts, rows, taus = history.provenance, history.readings, list(thresholds or history.thresholds)
    columns = [
        Column("step", [text.count(one.step) for one in rows]),
        Column("until", [text.count(one.until) for one in rows], priority=4),
        Column("layer", [one.layer for one in rows], left=True),
        Column("D", [text.count(one.dim) for one in rows], priority=2),
        Column("N", [text.count(one.samples) for one in rows], priority=3),
    ]
    for tau, written in zip(taus, text.fractions(taus), strict=True):
        known = [one.components(tau) if one.told else None for one in rows]
        columns.append(Column(f"K({written})", ["–" if k is None else text.interval(k) for k in known]))
        shares = ["–" if not one.told else text.percent(one.spread(tau)) for one in rows]
        columns.append(Column(f"K({written})/D", shares, priority=1))
    for name, head in zip(_METRICS, ("participation", "effective rank", "power law"), strict=True):
        values = [text.number(one.metrics.get(name, float("nan"))) for one in rows]
        columns.append(Column(head, values, priority=5))
    about = [str(facts[key]) for key in ("model", "data", "schedule") if facts.get(key)]
    print_line(console, ", ".join(about) or f"{len(history.steps)} looks", style="bold")
    if not rows:
        print_line(console, "no look yet")
        return
    print_widest_that_fits(console, [columns])
    limited = dict.fromkeys(one.layer for one in rows if any(k.limited for k in one.components_at))
    if limited:
        print_line(console, f"limited by the number of samples: {', '.join(limited)}")
    for one in rows:
        if one.note:
            print_line(console, f"{one.layer}, step {text.count(one.step)}: {one.note}")


def markdown(histories: Mapping[str, History], texts: Texts, figures: Sequence[str] = ()) -> str:
    """The figures, of which the paths are given, and a table of each."""
    blocks = [f"![{PurePosixPath(path).stem}]({path})\n" for path in figures]
    for name, history in histories.items():
        title = f"{texts['over_training_title']}, {escape_markdown(name)}"
        blocks.append(f"### {title}\n\n{render(table_of(history, texts))}")
    return "\n".join(blocks)


def _k(reading: Reading | None, tau: float) -> str:
    if reading is None or not reading.told:
        return "–"
    return f"{text.interval(reading.components(tau))} ({text.percent(reading.spread(tau))})"
