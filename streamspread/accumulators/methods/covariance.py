"""The scatter matrix itself, in row panels of its lower triangle: one pass, exact, ≈ D²/2 numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch

from streamspread.accumulators.base import (
    Accumulator,
    Candidate,
    Combine,
    LayerShape,
    Part,
    Setting,
)
from streamspread.accumulators.classes import ClassSums, classes_of, split_scatter
from streamspread.accumulators.directions import of_scatter
from streamspread.accumulators.moments import per_sample
from streamspread.accumulators.scatter import Layout, ScatterSums
from streamspread.accumulators.spectrum import (
    DENSE_SOLVE_FACTOR,
    LEAST_BLOCK,
    Step,
    Totals,
    largest_block,
    spectrum_of,
    step_bytes,
    step_operations,
    step_travels,
)
from streamspread.accumulators.staging import Precision, Staging, origin_in, origin_of
from streamspread.accumulators.subsamples import Eighths, with_whole
from streamspread.errors import DataError
from streamspread.kernels import formats
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.probes import Probes
from streamspread.options import Options
from streamspread.results.spectrum import Spectrum
from streamspread.streams.labels import Labels
from streamspread.system.devices import profile
from streamspread.system.memory import format_bytes
from streamspread.system.tensors import as_tensor

_LEAST_STAGED = 128


class Covariance(Accumulator):
    """Running sums of N samples of D features: N, Σ(x − shift), and Σ(x − shift)(x − shift)ᵀ in panels.

    Rows are staged and added a buffer at a time, because every rank update reads and writes the whole
    triangle. Two states merge whatever their shifts and scales (pairwise, Chan, Golub & LeVeque 1979).
    """

    method = "covariance"

    def __init__(
        self,
        dim: int,
        *,
        precision: Precision,
        device: torch.device,
        staging_rows: int = 1024,
        panel_rows: int = 1024,
        step: Step | None = None,
        in_eighths: bool = False,
        labels: Labels | None = None,
    ) -> None:
        self.dim, self.precision, self.device, self.labels = dim, precision, device, labels
        self.step = step or Step.usual(dim, profile(device))
        ranks = self.ranks = self.step.ranks
        sizes = staging_rows, min(panel_rows, dim)
        self._layout = Layout(dim, precision, device, *sizes, ranks, labels, in_eighths)
        self._sums: ScatterSums | None = None

    @classmethod
    def candidate(cls, layer: LayerShape, setting: Setting) -> Candidate:
        dim, constants = layer.dim, setting.profile
        panel_rows = constants.panel_rows
        most_rows = constants.staging_rows
        if setting.rounding == "int16":  # in as many bytes as rows of the device's own precision take
            most_rows *= formats.staged_dtype(constants.precision, setting.device).itemsize // 2
        staging_rows = min(most_rows, setting.samples or most_rows)
        max_block = largest_block(dim, constants)

        wanted = setting.options.estimate and not layer.uneven
        in_eighths = wanted and Eighths.worth_it(dim, setting.expected, layer.operations, DENSE_SOLVE_FACTOR)

        def need() -> tuple[int, int]:
            state = cls.nbytes(dim, staging_rows, panel_rows, setting)
            state += Eighths.nbytes(dim) if in_eighths else 0
            state += ClassSums.nbytes(setting.classes, dim)
            return state, step_bytes(dim, panel_rows, max(1, setting.classes), max_block, setting)

        def too_large() -> bool:
            state, step = need()
            return state + max(step, setting.forward_bytes) > setting.room

        while max_block > LEAST_BLOCK and too_large():
            max_block //= 2
        while staging_rows > _LEAST_STAGED and too_large():
            staging_rows //= 2
        in_eighths = in_eighths and not too_large()
        state, step = need()
        operations = setting.sum_cost * (setting.expected) * float(dim) ** 2 / setting.shares
        shared = f", of which each of {setting.shares} ranks holds a share" * (setting.shares > 1)
        last, travels = step_operations(dim, max_block, setting), step_travels(dim, max_block, setting)
        if setting.shares > 1:
            travels = travels._replace(rows=float(setting.expected) * dim * setting.itemsize)
        operations += last
        return Candidate(
            method=cls.method,
            passes=1,
            state_bytes=state,
            finish_bytes=step,
            operations=operations,
            exact=True,
            order=dim,
            why=f"the triangle of {dim:,}² and its staging take {format_bytes(state)}{shared}, in one pass",
            step=last,
            travels=travels,
            estimates=in_eighths,
            make=partial(
                cls,
                dim,
                precision=setting.precision(layer.name),
                device=setting.device,
                staging_rows=staging_rows,
                panel_rows=panel_rows,
                step=Step(max_block, constants, directions=setting.directions, ranks=setting.ranks),
                in_eighths=in_eighths,
                labels=setting.labels,
            ),
        )

    @staticmethod
    def nbytes(dim: int, staging_rows: int, panel_rows: int, setting: Setting) -> int:
        """Bytes of the state while data streams."""
        dtype = formats.SUM_DTYPES[setting.rounding]
        state = SymmetricPanels.nbytes(dim, panel_rows, dtype, setting.shares) + Probes.nbytes(dim)
        state += Staging.nbytes(dim, staging_rows, setting.rounding, setting.device) + 8 * dim
        state += formats.digit_bytes(setting.rounding, dim, staging_rows, setting.device)
        return state + formats.product_bytes(min(panel_rows, dim), dim, dtype, setting.device)

    @property
    def samples(self) -> int:
        return self._sums.samples if self._sums else 0

    @property
    def panels(self) -> SymmetricPanels:
        """The sums of products.

        Raises:
            DataError: no sample has come.
        """
        return self._begun().panels

    def _begun(self) -> ScatterSums:
        if self._sums is None:
            raise DataError("a covariance needs at least 2 samples, got 0")
        return self._sums

    def update(self, x_ND: torch.Tensor) -> None:
        if not len(x_ND):
            return
        if self._sums is None:
            self._sums = ScatterSums(self._layout, origin_of(x_ND, self.precision), self.places)
        self._sums.add(x_ND)

    def end_pass(self, progress: Callable[[float], None] | None = None) -> None:
        """As the contract says, and:

        Raises:
            OptionError: an eigenvalue step has used up the sums.
        """
        if self._sums is not None:
            self._sums.check()

    def spectrum(self, options: Options, progress: Callable[[float], None] | None = None) -> Spectrum:
        """Eigenvalues of the sample covariance, as many as the thresholds need, with their proof.

        The state stays usable for further updates unless all eigenvalues were computed in the panels
        themselves (``Spectrum.proof`` says so). Any later use then raises. With ``proof=False`` that is only
        done where all eigenvalues are asked for.

        Raises:
            DataError: fewer than two samples were seen.
            ActivationError, Overflow, OptionError: as :meth:`end_pass`.
        """
        sums = self._begun()
        sums.flush()
        return self.ranks.led(lambda: self._spectrum(sums, options, progress), sums.panels.own)

    def _spectrum(
        self, sums: ScatterSums, options: Options, progress: Callable[[float], None] | None
    ) -> Spectrum:
        self.end_pass()
        staging, panels = sums.staging, sums.panels
        if self.dim <= self.step.profile.dense_limit:  # what is solved dense is solved by one rank
            panels = panels.collected()
        panels.u_NR = panels.m_RR = None
        squares = float(staging.sums.squares_D.sum())
        fourth = sums.fourth.about(staging.remaining_mean(), panels, staging.count, squares)
        panels.set_diagonal_(staging.sums.squares_D)  # known in float64
        scale, layer = staging.origin.scale, self.precision.layer
        moved = float(staging.sums.moved) if self.precision.exact else math.nan
        totals = Totals(self.dim, staging.count, staging.total(), scale, layer, moved)
        step, classes = self.step._replace(progress=progress), None
        if sums.classes is not None and self.labels is not None:
            split = split_scatter(panels, sums.classes)
            classes = classes_of(panels, split, self.labels.names, totals, options, step)
        # S about the mean is S about the shift − N·δδᵀ, with δ the mean that the shift left.
        panels.u_NR = staging.remaining_mean()[:, None]
        panels.m_RR = torch.full((1, 1), -float(staging.count), dtype=torch.float64, device=self.device)
        count, leading = min(step.directions, self.dim, staging.count - 1), None
        if count > 0:  # before an eigenvalue step that uses the panels up
            leading = of_scatter(panels, staging, count, options.seed)
        spectrum = spectrum_of(panels, totals, options, step)
        points = sums.eighths.points(options.thresholds) if sums.eighths and options.estimate else ()
        growth = with_whole(points, spectrum, options.thresholds, self.places)
        fourth = per_sample(fourth, totals)
        return replace(spectrum, fourth_moment=fourth, growth=growth, classes=classes, leading=leading)

    def state(self) -> dict[str, Part]:
        if self._sums is None:
            return {"count": Part(as_tensor(0), Combine.SUM)}
        return self._sums.state()

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        if not int(tensors["count"]):
            self._sums = None
            return
        origin = origin_in(tensors, self.device)
        self._sums = self._sums or ScatterSums(self._layout, origin, self.places)
        self._sums.load(origin, tensors)

    def sizes(self) -> str:
        parts = " and eighths" if self._layout.in_eighths else ""
        rows = self._layout.panel_rows
        return f"{self.dim} features at {self.precision.rounding} in panels of {rows}{parts}"

    def align(self, other: Covariance) -> None:
        """Both in the smaller scale, since the larger one could take the other's sums out of range; the
        other's sums about my shift."""
        mine, theirs = self._begun(), other._begun()
        mine.flush()
        theirs.flush()
        scale = min(mine.staging.origin.scale, theirs.staging.origin.scale)
        mine.rescale(scale)
        theirs.rescale(scale)
        theirs.move_to(mine.staging.origin.shift_D)


METHOD = Covariance
