"""Layers' spectra by name, and how each was made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamspread.results.base import ByLayer, Framed, elsewhere
from streamspread.results.comparison import Comparison, compare
from streamspread.results.similarity import Grams
from streamspread.results.spectrum import Spectrum, check_thresholds
from streamspread.results.views import WHOLE

_MOST_SAID = 6  # layers that a line names, without the gap in it


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # == on arrays would raise, not compare
class LayerSpectrum(Spectrum):
    """A layer's spectrum and how it was made.

    Attributes:
        layer: the tap's name, and behind an @ the view, unless that is the whole. ``shape``: of one sample's
            activation, such as (C, H, W).
        method: the accumulator that made it: covariance, gram, sketch, or another that is registered.
        rounding: the precision of the activations that were summed: fp64, fp32, fp16, bf16 or int16.
        passes: how many times the data went through the network for this layer.
        seconds: of wall-clock time, spent on this layer alone (sums and eigenvalues); the forward is shared
            by all layers of a pass and not counted, nor is making rows of a view. NaN: not measured.
        peak_bytes: the most memory that the passes with this layer were measured to take beyond what was in
            use before them; 0 where it was not measured.
        source_dim: the dimension of a smaller activation of which this layer is a linear function, if any: no
            more directions than that can vary.
        summed_dim: how many numbers of a sample were summed, where these were not the layer's D but those of
            an activation of which it is a linear function; else None.
        view: what a sample is: an image's whole output, or what is made of its places
            (:data:`streamspread.results.views.VIEWS`).
        images: how many images the samples are places of; None where each sample is an image of its own.
        share_of_whole: where an image's mean over its P places was seen beside its whole output, the share of
            the whole's variance that these means hold: P times their variance, over that of the whole.
            Else NaN.
    """

    layer: str
    shape: tuple[int, ...]
    method: str
    rounding: str
    passes: int
    seconds: float = math.nan
    peak_bytes: int = 0
    source_dim: int | None = None
    summed_dim: int | None = None
    view: str = WHOLE
    images: int | None = None
    share_of_whole: float = math.nan

    @property
    def own_name(self) -> str:
        """The layer's, whatever the view."""
        return self.layer.removesuffix(f"@{self.view}")

    @property
    def seen(self) -> int:
        """How many images were."""
        return self.samples if self.images is None else self.images

    @property
    def rank_limit(self) -> int:
        """min(D, N − 1), or min(``summed_dim``, N − 1)."""
        return min(self.summed_dim or self.dim, self.samples - 1)

    @property
    def directions(self) -> int:
        """min(D, ``summed_dim``, ``source_dim``): how many there are, however many samples came."""
        return min(self.dim, self.summed_dim or self.dim, self.source_dim or self.dim)

    @property
    def ceiling(self) -> int:
        """min(D, N − 1, ``source_dim``): what no K can exceed."""
        return min(self.rank_limit, self.directions)

    def _said(self) -> str:
        return f"{self.layer}: {super()._said()}, {self.method} {self.rounding}"


class Spectra(ByLayer[LayerSpectrum], Framed):
    """Layers' spectra by name, in network order.

    Attributes:
        thresholds: those asked for; any other can be asked of the spectra as well, without a new run.
        provenance: how the result was made, as JSON holds it (:func:`streamspread.store.provenance`).
        twin: of the same layers of the same network with fresh weights; None where none was analysed.
    """

    printer = "print_spectra"

    def __init__(
        self,
        layers: Iterable[LayerSpectrum],
        thresholds: Sequence[float] = (0.7,),
        provenance: Mapping[str, Any] | None = None,
        twin: Spectra | None = None,
    ) -> None:
        super().__init__(layers, provenance)
        self.thresholds = check_thresholds(thresholds)
        self.twin = twin

    def save(self, path: str | Path) -> None:
        """Write an Arrow file with everything, which :func:`streamspread.read` reads: as
        :func:`streamspread.write`, which says what it raises."""
        elsewhere("write")(self, path)

    def plot(self, threshold: float | None = None) -> Any:
        """Draw the spread K(τ)/D by layer, with a bar where K is an interval; a colour for each view.

        Args:
            threshold: τ; None: the first that was asked for.

        Returns:
            a chart of Altair, which a notebook shows, ``|`` sets beside another, and ``save`` writes.
            OptionError for a threshold outside (0, 1], MissingError where Altair is not installed.
        """
        return elsewhere("plot_spectra")(self, threshold)

    def compare(
        self, other: Any, threshold: float | None = None, grams: tuple[Grams, Grams] | None = None
    ) -> Comparison:
        """This result beside another one, layer by layer, as
        :func:`streamspread.results.comparison.compare` says."""
        return compare(self, other, self.thresholds[0] if threshold is None else threshold, grams)

    def at(self, thresholds: Sequence[float]) -> Spectra:
        """The same spectra for other thresholds; OptionError for one outside (0, 1]."""
        twin = self.twin and self.twin.at(thresholds)
        return Spectra(self.values(), thresholds, self.provenance, twin)

    def __repr__(self) -> str:
        tau = self.thresholds[0]
        parts = [f"{name}: K({tau:g}) = {s.components(tau)} of {s.dim:,}" for name, s in self._layers.items()]
        if len(parts) > _MOST_SAID:
            parts[_MOST_SAID - 1 : -1] = [f"… {len(parts) - _MOST_SAID} more …"]
        return f"Spectra({', '.join(parts)})"
