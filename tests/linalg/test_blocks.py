"""Blocks of vectors: what is left of some outside a span is orthonormal, whatever they were."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.linalg import blocks
from streamspread.linalg.products import dense_product

N = 120
PRECISE = {torch.float32: 2e-5, torch.float64: 1e-13}


def normal(columns, seed, dtype=torch.float64):
    return torch.randn(N, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(list(PRECISE)),
    size=st.integers(1, 60),
    block=st.integers(1, 12),
    outside=st.lists(st.sampled_from([0.0, 1e-12, 1e-4, 0.1, 1.0]), min_size=12, max_size=12),
    alike=st.sampled_from([1.0, 1e-3, 1e-9]),
    known=st.booleans(),
    taken=st.booleans(),
)
def test_the_rest_of_a_block_is_orthonormal_and_outside_the_span(
    dtype, size, block, outside, alike, known, taken
):
    """Of vectors that lie within it, but for little or nothing, and whose rests may be nearly the same; with
    what they have in common with the span known or not, and partly taken off before or not."""
    q_NL = torch.linalg.qr(normal(size, 1))[0].to(dtype)
    fresh_NB = normal(1, 2) + alike * normal(block, 3)
    y_NB = q_NL.double() @ normal(block, 4)[:size] + fresh_NB * torch.tensor(outside[:block])
    y_NB = y_NB.to(dtype)
    size_B = torch.linalg.vector_norm(y_NB, dim=0) if taken else None
    if taken:
        last_NC = q_NL[:, -2:]
        y_NB = y_NB - last_NC @ (last_NC.T @ y_NB)
    drawn = []

    def random(columns):
        drawn.append(columns)
        return normal(columns, 10 + len(drawn), dtype)

    along_LB = dense_product(q_NL.T, y_NB) if known else None
    found_NB = blocks.rest(y_NB, q_NL, random, along_LB, size_B)
    both = torch.cat([q_NL, found_NB], dim=1).double()
    assert (both.T @ both - torch.eye(size + block)).abs().max() < PRECISE[dtype]
    if not drawn:  # all that y holds is there
        both, y_NB = torch.linalg.qr(both)[0], y_NB.double()
        off = torch.linalg.vector_norm(y_NB - both @ (both.T @ y_NB), dim=0)
        assert (off <= PRECISE[dtype] * torch.linalg.vector_norm(y_NB, dim=0)).all()


@pytest.mark.parametrize(("share", "products"), [(0.5, 1), (0.99, 2)])
def test_little_is_taken_off_once(share, products, monkeypatch):
    """And what was much leaves rounding errors, which a second product finds."""
    counted = []
    monkeypatch.setattr(blocks, "dense_product", lambda a, b: counted.append(a.shape) or a @ b)
    q_NL = torch.linalg.qr(normal(40, 1))[0]
    outside = normal(8, 3)
    outside = torch.linalg.qr(outside - q_NL @ (q_NL.T @ outside))[0]
    y_NB = q_NL @ (share * torch.eye(40, 8).double()) + (1.0 - share**2) ** 0.5 * outside
    found_NB = blocks.rest(y_NB, q_NL, pytest.fail)
    assert counted == [(40, N), (N, 40)] * products
    assert (q_NL.T @ found_NB).abs().max() < 1e-14
