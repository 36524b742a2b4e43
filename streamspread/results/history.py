"""Spread over a training: what was seen of layers, step after step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from streamspread.errors import OptionError
from streamspread.results.interval import Interval
from streamspread.results.metrics import metrics_of
from streamspread.results.spectra import LayerSpectrum
from streamspread.results.views import WHOLE

#: What a reading has of its spectrum as it is.
_SHARED = (
    "layer",
    "shape",
    "dim",
    "samples",
    "view",
    "method",
    "rounding",
    "total_variance",
    "ceiling",
    "seconds",
)


class Components(NamedTuple):
    """K(τ) in [low, high]; ``limited``: it says more of the number of samples than of the layer."""

    threshold: float
    low: int
    high: int
    limited: bool = False

    @property
    def interval(self) -> Interval:
        return Interval(self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A layer at one time of a training.

    Attributes:
        step: steps that had been taken when the first sample came. ``until``: when the last one did; the same
            where all samples are of one network, as those of a probe set.
        layer: the tap's name, and behind an @ the view. ``view``, ``shape``, ``dim``: as of
            :class:`LayerSpectrum`; ``images``: that the samples are of.
        total_variance: T; NaN where nothing could be told. ``ceiling``: what no K exceeds.
        components: at each threshold; none where nothing could be told.
        metrics: by name, as of :class:`streamspread.results.metrics.Metrics`; NaN for what is not known.
        seconds: that sums and eigenvalues took.
        note: why nothing could be told, or what there is to know.
    """

    step: int
    until: int
    layer: str
    shape: tuple[int, ...]
    dim: int
    samples: int
    images: int
    view: str = WHOLE
    method: str = ""
    rounding: str = ""
    ceiling: int = 0
    components_at: tuple[Components, ...] = ()
    total_variance: float = math.nan
    seconds: float = math.nan
    metrics: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @staticmethod
    def of(
        spectrum: LayerSpectrum, thresholds: Iterable[float], step: int, until: int, note: str = ""
    ) -> Reading:
        """What a training keeps of a spectrum."""
        found = ((tau, spectrum.components(tau)) for tau in thresholds)
        return Reading(
            step=step,
            until=until,
            images=spectrum.seen,
            components_at=tuple(
                Components(tau, int(k.low), int(k.high), spectrum.limited_by_samples(tau)) for tau, k in found
            ),
            metrics=metrics_of(spectrum),
            note=note,
            **{name: getattr(spectrum, name) for name in _SHARED},
        )

    @property
    def told(self) -> bool:
        """Whether anything could be."""
        return bool(self.components_at)

    def components(self, threshold: float) -> Interval:
        """K(τ) as an interval; OptionError for a threshold that the training was not asked for."""
        for one in self.components_at:
            if one.threshold == threshold:
                return one.interval
        known = ", ".join(f"{one.threshold:g}" for one in self.components_at) or "none"
        raise OptionError(
            f"layer {self.layer} at step {self.step:,}: no K at τ = {threshold:g} was kept, only at {known}"
        )

    def spread(self, threshold: float) -> Interval:
        """K(τ)/D as an interval; errors as :meth:`components`."""
        low, high = self.components(threshold)
        return Interval(low / self.dim, high / self.dim)

    def row(self) -> dict[str, Any]:
        """As a row of a file; unknown numbers are None."""
        row: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        row = {("components" if name == "components_at" else name): value for name, value in row.items()}
        row |= {"shape": list(self.shape), "components": [one._asdict() for one in self.components_at]}
        note, metrics = row.pop("note"), row.pop("metrics")
        row |= {**metrics, "note": note}
        return {name: None if value != value else value for name, value in row.items()}

    @staticmethod
    def from_row(row: Mapping[str, Any], metrics: Iterable[str]) -> Reading:
        """What :meth:`row` made a row of.

        Raises:
            ValueError, TypeError, KeyError: it is none.
        """

        def number(value: float | None) -> float:
            return math.nan if value is None else float(value)

        found = tuple(
            Components(float(one["threshold"]), int(one["low"]), int(one["high"]), bool(one["limited"]))
            for one in row["components"]
        )
        for one in found:
            if not 0.0 < one.threshold <= 1.0 or not 0 <= one.low <= one.high:
                raise ValueError(f"K({one.threshold}) is [{one.low}, {one.high}]")
        if not 0 <= int(row["step"]) <= int(row["until"]):
            raise ValueError(f"steps {row['step']} to {row['until']}")
        if int(row["dim"]) < 1:
            raise ValueError(f"a dimension of {row['dim']}")
        kinds: dict[Any, Callable[[Any], Any]] = {"int": int, "str": str, "float": number}
        plain = {one.name: kinds[str(one.type)] for one in fields(Reading) if one.type in kinds}
        return Reading(
            shape=tuple(int(n) for n in row["shape"]),
            components_at=found,
            metrics={name: number(row.get(name)) for name in metrics},
            **{name: read(row[name]) for name, read in plain.items()},
        )


class History:
    """Readings in the order of the steps, a layer after the other within each.

    Attributes:
        readings: all of them. ``provenance``: how they were made, as JSON holds it.
    """

    def __init__(self, readings: Iterable[Reading] = (), provenance: Mapping[str, Any] | None = None) -> None:
        self.readings = tuple(readings)
        self.provenance = dict(provenance or {})

    def __len__(self) -> int:
        return len(self.readings)

    def __repr__(self) -> str:
        return f"History({len(self.steps):,} steps, layers: {', '.join(self.layers) or 'none'})"

    @property
    def layers(self) -> tuple[str, ...]:
        """Their names, in the order in which they first came."""
        return tuple(dict.fromkeys(one.layer for one in self.readings))

    @property
    def steps(self) -> tuple[int, ...]:
        """At which something was seen."""
        return tuple(dict.fromkeys(one.step for one in self.readings))

    @property
    def thresholds(self) -> tuple[float, ...]:
        return tuple(dict.fromkeys(k.threshold for one in self.readings for k in one.components_at))

    def of(self, layer: str) -> tuple[Reading, ...]:
        """A layer's readings, in the order of the steps.

        Raises:
            OptionError: no such layer.
        """
        found = tuple(one for one in self.readings if one.layer == layer)
        if not found:
            raise OptionError(f"no layer {layer!r} here: there are {', '.join(self.layers) or 'none'}")
        return found
