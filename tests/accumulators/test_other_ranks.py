"""States of several ranks go on on any number of them, in the middle of any pass."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from streamspread.accumulators.methods.gram import Gram
from streamspread.accumulators.methods.sketch import Sketch
from streamspread.accumulators.spectrum import Step
from streamspread.accumulators.staging import Precision
from streamspread.system.devices import CPU as CONSTANTS
from streamspread.system.tensors import columns_in
from tests.side_by_side import together

CPU = torch.device("cpu")
DIM, SAMPLES, BATCHES = 50, 60, 9
X = torch.randn(SAMPLES, DIM, generator=torch.Generator().manual_seed(0))


def gram(ranks, rounding, tile):
    step = Step(16, replace(CONSTANTS, dense_limit=0), ranks=ranks)
    return Gram(DIM, SAMPLES, tile=tile, precision=Precision(rounding), device=CPU, panel_rows=16, step=step)


def sketch(ranks):
    step = Step(16, CONSTANTS, ranks=ranks)
    sizes = {"rank": 8, "thresholds": (0.9,), "staging_rows": 16}
    return Sketch(DIM, precision=Precision("fp32"), device=CPU, step=step, **sizes)


def gone_through(make, passes, sizes=(2,), at=()):
    """The state of all ranks in the end, where after so many batches others in number go on."""
    steps = [*X.split(-(-SAMPLES // BATCHES)), None] * passes
    state = None
    for size, (begin, end) in zip(sizes, pairwise([0, *at, len(steps)]), strict=True):

        def work(ranks, state=state, begin=begin, end=end):
            accumulator = make(ranks)
            if state is not None:
                accumulator.load_state(state)
            for x_ND in steps[begin:end]:
                if x_ND is None:
                    accumulator.end_pass()
                    continue
                bounds = accumulator.bounds or [0, DIM]
                accumulator.update(x_ND[:, bounds[ranks.rank] : bounds[ranks.rank + 1]])
            return {name: part.tensor.clone() for name, part in accumulator.state().items()}

        state = {}
        for one in together(size, work):
            state = one | state  # under one name the first one's, as in a checkpoint
    return state


# How many go on, and after how many batches and ends of passes.
TURNS = [
    ((2, 2), (4,)),
    ((2, 2), (13,)),
    ((2, 1), (4,)),
    ((2, 3), (4,)),
    ((2, 1, 3), (3, 15)),
    ((2, 1), (9,)),
]


@pytest.mark.parametrize(("sizes", "at"), TURNS)
@pytest.mark.parametrize(("rounding", "tile"), [("int16", DIM), ("int16", 10), ("fp32", DIM), ("fp32", 10)])
def test_sums_of_products_are_those_of_the_ranks_that_began(rounding, tile, sizes, at):
    passes = 3 if tile == 10 else 2
    whole = gone_through(lambda ranks: gram(ranks, rounding, tile), passes)
    found = gone_through(lambda ranks: gram(ranks, rounding, tile), passes, sizes, at)
    assert {name for name in whole if name.startswith("whole.panels.")} <= found.keys()
    for name in (one for one in whole if one.startswith("whole.")):
        exactly = (rounding == "int16" and "panels" in name) or sizes == (2, 2)
        assert torch.equal(found[name], whole[name]) or not exactly, name
        torch.testing.assert_close(
            found[name], whole[name], rtol=1e-6, atol=1e-6 * float(whole["whole.total"])
        )


@pytest.mark.parametrize(("sizes", "at"), [*TURNS, ((1, 2), (14,)), ((3, 2), (12,))])
def test_columns_of_a_sketch_are_cut_anew(sizes, at):
    whole, found = gone_through(sketch, 2, sizes[:1]), gone_through(sketch, 2, sizes, at)
    for name in ("ritz.y", "ritz.q", "shift", "sum_D"):
        a, b = columns_in(name, whole, 0, DIM), columns_in(name, found, 0, DIM)
        assert torch.equal(a, b) or sizes[1] != sizes[0], name
        if name.startswith("ritz."):  # the sign of an eigenvector is nobody's choice
            b = b * (a * b).sum(dim=-1, keepdim=True).sign()
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
