"""Spread over a training: the sentence, table and figure of a history, and its part of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamspread.errors import MissingError
from streamspread.reports import text
from streamspread.reports.chart import (
    SHARES,
    TAU,
    Spec,
    curves,
    ordered,
    quantity,
    share_axis,
    with_encoding,
)
from streamspread.reports.figures import complete_spec, svg
from streamspread.reports.table import Column, Output, Table, print_line, print_widest_that_fits
from streamspread.reports.texts import Texts
from streamspread.results.history import History, Reading
from streamspread.system.text import file_stem

_WIDE = 100  # times the first step that is not 0: beyond, steps are spaced by their logarithm
_NAMED = 6  # layers of a sentence, at the most
_METRICS = {
    "participation_ratio": "participation",
    "effective_rank": "effective rank",
    "power_law_10_100": "power law",
}
_WIDTHS = {"broad": 760, "narrow": 330}  # of a figure, on a screen and on a phone


def tau_of(history: History) -> float:
    """The threshold that a figure shows: 0.7 if the training was watched at it, else the first one."""
    return TAU if TAU in history.thresholds else next(iter(history.thresholds), TAU)


def drawable(history: History) -> bool:
    """Whether anything is known of any layer that is not constant."""
    tau = tau_of(history)
    return any(one.told and one.components(tau).high > 0 for one in history.readings)


def figure_names(histories: Mapping[str, History]) -> dict[str, str]:
    """The file of each figure that there is to see, without suffix, by the history's name."""
    drawn = [name for name, history in histories.items() if drawable(history)]
    stem = "over-steps"
    return {name: stem if len(histories) == 1 else file_stem(f"{stem}-{name}") for name in drawn}


def finding(history: History, texts: Texts) -> str:
    """At which layers the share rises or falls, from the first look to the last, in a sentence."""
    tau = tau_of(history)
    rises: list[str] = []
    falls: list[str] = []
    stays: list[str] = []
    for layer in history.layers:
        known = [one.components(tau) for one in history.readings if one.layer == layer and one.told]
        if len(known) > 1:
            first, last = known[0], known[-1]
            (rises if last.low > first.high else falls if last.high < first.low else stays).append(layer)
    parts = [
        texts[key].format(layers=", ".join(layers) if len(layers) <= _NAMED else len(layers))
        for key, layers in zip(
            ("training_rises", "training_falls", "training_stays"), (rises, falls, stays), strict=True
        )
        if layers
    ]
    if not parts:
        return ""
    first_step, last_step = (text.count(history.steps[place]) for place in (0, -1))
    return texts["training_finding"].format(
        tau=f"{tau:g}", first=first_step, last=last_step, found="; ".join(parts)
    )


def draw(history: History, texts: Texts, titled: bool = True) -> Spec:
    """K(τ)/D of each layer over the steps, without readings of which nothing is known. ``titled``: with its
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
    x: Spec = {"field": "step", **quantity(texts["steps_axis"], scale=scale)}
    if wide:
        marked = [0, *(10**power for power in range(len(str(max(later)))))]
        x["axis"] = {"values": marked, "format": "~s"}
    layers = curves("share", share_axis(texts, tight=True), texts, ("place",), "key")
    spec = {"transform": list(SHARES), "layer": with_encoding(layers, x=x, color=ordered("key"))}
    return complete_spec(spec, rows, [title(history, texts)] if titled else [], tau=tau)


def title(history: History, texts: Texts) -> str:
    """What the figure shows."""
    return f"{texts['over_training_title']}, τ = {tau_of(history):g}"


def history_table(history: History, texts: Texts) -> Table:
    """A row for each step, K at the figure's threshold of each layer."""
    tau, layers = tau_of(history), history.layers
    looks: dict[int, dict[str, Reading]] = {}
    for one in history.readings:
        looks.setdefault(one.step, {})[one.layer] = one
    columns = [Column(texts["step"], [text.count(step) for step in looks])]
    for layer in layers:
        columns.append(Column(layer, [_share(look.get(layer), tau) for look in looks.values()]))
    notes = [f"{one.layer}, {text.count(one.step)}: {one.note}" for one in history.readings if one.note]
    return Table(columns, [f"K({tau:g}) / D", *notes])


def _share(reading: Reading | None, tau: float) -> str:
    if reading is None or not reading.told:
        return "–"
    return f"{text.interval(reading.components(tau))} ({text.percent(reading.spread(tau))})"


def print_history(history: History, thresholds: Sequence[float], output: Output) -> None:
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
        ks = [text.interval(one.components(tau)) if one.told else "–" for one in rows]
        shares = [text.percent(one.spread(tau)) if one.told else "–" for one in rows]
        columns += [Column(f"K({written})", ks), Column(f"K({written})/D", shares, priority=1)]
    for name, header in _METRICS.items():
        values = [text.number(one.metrics.get(name, float("nan"))) for one in rows]
        columns.append(Column(header, values, priority=5))
    about = [str(facts[key]) for key in ("model", "data", "schedule") if facts.get(key)]
    print_line(output, ", ".join(about) or f"{len(history.steps)} looks", style="bold")
    if not rows:
        print_line(output, "no look yet")
        return
    print_widest_that_fits(output, [columns])
    limited = dict.fromkeys(one.layer for one in rows if any(k.limited for k in one.components_at))
    if limited:
        print_line(output, f"limited by the number of samples: {', '.join(limited)}")
    for one in rows:
        if one.note:
            print_line(output, f"{one.layer}, step {text.count(one.step)}: {one.note}")


def page_section(name: str, history: History, file: str | None, texts: Texts) -> dict[str, Any]:
    """What the page shows of a history. Its figure is drawn on a light and on a dark ground, broad and
    narrow; there is none without vl-convert.

    ``file``: where figure and numbers lie beside the page, without suffix.
    """
    known = history.provenance
    samples = known.get("samples")
    facts = {
        texts["network"]: known.get("plan") or known.get("model"),
        texts["data"]: known.get("data"),
        f"N ({texts['samples']})": samples and f"{samples:,}",
        texts["looks"]: known.get("schedule"),
    }
    drawings = []
    if drawable(history):
        spec = draw(history, texts, titled=False)
        try:
            drawings = [
                (width, ground, svg({**spec, "width": pixels}, dark=ground == "dark"))
                for width, pixels in _WIDTHS.items()
                for ground in ("light", "dark")
            ]
        except MissingError:
            file = None
    return {
        "name": name,
        "finding": finding(history, texts),
        "title": title(history, texts),
        "drawings": drawings,
        "file": file,
        "facts": facts,
        "table": history_table(history, texts),
        "stem": file_stem(name),
    }
