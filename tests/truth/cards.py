"""Kernels whose float32 sums of products err as on a card: cut off, or rounded one after the other."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock

import numba
import numpy as np
import torch

from streamspread import kernels
from streamspread.kernels import cpu
from tests import tensor_cores


@numba.njit(cache=True)
def _one_after_the_other(x_ND):
    """(D, D): xᵀx, every product added to one float32 sum."""
    rows, columns = x_ND.shape
    sums = np.zeros((columns, columns), dtype=np.float32)
    for i in range(columns):
        for j in range(i + 1):
            total = np.float32(0.0)
            for n in range(rows):
                total = np.float32(np.float64(total) + x_ND[n, i] * x_ND[n, j])
            sums[i, j] = sums[j, i] = total
    return sums


def in_a_row(x_ND):
    return _one_after_the_other(x_ND)


def on_tensor_cores(model, terms):
    """Products of so many terms, as that card adds them."""
    width, guard = tensor_cores.MODELS[model]
    return lambda x_ND: tensor_cores.gram(x_ND, terms, width, guard)


@contextmanager
def summing(gram):
    """The CPU's kernels, but float32 products of staged rows are summed by ``gram``: (N, D) → (D, D)."""

    def add_gram_rows(c_RN, x_NK, *, terms=None):
        if c_RN.dtype != torch.float32:
            return cpu.add_gram_rows(c_RN, x_NK, terms=terms)
        rows, count = c_RN.shape
        sums = gram(np.ascontiguousarray(x_NK[:count].T.double().numpy()))
        c_RN += torch.from_numpy(np.asarray(sums[count - rows :, :count], dtype=np.float32))
        return None

    model = SimpleNamespace(**{name: value for name, value in vars(cpu).items() if not name.startswith("__")})
    model.add_gram_rows = add_gram_rows
    with mock.patch.object(kernels, "for_device", return_value=model):
        yield
