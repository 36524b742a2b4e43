"""The scatter matrix itself, in row panels of its lower triangle: one pass, exact, ≈ D²/2 numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from streamspread import kernels
from streamspread.accumulators.finish import FinishOptions, check_sums, finish, finish_bytes
from streamspread.accumulators.staging import Staging
from streamspread.errors import OptionError
from streamspread.linalg.panels import SymmetricPanels
from streamspread.results.spectrum import Spectrum


class Covariance:
    """Running sums of N samples of D features: count, Σ(x − pilot), and Σ(x − pilot)(x − pilot)ᵀ in panels.

    Rows are staged and added a buffer at a time, because every rank update reads and writes the whole
    triangle. Two states merge whatever their pilots and scales (pairwise, Chan, Golub & LeVeque 1979).
    """

    method = "covariance"

    def __init__(
        self,
        dim: int,
        *,
        rounding: str,
        device: torch.device,
        staging_rows: int = 1024,
        panel_rows: int = 1024,
        layer: str = "",
    ) -> None:
        self.dim, self.rounding, self.device, self.layer = dim, rounding, device, layer
        self.staging = Staging(dim, staging_rows, rounding, device, layer)
        self.panels = SymmetricPanels(dim, panel_rows, kernels.SUM_DTYPES[rounding], device)

    @staticmethod
    def passes() -> int:
        """How often the data goes through the network."""
        return 1

    @staticmethod
    def nbytes(
        dim: int,
        *,
        rounding: str,
        device: torch.device,
        staging_rows: int,
        panel_rows: int,
        max_block: int,
        all_eigenvalues: bool = False,
        proof: bool = True,
    ) -> tuple[int, int]:
        """(bytes of the state while data streams, extra bytes of the eigenvalue step)."""
        dtype = kernels.SUM_DTYPES[rounding]
        state = SymmetricPanels.nbytes(dim, panel_rows, dtype)
        state += Staging.nbytes(dim, staging_rows, rounding, device)
        state += kernels.product_bytes(min(panel_rows, dim), dim, dtype, device)
        finish = finish_bytes(
            dim,
            panel_rows,
            dtype,
            device,
            correction_rank=1,
            max_block=max_block,
            all_eigenvalues=all_eigenvalues,
            proof=proof,
        )
        return state, finish

    @property
    def samples(self) -> int:
        return self.staging.count

    def update(self, x_ND: torch.Tensor) -> None:
        """Add a batch (n, D): any float dtype, on the accumulator's device, its features in one order."""
        self.staging.fill(x_ND, self._flush)

    def end_pass(self) -> None:
        """Add what is still staged, and check that all of it was finite.

        Raises:
            ActivationError: NaN or Inf came.
            Overflow: rounding overflowed, or a sum.
            OptionError: an eigenvalue step has used up the sums.
        """
        self._flush()
        self.staging.check()
        check_sums(self.panels, self.layer)

    def merge(self, other: Covariance) -> None:
        """Add another state over other samples of the same layer; ``other`` is used up.

        Raises:
            OptionError: another dim, rounding or panel height.
        """
        mine, theirs = self.staging, other.staging
        if (self.dim, self.rounding, self.panels.rows) != (other.dim, other.rounding, other.panels.rows):
            raise OptionError(
                f"only states of one layer merge: {self.dim} features at {self.rounding} in panels of "
                f"{self.panels.rows}, got {other.dim} at {other.rounding} in {other.panels.rows}"
            )
        self._flush()
        other._flush()
        if theirs.pilot_D is None:
            return
        if mine.pilot_D is None:
            self.staging, self.panels = theirs, other.panels
            return
        # In the smaller scale: the larger one could take the other's sums out of range.
        scale = min(mine.scale, theirs.scale)
        self._rescale(scale)
        other._rescale(scale)
        # Their sums about my pilot: x − p = (x − q) + (q − p).
        sum_D = theirs.sum_D
        shift_D = (theirs.pilot_D.double() - mine.pilot_D.double()) * scale
        self.panels.add(other.panels, 1.0)
        u_D2 = torch.stack([sum_D, shift_D], dim=1)
        m_22 = torch.tensor([[0.0, 1.0], [1.0, theirs.count]], dtype=torch.float64, device=self.device)
        self.panels.add_low_rank(u_D2, m_22)
        mine.squares += theirs.squares + 2 * shift_D @ sum_D + theirs.count * shift_D @ shift_D
        mine.sum_D += sum_D + theirs.count * shift_D
        torch.minimum(mine.first_bad, theirs.first_bad, out=mine.first_bad)
        mine.count += theirs.count

    def spectrum(self, thresholds: Sequence[float], options: FinishOptions | None = None) -> Spectrum:
        """Eigenvalues of the sample covariance, as many as the thresholds need, with their proof.

        The state stays usable for further updates unless the panels themselves were used up: by a Cholesky
        factorisation, whether it succeeds (``Spectrum.proof`` says so) or not, or where all eigenvalues were
        found in place. Any later use then raises. ``FinishOptions(proof=False)`` uses them up only where all
        eigenvalues are asked for.

        Raises:
            DataError: fewer than two samples were seen.
            ActivationError, Overflow, OptionError: as :meth:`end_pass`.
        """
        self.end_pass()
        staging = self.staging
        if staging.count >= 2:
            # S about the mean is S about the pilot − N·δδᵀ, with δ the mean that the pilot left.
            self.panels.u_NR = staging.remaining_mean()[:, None]
            self.panels.m_RR = torch.full(
                (1, 1), -float(staging.count), dtype=torch.float64, device=self.device
            )
        return finish(
            self.panels,
            dim=self.dim,
            samples=staging.count,
            total=staging.total() if staging.count else 0.0,
            scale=staging.scale,
            thresholds=thresholds,
            options=options or FinishOptions(),
        )

    def _flush(self) -> None:
        if self.staging.filled:
            self.panels.add_outer(self.staging.staged().T)

    def _rescale(self, scale: float) -> None:
        """Bring all sums to another scale; exact, as both are powers of two, but for what underflows."""
        ratio = scale / self.staging.scale
        if ratio != 1.0:
            self.panels.multiply_(ratio**2)
            self.staging.sum_D *= ratio
            self.staging.squares *= ratio**2
            self.staging.scale = scale
