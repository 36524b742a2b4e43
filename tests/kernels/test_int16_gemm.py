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
    most=st.sampled_from([1, 700, REACH]),
    seed=st.integers(0, 2**32 - 1),
)
def test_products_are_those_of_int64(rows, columns, terms, layouts, most, seed):
    rng = np.random.default_rng(seed)
    a, b = (
        torch.from_numpy(rng.integers(-most, most + 1, (count, terms))).short() for count in (rows, columns)
    )
    check_added(LAYOUTS[layouts[0]](a), LAYOUTS[layouts[1]](b), rng)


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, -1)], ids=str)
@pytest.mark.parametrize("terms", [1, 2, 3, 4, 129])
def test_the_largest_values_there_are_do_not_wrap(signs, terms):
    a, b = (
        torch.full((count, terms), sign * REACH).short() for count, sign in zip((9, 33), signs, strict=True)
    )
    check_added(a, b, np.random.default_rng(0))


@pytest.mark.parametrize("large", ["left", "right"])
def test_one_row_of_large_values_among_small_ones(large):
    """It alone says how many terms a tile may add in int32."""
    rng = np.random.default_rng(1)
    a, b = (torch.from_numpy(rng.integers(-3, 4, (count, 700))).short() for count in (21, 50))
    (a if large == "left" else b)[13] = REACH
    check_added(a, b, rng)


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
