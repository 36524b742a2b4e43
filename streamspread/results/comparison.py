"""Two results beside each other, layer by layer: K and what it differs by, and how alike the layers are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamspread.errors import DataError
from streamspread.results.base import ByLayer, Framed
from streamspread.results.directions import overlap, principal_angles
from streamspread.results.interval import Interval
from streamspread.results.similarity import Grams, cka
from streamspread.results.spectrum import Spectrum

#: The field of a layer's spectrum that holds the directions which were kept, if any.
KEPT = "leading"


@dataclass(frozen=True, kw_only=True, eq=False)  # == on arrays would raise, not compare
class LayerComparison:
    """One layer of two results.

    Attributes:
        layer: its name in both. ``dims``: D in either.
        a, b: K(τ). ``spread_a``, ``spread_b``: K(τ)/D.
        cka: linear CKA, debiased (:class:`streamspread.results.similarity.Similarity`); NaN where it is not
            known.
        angles: principal angles between the leading directions of either, ascending, in radians; empty where
            they were not kept, or where the layers have not the same D.
    """

    layer: str
    dims: tuple[int, int]
    a: Interval
    b: Interval
    spread_a: Interval
    spread_b: Interval
    cka: float = math.nan
    angles: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def difference(self) -> Interval:
        """K of b less K of a: what it can be, wherever in their intervals both lie."""
        return Interval(self.b.low - self.a.high, self.b.high - self.a.low)

    @property
    def overlap(self) -> float:
        """The mean squared cosine of the angles, from 0 to 1; NaN where there are none."""
        return overlap(self.angles)


class Comparison(ByLayer[LayerComparison], Framed):
    """Layers that two results share, by name, in the order of the first.

    Attributes:
        threshold: τ. ``titles``: what either result is of.
        notes: what a reader must know before K are held against each other, a line each: other data, another
            number of samples, layers that only one of them has.
    """

    printer = "print_comparison"

    def __init__(
        self,
        layers: Iterable[LayerComparison],
        threshold: float,
        titles: tuple[str, str],
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(layers)
        self.threshold, self.titles, self.notes = threshold, titles, notes

    def __repr__(self) -> str:
        known = [one.difference for one in self.values()]
        more, fewer = sum(d.low > 0 for d in known), sum(d.high < 0 for d in known)
        return (
            f"Comparison(τ = {self.threshold:g}: of {len(self)} layers, K of the second is larger in {more}, "
            f"smaller in {fewer})"
        )


def compare(
    a: ByLayer[Any], b: ByLayer[Any], threshold: float, grams: tuple[Grams, Grams] | None = None
) -> Comparison:
    """K of two results side by side, for the layers that have a name in both.

    Where both kept directions of a layer, and its D is the same, the principal angles between as many of
    either as both have say how far the leading subspaces agree.

    Args:
        a, b: spectra of layers. ``threshold``: τ.
        grams: of :func:`streamspread.grams`, of the network of either: then CKA of each layer with its like
            is there too.

    Raises:
        DataError: ``b`` is no result, no layer has a name in both, or the grams are of other samples.
        OptionError: a threshold outside (0, 1].
    """
    if not isinstance(b, type(a)):
        raise DataError(
            f"a result is compared with another one, as analyze and read give it, not with {b!s:.60}"
        )
    shared = [name for name in a if name in b]
    if not shared:
        raise DataError(
            f"no layer has one name in both results ({_listed(a)}; {_listed(b)}): compare networks of one "
            "kind"
        )
    alike = _alike(grams)
    layers = [
        LayerComparison(
            layer=name,
            dims=(a[name].dim, b[name].dim),
            a=a[name].components(threshold),
            b=b[name].components(threshold),
            spread_a=a[name].spread(threshold),
            spread_b=b[name].spread(threshold),
            cka=alike.get(name, math.nan),
            angles=_angles(a[name], b[name]),
        )
        for name in shared
    ]
    return Comparison(layers, threshold, (_title(a), _title(b)), tuple(_notes(a, b)))


def _angles(a: Spectrum, b: Spectrum) -> np.ndarray:
    """Between as many leading directions as both kept."""
    of_a, of_b = (getattr(one, KEPT, None) for one in (a, b))
    if of_a is None or of_b is None or a.dim != b.dim:
        return np.empty(0)
    count = min(len(of_a.vectors_KD), len(of_b.vectors_KD))
    return principal_angles(of_a.vectors_KD[:count].T, of_b.vectors_KD[:count].T)


def _alike(grams: tuple[Grams, Grams] | None) -> dict[str, float]:
    if grams is None:
        return {}
    similarity = cka(*grams)
    columns = {name: j for j, name in enumerate(similarity.columns)}
    return {
        name: float(similarity.debiased[i, columns[name]])
        for i, name in enumerate(similarity.rows)
        if name in columns
    }


def _notes(a: ByLayer[Any], b: ByLayer[Any]) -> Iterator[str]:
    seen = [one.provenance.get("data_seen") for one in (a, b)]
    samples = [max(layer.samples for layer in one.values()) for one in (a, b)]
    if samples[0] != samples[1]:
        yield f"K grows with the number of samples, and these are {samples[0]:,} and {samples[1]:,}"
    elif None in seen:
        yield "whether both saw the same data is not known"
    elif seen[0] != seen[1]:
        yield "they saw other data: " + "; ".join(one.provenance.get("data", "unknown") for one in (a, b))
    for one, other, which in ((a, b, "first"), (b, a, "second")):
        if only := [name for name in one if name not in other]:
            yield f"only in the {which}: {', '.join(only)}"


def _title(spectra: ByLayer[Any]) -> str:
    facts: Mapping[str, Any] = spectra.provenance
    return str(facts.get("title") or facts.get("model") or f"{len(spectra)} layers")


def _listed(spectra: ByLayer[Any]) -> str:
    names = list(spectra)
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
