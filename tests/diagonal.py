"""A fourth accumulator, in one file: the variance of every feature, for D too large for all others.

By Schur and Horn the k largest entries of a symmetric matrix's diagonal sum up to no more than its k largest
eigenvalues, so K is at most what the variances alone would need.
"""

from functools import partial

import numpy as np
import torch

from streamspread.accumulators.base import Accumulator, Candidate, Combine, Part
from streamspread.errors import DataError
from streamspread.results.spectrum import Spectrum
from streamspread.system.tensors import as_tensor


class Diagonal(Accumulator):
    method = "diagonal"

    def __init__(self, dim):
        self.dim, self.count = dim, 0
        self.sum_D, self.squares_D = torch.zeros(2, dim, dtype=torch.float64)

    @classmethod
    def candidate(cls, layer, setting):
        return Candidate(
            method=cls.method,
            passes=1,
            state_bytes=16 * layer.dim,
            finish_bytes=16 * layer.dim,
            operations=1e30,  # never by itself
            exact=False,
            order=0,
            why=f"the variances of {layer.dim:,} features",
            make=partial(cls, layer.dim),
        )

    @property
    def samples(self):
        return self.count

    def update(self, x_ND):
        self.count += len(x_ND)
        self.sum_D += x_ND.double().sum(0)
        self.squares_D += x_ND.double().square().sum(0)

    def end_pass(self, progress=None):
        pass

    def spectrum(self, options, progress=None):
        if self.count < 2:
            raise DataError(f"a covariance needs at least 2 samples, got {self.count}")
        variances_D = (self.squares_D - self.sum_D.square() / self.count) / (self.count - 1)
        lower_D = np.sort(variances_D.numpy())[::-1]
        total = float(lower_D.sum())
        return Spectrum(
            dim=self.dim,
            samples=self.count,
            total_variance=total,
            eigenvalues=lower_D,
            complete=False,
            upper_sums=np.full(self.dim, total),
            proof="Schur and Horn",
        )

    def state(self):
        parts = {"count": as_tensor(self.count), "sum": self.sum_D, "squares": self.squares_D}
        return {name: Part(tensor, Combine.SUM) for name, tensor in parts.items()}

    def load_state(self, tensors):
        self.count = int(tensors["count"])
        self.sum_D, self.squares_D = tensors["sum"].clone(), tensors["squares"].clone()

    def sizes(self):
        return f"{self.dim} features"


METHOD = Diagonal
