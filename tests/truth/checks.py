"""One spectrum against what was summed: every bound at every k, and K at many thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tests.truth.reference import reference

#: Significant bits of each rounding, and the unit of its sums.
BITS = {"fp64": 53, "fp32": 24, "fp16": 11, "bf16": 8, "int16": 14}
UNITS = {"fp64": 2.0**-52, "fp32": 2.0**-23, "fp16": 2.0**-23, "bf16": 2.0**-23, "int16": 2.0**-52}
TAUS = (0.3, 0.5, 0.7, 0.9, 0.95, 0.99)

_DISTANCES = np.outer([1, -1], [1e-9, 1e-8, 1e-7, 3e-7, 1e-6, 3e-6, 1e-5]).ravel()
_NEAR = 64.0  # units: a threshold that lies closer to a sum may be left open
_ROUND = 2.0**-50  # of shares that are divided and added up in float64


@dataclass
class Outcome:
    """What one layer's checks found.

    Attributes:
        misses: (kind, text). ``refused``: the error, where there is no answer.
        asked, open, needless: thresholds of the table that were asked at exact results; those left open; of
            these the ones farther from every sum than 64 units of rounding of what was summed.
        widest: components of the widest of them. ``gap``: between the sums' bounds, in those units.
        error: the largest of a computed sum, in those units.
        sketched: a sketch, or a search without proof, which may well be open and is not counted.
    """

    category: str
    seed: int
    way: str
    samples: int
    dim: int
    misses: list = field(default_factory=list)
    refused: str = ""
    asked: int = 0
    open: int = 0
    needless: int = 0
    widest: int = 0
    gap: float = 0.0
    error: float = 0.0
    sketched: bool = False

    def miss(self, kind, text):
        self.misses.append((kind, text))

    def __str__(self):
        found = "; ".join(f"{kind}: {text}" for kind, text in self.misses[:4])
        what = f"{self.category!r} {self.seed} ({self.samples} × {self.dim}, {self.way})"
        return f"{what}: {found}\n  python -m benchmarks.truth --case '{self.category}' {self.seed}"


def check(outcome, spectrum, recorder, made, rng):
    """Adds what is wrong with a spectrum, and what it leaves open; ``made``: layer, rounding and way."""
    layer, rounding, way = made
    dim = getattr(spectrum, "summed_dim", None) or spectrum.dim
    truth = reference(recorder.summed(layer, rounding, dim))
    excess = recorder.excess(layer, rounding)
    unit = UNITS[rounding] * excess
    if (off := recorder.check_rounding(layer, rounding, BITS[rounding])) > 0:
        outcome.miss("rounding", f"a value is off by {off:.1e} of the largest deviation beyond its rounding")
    if (spectrum.samples, dim) != (truth.samples, truth.dim):
        outcome.miss("sizes", f"{spectrum.samples} × {dim}, not {truth.samples} × {truth.dim}")
        return
    lower, upper = bounds(spectrum)
    numbers = (lower, upper, spectrum.eigenvalues, [spectrum.total_variance])
    if not all(np.isfinite(part).all() for part in numbers):
        outcome.miss("not finite", "a bound, an eigenvalue or T")
        return
    if not truth.total or not spectrum.total_variance:
        _check_constant(outcome, spectrum, truth)
        return
    off = float(abs(spectrum.total_variance / truth.total - 1))
    allowed = 1e-12 + truth.samples * 2.0**-52 * excess
    if (
        way.method == "sketch"
    ):  # after a merge a second reading is rounded otherwise, about the mean of the first
        allowed += 1e-9 + 4 * excess * 2.0 ** (-2 * BITS[rounding])
    if off > allowed:
        outcome.miss("total", f"T is off by {off:.1e} of itself")
    _check_bounds(outcome, lower / spectrum.total_variance, upper / spectrum.total_variance, truth, unit)
    _check_components(outcome, spectrum, truth, rng)
    _check_participation(outcome, spectrum, truth, excess)
    outcome.sketched = way.method == "sketch" or way.solver == "leading, no proof"
    _count_open(outcome, spectrum, truth, unit, (lower, upper))


def bounds(spectrum):
    """Lower and upper sums; exact eigenvalues are both."""
    lower = spectrum.lower_sums if len(spectrum.lower_sums) else np.cumsum(spectrum.eigenvalues)
    return lower, spectrum.upper_sums if len(spectrum.upper_sums) else lower


def _check_constant(outcome, spectrum, truth):
    found = spectrum.components(0.7)
    if truth.total:
        outcome.miss("constant", f"T is {truth.total:.1e}, and it came out as 0")
    elif found != (0, 0):
        outcome.miss(
            "constant", f"K is 0, and it came out as {found}, with T = {spectrum.total_variance:.1e}"
        )


def _check_bounds(outcome, lower, upper, truth, unit):
    for kind, sums, sign in (("lower sum", lower, 1), ("upper sum", upper, -1)):
        count = min(len(sums), len(truth.shares))
        off = sign * (sums[:count] - truth.shares[:count]) - truth.errors[:count] - _ROUND
        if count and off.max() > 0:
            k = int(off.argmax()) + 1
            outcome.miss(kind, f"k = {k} is violated by {off.max():.1e} of T ({off.max() / unit:.2g} units)")


def _check_components(outcome, spectrum, truth, rng):
    shares = truth.shares
    ks = range(len(shares)) if len(shares) <= 8 else rng.choice(len(shares), 8, replace=False)
    close = np.add.outer([shares[k] for k in ks], _DISTANCES).ravel()
    taus = [*TAUS, 1.0, *shares[: 8 if len(shares) < 9 else 4], *rng.uniform(0, 1, 4), *close]
    wrong = 0
    for tau in taus:
        if not 0 < tau <= 1:
            continue
        low, high = spectrum.components(float(tau))
        least, most = truth.possible(float(tau))
        if not (low <= most and least <= high and low <= high <= truth.limit):
            wrong += 1
            text = f"K({tau:.12g}) is {least if least == most else (least, most)}, not in {low}…{high}"
    if wrong:
        outcome.miss("K", f"{text} (and {wrong - 1} more)" if wrong > 1 else text)


def _check_participation(outcome, spectrum, truth, excess):
    """T²/Σλ²: finite, and right where nothing but the sums' own rounding stands in the way."""
    if not spectrum.complete or excess > 10:
        return
    values = np.diff(truth.shares, prepend=0.0)
    want, found = 1 / float(np.square(values).sum()), float(spectrum.participation_ratio)
    if not abs(found / want - 1) < 1e-3:
        outcome.miss("participation ratio", f"{found:.6g}, not {want:.6g}")


def _count_open(outcome, spectrum, truth, unit, sums):
    lower, upper = sums
    count = min(len(lower), len(upper), len(spectrum.eigenvalues), len(truth.shares))
    gaps = (upper[:count] - lower[:count]) / spectrum.total_variance
    outcome.gap = float(gaps.max() / unit) if count else 0.0
    computed = np.cumsum(spectrum.eigenvalues[:count]) / spectrum.total_variance
    errors = np.abs(computed - truth.shares[:count])
    outcome.error = float(errors.max() / unit) if count else 0.0
    # A search finds what its own thresholds need: only all eigenvalues answer any other.
    for tau in TAUS if spectrum.complete else ():
        low, high = spectrum.components(tau)
        outcome.asked += 1
        if low < high:
            outcome.open += 1
            outcome.widest = max(outcome.widest, int(high - low))
            outcome.needless += bool(np.abs(truth.shares - tau).min() > _NEAR * unit)
