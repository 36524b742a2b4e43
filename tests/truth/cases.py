"""Cases by category: what is drawn, how it is summed and solved, and the check of all that came out."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch

from streamspread.accumulators.base import Unfit
from streamspread.accumulators.methods.covariance import Covariance
from streamspread.accumulators.methods.gram import Gram
from streamspread.accumulators.methods.sketch import QuickSketch
from streamspread.accumulators.staging import Overflow, Precision
from streamspread.errors import StreamspreadError
from streamspread.linalg.iteration import MOST_PASSES
from streamspread.options import Options
from tests.devices import CPU
from tests.states import How, every, leading, sketch, solved
from tests.truth import cards, layers, nets
from tests.truth.checks import Outcome, check
from tests.truth.recording import recorded

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
THRESHOLDS = (0.5, 0.7, 0.9, 0.95, 0.99)
METHODS, ROUNDINGS = ("covariance", "gram", "sketch"), ("fp32", "fp32", "fp64", "fp16", "bf16")
SOLVERS = ("dense", "dense", "dense", "dense", "in place", "leading", "leading, no proof")


@dataclass(frozen=True)
class Category:
    """What is drawn, and what of each choice there may be; a choice that is named twice is taken more often.

    may_refuse: numbers may lie beyond what can be summed, and an error is an answer too.
    parts: states that are merged. ``scales``: exponents of ten by which the parts differ.
    """

    draw: Callable
    methods: tuple = METHODS
    roundings: tuple = ROUNDINGS
    solvers: tuple = SOLVERS
    dtypes: tuple = (F32, F32, F64)
    passes: tuple = (1, 2, 3)
    parts: tuple = (1,)
    scales: tuple = (0.0,)
    staging: tuple = (16, 64, 1024, 1024)
    card: bool = False
    may_refuse: bool = False


EXACT = ("covariance", "gram")
CATEGORIES = {
    "relu": Category(layers.relu, ("covariance",), ("fp32",), ("dense",), (F32,), staging=(128, 1024, 1024)),
    "two amplitudes": Category(layers.two_amplitudes),
    "repeats": Category(layers.repeats),
    "sparse": Category(layers.sparse),
    "constant columns": Category(layers.constant_columns),
    "constant": Category(layers.constant, dtypes=(F64, F64, F32, F16, BF16)),
    "nearly equal": Category(layers.nearly_equal),
    "one dominant": Category(layers.one_dominant),
    "rank-deficient": Category(layers.rank_deficient),
    "power law": Category(layers.power_law),
    "ties": Category(layers.ties),
    "far shift": Category(layers.far_shift),
    "heavy tails": Category(layers.heavy_tails),
    # As far as a variance can be told; other precisions have float32's range, and refuse what is beyond it.
    "extreme float64": Category(layers.magnitude((-132, 132)), roundings=("fp64",), dtypes=(F64,)),
    "beyond float64": Category(layers.magnitude((-165, 155)), dtypes=(F64,), may_refuse=True),
    "extreme float32": Category(layers.magnitude((-34, 34)), dtypes=(F32,)),
    "tiles": Category(layers.several_magnitudes((-8, 8)), ("gram",)),
    "few samples": Category(layers.few_samples),
    "one feature": Category(layers.one_feature),
    "16 bits": Category(layers.any_spectrum, roundings=("fp16", "bf16"), dtypes=(F16, BF16, F32, F64)),
    "any": Category(layers.any_spectrum),
    "sketch": Category(layers.any_spectrum, ("sketch",)),
    "leading": Category(layers.power_law, EXACT, solvers=("leading", "leading, no proof")),
    "in place": Category(layers.any_spectrum, EXACT, solvers=("in place",)),
    "merged": Category(layers.any_spectrum, ("covariance",), parts=(2, 3, 5), scales=(0.0, 2.0, 6.0)),
    "merged sketches": Category(layers.any_spectrum, ("sketch",), parts=(2, 3), scales=(0.0, 2.0, 6.0)),
    "merged, far apart": Category(
        layers.any_spectrum, ("covariance", "sketch"), dtypes=(F64, F32), parts=(2, 3), scales=(15.0, 30.0)
    ),
    "tensor cores": Category(
        layers.on_a_card, EXACT[:1], ("fp16", "bf16"), ("dense",), (F32, F16), card=True
    ),
    "float32 on a card": Category(layers.on_a_card, EXACT[:1], ("fp32",), ("dense",), (F32,), card=True),
    "integers": Category(layers.any_spectrum, EXACT, ("int16",), dtypes=(F16, BF16, F32, F64)),
    "integers, hard": Category(layers.nearly_equal, EXACT, ("int16",)),
    "integers, heavy tails": Category(layers.heavy_tails, EXACT, ("int16",)),
    "integers, iterated": Category(layers.any_spectrum, ("sketch",), ("int16",), passes=(1, 2, 3, 5)),
    "integers, iterated, hard": Category(layers.nearly_equal, ("sketch",), ("int16",)),
    "integers, iterated, heavy tails": Category(layers.heavy_tails, ("sketch",), ("int16",)),
    "integers, tiles": Category(layers.several_magnitudes((-8, 8)), ("gram",), ("int16",)),
    "integers, merged": Category(
        layers.any_spectrum, EXACT[:1], ("int16",), parts=(2, 3, 5), scales=(0.0, 2.0, 6.0)
    ),
}
NAMES = [*CATEGORIES, "networks"]


@dataclass
class Way:
    """How a case is summed and solved; all of it is drawn before anything runs."""

    method: str
    rounding: str
    solver: str
    passes: int
    cuts: list
    first: int
    staging_rows: int
    panel_rows: int
    tile: int
    rank: int
    adaptive: bool
    taus: tuple
    summing: Callable = field(default=nullcontext, repr=False)
    card: str = ""

    def __str__(self):
        sketched = (
            f" rank {self.rank}, {self.passes} passes" if self.method == "sketch" else f" {self.solver}"
        )
        merged = f", {len(self.cuts) + 1} parts" if self.cuts else ""
        return f"{self.method} {self.rounding}{sketched}{merged}{self.card and f', {self.card}'}"


def generator(name, seed):
    return np.random.default_rng([zlib.crc32(name.encode()), seed])


def attack(name, seed):
    """The outcomes of one case: one, or as many as a network has layers."""
    rng = generator(name, seed)
    if name == "networks":
        return nets.attack(name, seed, rng)
    category = CATEGORIES[name]
    drawn = category.draw(rng)
    x, first = drawn if isinstance(drawn, tuple) else (drawn, None)
    way = _way(category, rng, *x.shape, first)
    if way.cuts and max(category.scales):
        apart = 10.0 ** (rng.choice(category.scales) * rng.uniform(-1, 1, size=len(way.cuts) + 1))
        x = np.concatenate([part * s for part, s in zip(np.split(x, way.cuts), apart, strict=True)])
    x = layers.as_model(x, rng, category.dtypes)
    outcome = Outcome(name, seed, str(way), *x.shape)
    after = rng.spawn(1)[0]
    if not torch.isfinite(x).all():
        return [outcome]
    try:
        _run(x, way, rng, after, outcome)
    except Unfit as error:
        outcome.refused = f"unfit: {error}"
    except (Overflow, StreamspreadError) as error:
        outcome.refused = f"{type(error).__name__}: {error}"
        if not category.may_refuse:
            outcome.miss("refused", outcome.refused)
    except Exception as error:  # whatever it is, nobody should see it
        outcome.miss("raised", f"{type(error).__name__}: {error}")
    return [outcome]


def _way(category, rng, samples, dim, first):
    def one_of(choices):
        return choices[rng.integers(len(choices))]

    parts = min(one_of(category.parts), samples)
    cuts = np.sort(rng.choice(np.arange(1, samples), parts - 1, replace=False)) if parts > 1 else []
    way = Way(
        method=one_of(category.methods),
        rounding=one_of(category.roundings),
        solver=one_of(category.solvers),
        passes=one_of(category.passes),
        cuts=[int(cut) for cut in cuts],
        first=first
        or int(rng.choice([1, 2, samples, samples, min(128, samples), layers.whole(rng, 1, samples)])),
        staging_rows=one_of(category.staging),
        panel_rows=int(rng.choice([7, 50, 1024])),
        tile=layers.whole(rng, 1, dim),
        rank=layers.whole(rng, 1, 40),
        adaptive=bool(rng.random() < 0.4),
        taus=tuple(THRESHOLDS[: rng.integers(1, 6)]),
    )
    if way.solver.startswith("leading") and min(samples, dim) < 16:
        way.solver = "dense"
    if category.card:
        way.staging_rows, way.panel_rows = one_of((128, 1024, 16384)), 1024
        if way.rounding == "fp32":
            gram, way.card = cards.in_a_row, "in a row"
        else:
            model, terms = str(rng.choice(["V100", "H100"])), int(rng.choice([256, 4096]))
            gram, way.card = cards.on_tensor_cores(model, terms), f"{model}, {terms} terms"
        way.summing = lambda: cards.summing(gram)
    return way


def _run(x, way, rng, after, outcome):
    """As an analysis does it: what overflows at fp16 is summed again at bf16, and at int16 in a larger
    unit."""
    precision = Precision(way.rounding)
    while precision is not None:
        found = Outcome(outcome.category, outcome.seed, outcome.way, outcome.samples, outcome.dim)
        (feed,) = after.bit_generator.seed_seq.spawn(1)
        try:
            _at(precision, x, way, (rng, np.random.default_rng(feed)), found)
            precision = None
        except Overflow as error:
            if precision.rounding != "fp16" and not error.scale:
                raise
            precision = Precision("int16", "", error.scale) if error.scale else Precision("bf16")
    vars(outcome).update(vars(found))


def _at(precision, x, way, generators, outcome):
    rng, feed = generators
    rounding = precision.rounding
    with recorded() as recorder, way.summing():
        state = _summed(x, way, precision, feed)
        for index in range(way.passes if way.method == "sketch" else 1):
            if index:
                recorder.clear()
                _feed(state, x, way, feed)
            check(outcome, _solved(state, way), recorder, ("", rounding, way), rng)


def _summed(x, way, precision, rng):
    parts = x.split(np.diff([0, *way.cuts, len(x)]).tolist())
    states = []
    for part in parts:
        states.append(_state(way, x.shape[1], len(part), precision))
        passes = -(-x.shape[1] // states[-1].tile) if way.method == "gram" else 1
        sizes = _sizes(len(part), way, rng)
        for _ in range(passes):
            for batch in part.split(sizes):
                states[-1].update(batch)
            states[-1].end_pass()
    for other in states[1:]:
        states[0].merge(other)
    return states[0]


def _feed(state, x, way, rng):
    for batch in x.split(_sizes(len(x), way, rng)):
        state.update(batch)
    state.end_pass()


def _state(way, dim, samples, precision):
    if way.method == "covariance":
        sizes = {"staging_rows": way.staging_rows, "panel_rows": way.panel_rows}
        return Covariance(dim, precision=precision, device=CPU, **sizes)
    if way.method == "gram":
        sizes = {"tile": way.tile, "panel_rows": way.panel_rows}
        return Gram(dim, samples, precision=precision, device=CPU, **sizes)
    if precision.exact:  # the quick form
        until = Options(thresholds=way.taus, max_passes=MOST_PASSES)
        sizes = {"rank": 4 * way.rank, "staging_rows": way.staging_rows, "until": until}
        return QuickSketch(dim, precision=precision, device=CPU, **sizes)
    return sketch(dim, way.rank, precision.rounding, CPU, way.taus, way.staging_rows, adaptive=way.adaptive)


def _sizes(count, way, rng):
    """Of batches: the first one as it was drawn, then anything, now and then none."""
    sizes = [min(way.first, count)]
    while (left := count - sum(sizes)) > 0:
        size = int(rng.choice([left, layers.whole(rng, 1, left), layers.whole(rng, 1, 20), 0]))
        sizes.append(min(left, size))
    return sizes


def _solved(state, way):
    if way.method == "sketch":
        return solved(state, way.taus)
    order = state.panels.n
    how = {
        "dense": How(),
        "in place": every(0),
        "leading": leading(order, block=8, most=order // 2),
        "leading, no proof": leading(order, block=8, most=order // 2, proof=False),
    }[way.solver]
    return solved(state, way.taus, how)
