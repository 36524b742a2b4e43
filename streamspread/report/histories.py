"""Spread over the steps of a training as a figure."""

from __future__ import annotations

from streamspread.report.figure import Spec, Texts
from streamspread.report.marks import SHARES, curves, drawn, ordered, share_axis
from streamspread.report.pictures import finish
from streamspread.report.rows import key
from streamspread.results.history import History

_WIDE = 100  # times the first step that is not 0: beyond, steps are spaced by their logarithm


def over_steps(history: History, tau: float, title: str, texts: Texts) -> Spec:
    """K(τ)/D of each layer over the steps; a reading that tells nothing is left out.

    Raises:
        OptionError: a threshold of which nothing was kept.
    """
    rows = []
    for place, layer in enumerate(history.layers):
        for one in history.of(layer):
            if one.told:
                low, high = one.components(tau)
                facts = {"layer": layer, "key": key(layer), "stem": layer, "series": layer, "place": place}
                facts |= {"step": one.step, "tau": tau, "low": low, "high": high, "dim": one.dim}
                rows.append(facts | {"samples": one.samples, "ceiling": one.ceiling})
    later = [step for step in history.steps if step > 0]
    x: dict[str, object] = {"field": "step", "type": "quantitative", "title": texts["steps_axis"]}
    if later and max(later) >= _WIDE * min(later):
        x["scale"] = {"type": "symlog", "constant": min(later)}
    color = ordered("key")
    layers = curves("share", share_axis(texts), texts, ("place",), "key")
    model = str(history.provenance.get("model") or "")
    spec: Spec = {"transform": list(SHARES), "layer": drawn(layers, x=x, color=color)}
    return finish(spec, rows, [title, " · ".join(filter(None, [model, f"τ = {tau:g}"]))], tau=tau)
