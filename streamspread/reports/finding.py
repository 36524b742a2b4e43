"""What a network's layers come to, in a sentence; as ``finding`` in page.js says it at any τ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamspread.reports import text
from streamspread.reports.rows import role
from streamspread.reports.texts import Texts
from streamspread.results.interval import Interval
from streamspread.results.spectra import LayerSpectrum

_MOST = 4  # steps that are named


_Layers = Mapping[str, LayerSpectrum]  # by the names that they are to be called by, in network order


def finding(
    name: str, layers: _Layers, tau: float, texts: Texts, others: Mapping[str, _Layers] | None = None
) -> str:
    """Where the share K(τ)/D is least and most, and where it falls from a layer to the next of its kind.

    Args:
        others: by name the layers of other networks, of which those are named that fall at the same steps.
    """
    spreads = _spreads(layers, tau)
    if not spreads:
        return texts["finding_constant"].format(run=name)
    least, most = min(spreads, key=lambda n: spreads[n].low), max(spreads, key=lambda n: spreads[n].low)
    (written,) = text.fractions([tau])
    if len(spreads) == 1:
        share = text.percent(spreads[least])
        return texts["finding_one"].format(tau=written, run=name, layer=least, share=share)
    said = [
        texts["finding"].format(
            tau=written,
            run=name,
            least=least,
            least_share=text.percent(spreads[least]),
            most=most,
            most_share=text.percent(spreads[most]),
        )
    ]
    pairs = steps([(stem, len(layers[stem].shape)) for stem in spreads])
    rises = sum(spreads[b].low > spreads[a].high for a, b in pairs)
    falls = _falls(layers, tau)
    if pairs:
        said.append(texts["finding_steps"].format(rises=rises, steps=len(pairs)))
    if falls:
        where = ", ".join(falls) if len(falls) <= _MOST else text.count(len(falls))
        said.append(
            texts["finding_falls" if len(falls) <= _MOST else "finding_many_falls"].format(where=where)
        )
        if alike := [other for other, of in (others or {}).items() if _falls(of, tau) == falls]:
            between = "; " if any("," in other for other in alike) else ", "
            said.append(texts["finding_alike"].format(networks=between.join(alike)))
    return " ".join(said)


def _spreads(layers: _Layers, tau: float) -> dict[str, Interval]:
    return {stem: layer.spread(tau) for stem, layer in layers.items() if layer.total_variance > 0}


def _falls(layers: _Layers, tau: float) -> list[str]:
    """The steps at which the share is less than before, whatever their intervals come to."""
    spreads = _spreads(layers, tau)
    pairs = steps([(stem, len(layers[stem].shape)) for stem in spreads])
    return [f"{a} → {b}" for a, b in pairs if spreads[b].high < spreads[a].low]


def steps(layers: Sequence[tuple[str, int]]) -> list[tuple[str, str]]:
    """Each layer, and the next of its kind: of its role, and with as many axes."""
    last: dict[tuple[str, int], str] = {}
    found = []
    for stem, axes in layers:
        kind = (role(stem), axes)
        if kind in last:
            found.append((last[kind], stem))
        last[kind] = stem
    return found
