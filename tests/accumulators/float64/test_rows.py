"""Pieces on several threads: in order, to the bits of one thread, within the memory, and BLAS as it was."""

import numpy as np
import pytest
import torch

from streamspread.accumulators.float64 import rows, running
from streamspread.accumulators.float64.rows import NotFinite
from streamspread.accumulators.float64.scatter import Scatter
from streamspread.estimator.probabilistic import Choice
from tests.devices import CPU


def test_results_come_in_order_and_not_far_ahead():
    asked = []

    def items():
        for number in range(20):
            asked.append(number)
            yield number

    for count, result in enumerate(rows.in_order(lambda number: number**2, items(), 3)):
        assert result == count**2
        assert len(asked) <= count + 5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int64])
def test_sums_have_the_same_bits_on_any_number_of_threads(dtype):
    x_ND = (100 * torch.randn(3000, 12, generator=torch.Generator().manual_seed(0)) + 70).to(dtype)
    found = []
    for at_once in (1, 2, 5):
        sums = Scatter(12, CPU, rows=170, at_once=at_once)
        sums.add_all([x_ND[:1000], x_ND[1000:]])
        found.append(sums)
    for sums in found[1:]:
        assert torch.equal(sums.matrix.a_NN.tril(), found[0].matrix.a_NN.tril())
        assert torch.equal(sums.sum_D, found[0].sum_D)
    want = np.cov(x_ND.double().numpy().T)
    np.testing.assert_allclose(
        np.tril(found[0]._centred(found[0].matrix)[0].a_NN) / 2999, np.tril(want), rtol=1e-10, atol=1e-9
    )


def test_a_piece_that_is_not_finite_is_refused_on_any_thread():
    x = np.ones((2000, 5))
    x[1500, 2] = np.nan
    with pytest.raises(NotFinite, match="not finite"):
        Scatter(5, CPU, rows=100, at_once=3).add(x)


@pytest.mark.parametrize("dim", [3, 100])
def test_as_many_pieces_at_once_as_fit(dim, monkeypatch):
    monkeypatch.setattr(running, "threads_available", lambda: 6)
    least = Scatter.nbytes(dim, CPU, 5)
    for more, at_once in ((0, 1), (2, 3), (50, 6)):
        budget = least + more * Scatter.piece_bytes(dim)
        resources = running.Resources(CPU, budget, "auto", None, Choice(5))
        assert resources.scatter(dim)._at_once == at_once
