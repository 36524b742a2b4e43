"""Probes: how far running sums are from what they should be, measured while they are summed.

Beside a matrix P of rounded sums, products of the exact matrix C with a few random vectors z are summed in
float64: y = Σ x(xᵀz). In the end P·z − y is E·z for the error E = P − C, whatever made it (Freivalds 1977,
"Probabilistic machines can use less running time"), and its mean square over normal z is ‖E‖²_F (Girard 1989;
Hutchinson 1990, doi:10.1080/03610919008812866). A sum of k leading eigenvalues of P is then off by at most
√k·‖E‖_F (Ky Fan 1949, with Cauchy and Schwarz).
"""

from __future__ import annotations

import math

import torch

from streamspread.linalg.products import add_product, product

#: Random vectors that measure the error, and others by which sums that lost a share are calibrated first.
PROBES, CALIBRATION = 24, 2

#: The probability with which ‖E‖_F exceeds its bound, for one matrix.
FAILURE = 1e-6


def chernoff_share(failure: float, count: int) -> float:
    """ε such that the mean of ``count`` values ‖E·z‖² lies below ε·‖E‖²_F with a probability of at most
    ``failure``, for any E and independent normal z.

    That probability is at most (ε·exp(1 − ε))^(count/2): Chernoff's bound on Σσ²χ² for Σσ² = ‖E‖²_F, with
    Π(1 + 2tσ²) ≥ 1 + 2t·Σσ². So ε = −W(−exp(2·ln(failure)/count − 1)) for Lambert's W. For 24 values and 1e-6
    that is 0.1329, and twice as many vectors would only make the bound a third lower.
    """
    # Newton's steps for ln(ε) − ε, which is concave: they come from below. SciPy's W takes 0.2 s to load.
    logarithm = 2.0 * math.log(failure) / count - 1.0
    share = math.exp(logarithm)
    for _ in range(50):
        share += (logarithm + share - math.log(share)) * share / (1.0 - share)
    return share


def smallest_overlap(failure: float, count: int) -> float:
    """ε such that ``count`` normal vectors all have less than ε along a given direction with a probability of
    ``failure``: one of them has with a probability of erf(ε/√2)."""
    one_misses = torch.tensor(failure ** (1.0 / count), dtype=torch.float64)
    return math.sqrt(2.0) * float(torch.erfinv(one_misses))


_SEED = 0x5EED  # the same vectors for every matrix of an order, so that states can be added
_COLUMNS = 512  # of a group of samples, widened to float64 at a time, at the most
_LEAST_COLUMNS, _NUMBERS = 32, 1 << 19  # on the CPU fewer, that stay in its cache


class Probes:
    """C·Z for a matrix C = Σ x xᵀ that is only met in parts.

    Attributes:
        z_NM: (n, M) float64, normally distributed; the last are for calibration. ``y_NM``: (n, M) float64,
            the products so far; (n, 0) where the sums are exact, so that there is nothing to measure.
    """

    def __init__(self, n: int, device: torch.device, exact: bool = False) -> None:
        # Made on the CPU: the same numbers on every device.
        generator = torch.Generator().manual_seed(_SEED)
        z_NM = torch.randn(n, PROBES + CALIBRATION, generator=generator, dtype=torch.float64)
        # Vector after vector in memory: BLAS multiplies them twice as fast.
        self.z_NM = z_NM.to(device).T.contiguous().T
        self.y_NM = torch.zeros_like(self.z_NM[:, :0] if exact else self.z_NM)

    @staticmethod
    def nbytes(n: int) -> int:
        """Bytes of vectors and products, and of a group's columns in float64, at the most."""
        return 8 * n * (3 * (PROBES + CALIBRATION) + _COLUMNS)

    def add_outer(self, x_NK: torch.Tensor) -> None:
        """``C += x xᵀ``; x (n, K), any float dtype, may be a transposed view."""
        if not self.y_NM.shape[1]:
            return
        at_once = _COLUMNS if x_NK.is_cuda else max(_LEAST_COLUMNS, _NUMBERS // len(x_NK))
        for columns in x_NK.split(min(_COLUMNS, at_once), dim=1):
            wide = columns.double()
            add_product(self.y_NM, wide, product(wide.T, self.z_NM))

    def add_low_rank(self, u_NR: torch.Tensor, m_RR: torch.Tensor) -> None:
        """``C += U M Uᵀ``."""
        if self.y_NM.shape[1]:
            self.y_NM += u_NR @ (m_RR @ (u_NR.T @ self.z_NM))

    @property
    def measuring(self) -> torch.Tensor:
        """(n, PROBES): the vectors that measure."""
        return self.z_NM[:, :PROBES]

    def error(self, product_NM: torch.Tensor) -> torch.Tensor:
        """E·z (n, PROBES) for the error E of a rounded matrix, from its product with :attr:`measuring`."""
        return product_NM - self.y_NM[:, :PROBES]

    def lost_factor(self, product_NC: torch.Tensor, known_N: torch.Tensor) -> float:
        """The number by which to multiply the matrix off its diagonal so that it fits best, from that part's
        product with the calibration's vectors; ``known_N``: the diagonal itself.

        Products on tensor cores are cut off instead of rounded, so that all lose about the same share of
        themselves. These vectors measure nothing afterwards.
        """
        wanted_NC = self.y_NM[:, PROBES:] - known_N[:, None] * self.z_NM[:, PROBES:]
        squares = float(product_NC.square().sum())
        return float((product_NC * wanted_NC).sum()) / squares if squares > 0.0 else 1.0


def norm_bound(images_NM: torch.Tensor) -> float:
    """A number that ‖E‖_F exceeds with a probability of at most :data:`FAILURE`, from the products E·z with
    :data:`PROBES` independent normal vectors, in the columns."""
    return (float(images_NM.square().sum(0).mean()) / chernoff_share(FAILURE, PROBES)) ** 0.5


def image_bounds(along_KM: torch.Tensor, hidden: float) -> torch.Tensor:
    """(K,): numbers that ‖E·v‖ exceeds for any of K unit vectors v with a probability of at most
    :data:`FAILURE`, from the products vᵀE·z with the vectors that measure, on which no v depends: over
    normal z their mean square is ‖E·v‖². ``hidden``: of a root mean square, by rounding."""
    count, size = along_KM.shape
    return (along_KM.square().mean(1).sqrt() + hidden) / chernoff_share(FAILURE / count, size) ** 0.5
