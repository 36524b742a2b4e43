"""The scatter matrix itself, in row panels of its lower triangle: one pass, exact, ≈ D²/2 numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch

from streamspread import kernels
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
from streamspread.accumulators.exact import (
    DENSE_SOLVE_FACTOR,
    LEAST_BLOCK,
    Step,
    Totals,
    check_sums,
    largest_block,
    spectrum_of,
    step_bytes,
    step_operations,
)
from streamspread.accumulators.growth import Eighths, with_whole
from streamspread.accumulators.moments import About, FourthMoments, per_sample
from streamspread.accumulators.staging import Origin, Precision, Staging, origin_in, origin_of
from streamspread.errors import DataError
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.probes import Probes
from streamspread.linalg.states import as_tensor, below
from streamspread.options import Options
from streamspread.results.spectrum import Spectrum
from streamspread.streams.labels import Labels
from streamspread.system.devices import profile
from streamspread.system.memory import format_bytes
from streamspread.system.ranks import ALONE, Ranks

_LEAST_STAGED = 128
_SAMPLES = 50_000  # where their number is not known

# How parts of two states become one, where they are not added. States that are aligned have one origin, and
# nothing staged.
_COMBINE = {
    **dict.fromkeys(("rows", "shift", "scale", "wanted"), Combine.SAME),
    "first_bad": Combine.MIN,
    "farthest": Combine.MAX,
    "panels.unit": Combine.MIN,
}


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
        ranks: Ranks = ALONE,
    ) -> None:
        self.in_eighths, self.labels, self.ranks = in_eighths, labels, ranks
        self.dim, self.precision, self.device = dim, precision, device
        self.staging_rows, self.panel_rows = staging_rows, min(panel_rows, dim)
        self.step = step or Step.usual(dim, profile(device))
        self._stage: _Waiting | _Sums = _Waiting(self)

    @classmethod
    def candidate(cls, layer: LayerShape, setting: Setting) -> Candidate:
        dim, constants = layer.dim, setting.profile
        panel_rows = constants.panel_rows
        most_rows = constants.staging_rows * (2 if setting.rounding == "int16" else 1)  # half the bytes each
        staging_rows = min(most_rows, setting.samples or most_rows)
        max_block = largest_block(dim, constants)

        wanted = setting.options.estimate and not layer.uneven
        in_eighths = wanted and Eighths.worth_it(
            dim, setting.samples or _SAMPLES, layer.operations, DENSE_SOLVE_FACTOR
        )

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
        operations = setting.sum_cost * (setting.samples or _SAMPLES) * float(dim) ** 2
        last = step_operations(dim, max_block, setting)
        operations += last
        return Candidate(
            method=cls.method,
            passes=1,
            state_bytes=state,
            finish_bytes=step,
            operations=operations,
            exact=True,
            order=dim,
            why=f"the triangle of {dim:,}² and its staging take {format_bytes(state)}, in one pass",
            step=last,
            estimates=in_eighths,
            make=partial(
                cls,
                dim,
                precision=setting.precision(layer.name),
                device=setting.device,
                staging_rows=staging_rows,
                panel_rows=panel_rows,
                step=Step(max_block, constants, directions=setting.directions),
                in_eighths=in_eighths,
                labels=setting.labels,
                ranks=setting.ranks,
            ),
        )

    @staticmethod
    def nbytes(dim: int, staging_rows: int, panel_rows: int, setting: Setting) -> int:
        """Bytes of the state while data streams."""
        dtype = kernels.SUM_DTYPES[setting.rounding]
        state = SymmetricPanels.nbytes(dim, panel_rows, dtype, setting.ranks) + Probes.nbytes(dim)
        state += Staging.nbytes(dim, staging_rows, setting.rounding, setting.device) + 8 * dim
        return state + kernels.product_bytes(min(panel_rows, dim), dim, dtype, setting.device)

    @property
    def samples(self) -> int:
        return self._stage.samples

    @property
    def panels(self) -> SymmetricPanels:
        """The sums of products.

        Raises:
            DataError: no sample has come.
        """
        return self._stage.sums().panels

    def update(self, x_ND: torch.Tensor) -> None:
        if len(x_ND):
            self._stage = self._stage.begun(x_ND)
            self._stage.sums().add(x_ND)

    def end_pass(self) -> None:
        """As the contract says, and:

        Raises:
            OptionError: an eigenvalue step has used up the sums.
        """
        self._stage.check()

    def spectrum(self, options: Options, progress: Callable[[float], None] | None = None) -> Spectrum:
        """Eigenvalues of the sample covariance, as many as the thresholds need, with their proof.

        The state stays usable for further updates unless all eigenvalues were computed in the panels
        themselves (``Spectrum.proof`` says so). Any later use then raises. With ``proof=False`` that is only
        done where all eigenvalues are asked for.

        Raises:
            DataError: fewer than two samples were seen.
            ActivationError, Overflow, OptionError: as :meth:`end_pass`.
        """
        self._stage.flush()
        sums = self._stage.sums()
        return self.ranks.led(lambda: self._spectrum(sums, options, progress), sums.panels.own)

    def _spectrum(
        self, sums: _Sums, options: Options, progress: Callable[[float], None] | None
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
        return self._stage.state()

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        if not int(tensors["count"]):
            self._stage = _Waiting(self)
            return
        origin = origin_in(tensors)
        stage = self._stage if isinstance(self._stage, _Sums) else _Sums(self, origin)
        stage.load(origin, tensors)
        self._stage = stage

    def sizes(self) -> str:
        parts = " and eighths" if self.in_eighths else ""
        return f"{self.dim} features at {self.precision.rounding} in panels of {self.panel_rows}{parts}"

    def align(self, other: Covariance) -> None:
        """Both in the smaller scale, since the larger one could take the other's sums out of range; the
        other's sums about my shift."""
        mine, theirs = self._stage.sums(), other._stage.sums()
        mine.flush()
        theirs.flush()
        scale = min(mine.staging.origin.scale, theirs.staging.origin.scale)
        mine.rescale(scale)
        theirs.rescale(scale)
        theirs.move_to(mine.staging.origin.shift_D)


class _Waiting:
    """Before the first batch, which gives the origin."""

    samples = 0

    def __init__(self, owner: Covariance) -> None:
        self._owner = owner

    def begun(self, x_ND: torch.Tensor) -> _Sums:
        return _Sums(self._owner, origin_of(x_ND, self._owner.precision))

    def sums(self) -> _Sums:
        raise DataError("a covariance needs at least 2 samples, got 0")

    def flush(self) -> None:
        """Nothing is staged."""

    def check(self) -> None:
        """Nothing has come that could be wrong."""

    def state(self) -> dict[str, Part]:
        return {"count": Part(as_tensor(0), Combine.SUM)}


class _Sums:
    """From the first batch on: staged rows, and the panels that they are added to."""

    def __init__(self, owner: Covariance, origin: Origin) -> None:
        self.staging = Staging(origin, owner.staging_rows, owner.precision)
        precision = owner.precision
        self.panels = SymmetricPanels(
            owner.dim,
            owner.panel_rows,
            precision.sum_dtype,
            owner.device,
            precision.exact,
            ranks=owner.ranks,
        )
        self.fourth = FourthMoments(owner.dim, owner.device)
        dim, device, places = owner.dim, owner.device, owner.places
        self.eighths = Eighths(dim, device, places) if owner.in_eighths else None
        self.classes = ClassSums(owner.labels, dim, device, places) if owner.labels else None
        beside = (self.fourth, self.eighths, self.classes)
        self.beside = [each for each in beside if each is not None]

    @property
    def samples(self) -> int:
        return self.staging.count

    def begun(self, x_ND: torch.Tensor) -> _Sums:
        return self

    def sums(self) -> _Sums:
        return self

    def add(self, x_ND: torch.Tensor) -> None:
        self.staging.fill(x_ND, self.flush)

    def flush(self) -> None:
        """Add what is staged to the panels."""
        if self.staging.filled:
            rows_ND = self.staging.staged()
            for each in self.beside:
                each.add(rows_ND, self.staging.count - rows_ND.shape[-2])
            self.panels.add_outer(rows_ND.mT)

    def check(self) -> None:
        self.flush()
        self.staging.check()
        self.panels.ranks.led(self._check_sums, self.panels.own)

    def _check_sums(self) -> None:
        check_sums(self.panels, self.staging.precision.layer, self.staging.origin.scale)
        self.staging.precision.check_moved(float(self.staging.sums.moved), self.staging.total())

    def rescale(self, scale: float) -> None:
        """Bring all sums to another scale."""
        ratio = self.staging.rescale(scale)
        if ratio != 1.0:
            self.panels.multiply_(ratio**2)
            for each in self.beside:
                each.rescale(ratio)
        on_grid_D = self.staging.precision.on_grid(self.staging.origin.shift_D, scale)
        if not torch.equal(on_grid_D, self.staging.origin.shift_D):
            self.move_to(on_grid_D)

    def move_to(self, shift_D: torch.Tensor) -> None:
        """Turn the sums into those about another shift p: x − p = (x − q) + (q − p)."""
        staging, sums = self.staging, self.staging.sums
        by_D = (staging.origin.shift_D.double() - shift_D.double()) * staging.origin.scale
        about = About(staging.count, sums.sum_D, float(sums.squares_D.sum()), self.panels)
        for each in self.beside:
            each.move(by_D, about)
        u_D2 = torch.stack([sums.sum_D, by_D], dim=1)
        m_22 = torch.tensor([[0.0, 1.0], [1.0, staging.count]], dtype=torch.float64, device=u_D2.device)
        self.panels.add_low_rank(u_D2, m_22)
        sums.squares_D.add_(2 * by_D * sums.sum_D + staging.count * by_D * by_D)
        sums.sum_D.add_(by_D, alpha=staging.count)
        staging.origin = Origin(shift_D, staging.origin.scale)

    def state(self) -> dict[str, Part]:
        panels = {f"panels.{name}": tensor for name, tensor in self.panels.state().items()}
        parts = self.staging.state() | panels
        for each in self.beside:
            parts |= each.state()
        return {name: Part(tensor, _COMBINE.get(name, Combine.SUM)) for name, tensor in parts.items()}

    def load(self, origin: Origin, tensors: Mapping[str, torch.Tensor]) -> None:
        self.staging.origin = origin
        self.staging.load_state(tensors)
        self.panels.load_state(below("panels.", tensors))
        for each in self.beside:
            each.load_state(tensors)


METHOD = Covariance
