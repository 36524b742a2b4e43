"""Products of two blocks of 16-bit integers against int64, whatever their shapes, values and places."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.kernels import int16_gemm
from streamspread.kernels.formats import INT16_LIMIT, digit_terms

REACH = INT16_LIMIT
LAYOUTS = {
    "rows": lambda x: x,
    "columns": lambda x: x.T.contiguous().T,
    "apart": lambda x: torch.cat([x, x], 1)[:, : x.shape[1]],
    "every second": lambda x: x.repeat_interleave(2, 1)[:, ::2],
}


def check_added(a_MK, b_NK, rng):
    """Added to numbers that are there, in some columns of wider rows; nothing beside is touched."""
    rows, columns = len(a_MK), len(b_NK)
    c = torch.from_numpy(rng.integers(-(2**40), 2**40, (rows, columns + 5))).double()
    expected = c.long()
    left = int(rng.integers(0, 6))
    expected[:, left : left + columns] += a_MK.long() @ b_NK.long().T
    int16_gemm.add_product(c[:, left : left + columns], a_MK, b_NK)
    assert torch.equal(c.long(), expected)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    rows=st.sampled_from([1, 2, 7, 8, 17, 40, 130]),
    columns=st.sampled_from([1, 3, 15, 16, 49, 100]),
    terms=st.sampled_from([1, 2, 3, 63, 64, 65, 301, 1000]),
    layouts=st.tuples(*[st.sampled_from(sorted(LAYOUTS))] * 2),
    most=st.sampled_from([1, 700, REACH, "signs alone"]),
    large=st.sampled_from([None, 0, 1]),
    seed=st.integers(0, 2**32 - 1),
)
def test_products_are_those_of_int64(rows, columns, terms, layouts, most, large, seed):
    """Of any numbers; of the largest there are alone; of small ones and one row of the largest, which says
    how many terms a tile may add in int32."""
    rng = np.random.default_rng(seed)
    factors = []
    for number, count in enumerate((rows, columns)):
        if most == "signs alone":
            x = np.full((count, terms), rng.choice([-REACH, REACH]))
        else:
            x = rng.integers(-most, most + 1, (count, terms))
        if number == large:
            x[rng.integers(0, count)] = REACH
        factors.append(LAYOUTS[layouts[number]](torch.from_numpy(x).short()))
    check_added(*factors, rng)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (700, 3), (5, 700), (520, 530)])
def test_more_than_one_block_and_more_terms_than_are_packed_at_a_time(rows, columns):
    terms = 2 * digit_terms(rows + 2 * columns) + 11 if rows * columns == 1 else 37
    rng = np.random.default_rng(2)
    a, b = (torch.from_numpy(rng.integers(-REACH, REACH + 1, (n, terms))).short() for n in (rows, columns))
    check_added(a, b, rng)


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0)], ids=str)
def test_nothing_adds_nothing(shape):
    rows, columns, terms = shape
    c = torch.full((rows, columns), 7.0, dtype=torch.float64)
    int16_gemm.add_product(
        c, torch.ones(rows, terms, dtype=torch.int16), torch.ones(columns, terms, dtype=torch.int16)
    )
    assert torch.equal(c, torch.full((rows, columns), 7.0, dtype=torch.float64))
