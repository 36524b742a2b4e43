"""Inner products between samples, from feature tiles: exact at any D, ≈ N²/2 numbers, ⌈D/tile⌉ passes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from streamspread import kernels
from streamspread.accumulators.finish import FinishOptions, check_sums, finish, finish_bytes
from streamspread.accumulators.staging import Staging
from streamspread.errors import ActivationError, OptionError
from streamspread.linalg.panels import SymmetricPanels
from streamspread.results.spectrum import Spectrum


class Gram:
    """X Xᵀ of N centred samples, whose non-zero eigenvalues are the scatter's.

    A tile is a window of features. In each pass the tile's columns of all N samples are staged, and their
    products added at the end of the pass; the features as a whole are never held. All passes must bring the
    same samples in the same order.

    Tiles are added in one scale, the smallest that any of them called for so far: a tile of smaller numbers
    then loses what does not count beside the others, where a larger scale could take these out of range.
    """

    method = "gram"

    def __init__(
        self,
        dim: int,
        samples: int,
        *,
        tile: int,
        rounding: str,
        device: torch.device,
        panel_rows: int = 1024,
        layer: str = "",
    ) -> None:
        self.dim, self.samples, self.tile = dim, samples, min(tile, dim)
        self.rounding, self.device, self.layer = rounding, device, layer
        self.panels = SymmetricPanels(samples, panel_rows, kernels.SUM_DTYPES[rounding], device)
        self.begin = 0  # first feature of the tile at hand
        self.total = 0.0
        self.scale = math.inf  # nothing has been added yet
        self.staging: Staging | None = None

    @staticmethod
    def passes(dim: int, tile: int) -> int:
        """How often the data goes through the network: ⌈D/tile⌉."""
        return -(-dim // min(tile, dim))

    @staticmethod
    def nbytes(
        dim: int,
        samples: int,
        *,
        tile: int,
        rounding: str,
        device: torch.device,
        panel_rows: int,
        max_block: int,
        all_eigenvalues: bool = False,
        proof: bool = True,
    ) -> tuple[int, int]:
        """(bytes of the state while data streams, extra bytes of the eigenvalue step)."""
        dtype = kernels.SUM_DTYPES[rounding]
        panels = SymmetricPanels.nbytes(samples, panel_rows, dtype)
        staging = Staging.nbytes(min(tile, dim), samples, rounding, device)
        staging += kernels.product_bytes(min(panel_rows, samples), samples, dtype, device)
        finish = finish_bytes(
            samples,
            panel_rows,
            dtype,
            device,
            correction_rank=2,
            max_block=max_block,
            all_eigenvalues=all_eigenvalues,
            proof=proof,
        )
        return panels + staging, max(0, finish - staging)  # the tile is gone when the eigenvalue step begins

    def update(self, x_ND: torch.Tensor) -> None:
        """Add a batch (n, D): any float dtype, on the accumulator's device, its features in one order.

        Raises:
            ActivationError: more samples in a pass than were announced.
        """
        if self.staging is None:
            width = min(self.tile, self.dim - self.begin)
            self.staging = Staging(width, self.samples, self.rounding, self.device, self.layer, self.scale)
        if self.staging.filled + x_ND.shape[0] > self.samples:
            raise ActivationError(
                f"layer {self.layer}: more than the {self.samples:,} samples that were announced"
            )
        self.staging.push(x_ND[:, self.begin : self.begin + self.staging.width])

    def end_pass(self) -> None:
        """Add the tile's products, and check that all of it was finite and complete.

        Raises:
            ActivationError: fewer samples in the pass than were announced, or NaN or Inf.
            Overflow: rounding overflowed, or a sum.
            OptionError: an eigenvalue step has used up the sums.
        """
        if self.staging is not None:
            self._add_tile(self.staging)
            self.staging = None
        check_sums(self.panels, self.layer)

    def _add_tile(self, staging: Staging) -> None:
        if staging.filled != self.samples:
            raise ActivationError(
                f"layer {self.layer}: {staging.filled:,} samples in this pass, {self.samples:,} were "
                "announced: the data must repeat"
            )
        staging.check()
        # Constant features add nothing, and their scale says nothing; sums that overflowed must be seen.
        if (total := staging.total()) != 0.0:
            self._rescale(staging.scale)
            self.panels.add_outer(staging.staged())
            self.total += total
        self.begin += staging.width

    def merge(self, other: Gram) -> None:
        """Add a state over **other features** of the same samples; ``other`` is used up.

        Products between samples of two states were never formed, so states over other samples cannot merge.

        Raises:
            OptionError: another number of samples or rounding.
        """
        if (self.samples, self.rounding, self.panels.rows) != (
            other.samples,
            other.rounding,
            other.panels.rows,
        ):
            raise OptionError(
                f"only states over the same samples merge: {self.samples} at {self.rounding}, "
                f"got {other.samples} at {other.rounding}"
            )
        scale = min(self.scale, other.scale)
        self._rescale(scale)
        other._rescale(scale)
        self.panels.add(other.panels, 1.0)
        self.total += other.total
        self.dim += other.dim
        self.begin += other.begin

    def spectrum(self, thresholds: Sequence[float], options: FinishOptions | None = None) -> Spectrum:
        """Eigenvalues of the sample covariance, as many as the thresholds need, with their proof.

        Raises:
            ActivationError: not every tile has had its pass.
            Overflow, OptionError: as :meth:`end_pass`.
        """
        self.end_pass()
        if self.begin != self.dim:
            raise ActivationError(
                f"layer {self.layer}: {self.begin:,} of {self.dim:,} features had their pass"
            )
        # Taking each sample's mean product off both sides centres the samples: (I − 11ᵀ/N) G (I − 11ᵀ/N).
        self.panels.u_NR = self.panels.m_RR = None
        mean_N = self.panels.row_sums() / self.samples
        self.panels.u_NR = torch.stack([torch.ones_like(mean_N), mean_N], dim=1)
        self.panels.m_RR = torch.tensor(
            [[float(mean_N.mean()), -1.0], [-1.0, 0.0]], dtype=torch.float64, device=self.device
        )
        return finish(
            self.panels,
            dim=self.dim,
            samples=self.samples,
            total=self.total,
            scale=self.scale,
            thresholds=thresholds,
            options=options or FinishOptions(),
        )

    def _rescale(self, scale: float) -> None:
        """Bring all sums to another scale, no larger than theirs; exact, as both are powers of two."""
        if self.total > 0.0 and scale != self.scale:
            factor = (scale / self.scale) ** 2
            self.panels.multiply_(factor)
            self.total *= factor
        self.scale = scale
