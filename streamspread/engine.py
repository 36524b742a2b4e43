"""The main job: plan, send the data through the network pass by pass, and turn running sums into spectra."""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import torch
from torch import nn

from streamspread import planner
from streamspread.accumulators.sketch import rank_to_close
from streamspread.accumulators.staging import Overflow, Staging
from streamspread.datasets import Stream, as_stream, fingerprint, prefetch
from streamspread.errors import (
    ActivationError,
    BudgetError,
    DataError,
    DeviceError,
    OptionError,
    StreamspreadError,
    check_seed,
)
from streamspread.kernels import SUM_DTYPES, for_device
from streamspread.linalg.band import WIDTH, band_eigenvalues_
from streamspread.linalg.eigenvalues import FULL_LIMIT
from streamspread.linalg.panels import SymmetricPanels
from streamspread.memory import PeakMeter, format_bytes, free_bytes, parse_bytes, total_bytes
from streamspread.placement import as_input, model_dtype, prepared, resolve_device
from streamspread.planner import LayerShape, Plan
from streamspread.probe import first_batch, probe, survey
from streamspread.running import Options, Running
from streamspread.spectrum import LayerSpectrum, Spectra, check_thresholds
from streamspread.taps import TapInfo, Watch, select

BATCH_SIZE = {"cpu": 128, "cuda": 500}
ROUNDING = {"cpu": "fp32", "cuda": "fp16"}
_BUDGET_SHARE = 0.8  # of what is free on the device, where no budget is given
_RESIDENT_SHARE = 0.1  # of the budget that a data set may take on the card


@dataclass(frozen=True)
class Progress:
    """A sign of life: ``stage`` is "pass", "eigenvalues" or, from within one layer's, "all eigenvalues";
    ``index`` of ``count``; ``done`` of ``total``."""

    stage: str
    index: int
    count: int
    done: int
    total: int | None
    unit: str
    label: str


def analyze(
    model: nn.Module,
    data: Any,
    layers: str | Sequence[str] = "all",
    thresholds: Sequence[float] = (0.7,),
    *,
    method: str = "auto",
    rounding: str = "auto",
    rank: str | int = "auto",
    width: int = 0,
    max_passes: int = 3,
    memory: str | int | None = None,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    proof: bool = True,
    all_eigenvalues: bool = False,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Spectra:
    """Over how many principal components the data spreads at each layer.

    Args:
        model: any module; its mode, hooks, dtype and device are afterwards as they were, also after an error.
        data: a tensor, Dataset, DataLoader, or a callable that returns a fresh iterator of batches; a
            one-shot iterator is accepted where one pass is enough.
        layers: ``all``, or glob patterns of module names.
        thresholds: fractions τ of the variance.
        method: auto, covariance, gram or sketch. rounding: auto, fp16, bf16, fp32 or fp64, the precision to
            which centred activations are rounded before they are summed; auto is fp32 on the CPU and fp16 on
            a card (bf16 for a one-shot iterator), fp64 for a model in float64.
        rank: directions that a sketch keeps; auto takes what the thresholds need and the budget holds.
        width, max_passes: a sketch takes further passes, so many at the most, until high − low is no more
            than the width at every threshold.
        memory: budget in bytes or as ``8GiB``; None: 80 % of what is free on the device.
        device: auto, cpu or cuda:0. batch_size: None for 128 on the CPU and 500 on CUDA.
        proof: whether a costly proof may be made where K would stay an interval otherwise.
        all_eigenvalues: whether to find all of them, for every threshold, the effective rank and the whole
            spectrum, instead of as many as the thresholds need; by an exact method, and with more work.
        seed: of the eigenvalue step's random start.
        progress: called with signs of life. provenance: facts to keep with the result.

    Raises:
        StreamspreadError: one of its subclasses, with one line that says what to do.
    """
    thresholds = check_thresholds(thresholds)
    options = Options(
        method,
        rounding,
        rank,
        width,
        max_passes,
        memory,
        device,
        batch_size,
        thresholds,
        proof,
        all_eigenvalues,
        seed,
    )
    with _session(model, data, layers, options) as session:
        report = progress or (lambda event: None)
        _check_room(session.plan, session.device)
        _load_kernels(session)
        with PeakMeter(session.device, session.resident_bytes) as meter:
            found = session.run(session.plan, report, meter)
        facts = {**session.facts(), **dict(provenance or {})}
        if notes := session.ranks_to_close(found):
            facts["notes"] = [*facts.get("notes", ()), *notes]
    ordered = [found[tap.name] for tap in session.taps]
    return Spectra(ordered, thresholds, facts)


def plan(
    model: nn.Module,
    data: Any,
    layers: str | Sequence[str] = "all",
    thresholds: Sequence[float] = (0.7,),
    *,
    method: str = "auto",
    rounding: str = "auto",
    rank: str | int = "auto",
    width: int = 0,
    max_passes: int = 3,
    memory: str | int | None = None,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    proof: bool = True,
    all_eigenvalues: bool = False,
    seed: int = 0,
) -> Plan:
    """What :func:`analyze` would run with the same arguments; nothing but a first look at shapes is run.

    Raises:
        StreamspreadError: as :func:`analyze`, and for an iterator that can be read once.
    """
    thresholds = check_thresholds(thresholds)
    if not (stream := as_stream(data)).repeatable:
        raise OptionError(
            f"a plan would use up the first samples of the {stream.description}: give a callable that "
            "returns a fresh iterator of batches"
        )
    options = Options(
        method,
        rounding,
        rank,
        width,
        max_passes,
        memory,
        device,
        batch_size,
        thresholds,
        proof,
        all_eigenvalues,
        seed,
    )
    with _session(model, data, layers, options) as session:
        return session.plan


@dataclass
class _Session:
    """One analysis: a prepared model, a stream, the taps, and the plan."""

    model: nn.Module
    stream: Stream
    taps: list[TapInfo]
    device: torch.device
    dtype: torch.dtype
    batch_size: int
    options: Options
    samples: int | None
    budget: int
    forward_bytes: int
    resident_bytes: int
    plan: Plan = field(init=False)

    def make_plan(self, taps: Sequence[TapInfo], rounding: str) -> Plan:
        """The plan for some of the taps."""
        return planner.make_plan(
            [LayerShape(t.name, t.shape, t.dim, t.operations) for t in taps],
            self.samples,
            budget=self.budget,
            device=self.device,
            rounding=rounding,
            method=self.options.method,
            batch_size=self.batch_size,
            forward_bytes=self.forward_bytes,
            repeatable=self.stream.repeatable,
            ordered=self.stream.ordered,
            rank=self.options.rank,
            max_passes=self.options.max_passes,
            proof=self.options.proof,
            all_eigenvalues=self.options.all_eigenvalues,
            resident_bytes=self.resident_bytes,
        )

    def run(
        self, plan: Plan, report: Callable[[Progress], None], meter: PeakMeter
    ) -> dict[str, LayerSpectrum]:
        """All passes of a plan; layers that overflowed at fp16 are run again at bf16."""
        by_name = {p.layer: p for p in plan.layers}
        taps = {t.name: t for t in self.taps}
        running: dict[str, Running] = {}
        peaks: dict[str, int] = {}
        found: dict[str, LayerSpectrum] = {}
        overflowed: list[str] = []
        prints: list[int] | None = [] if len(plan.passes) > 1 else None
        for step in plan.passes:
            names = [name for name in step.layers if name not in overflowed and name not in found]
            if not names:
                continue
            meter.restart()
            for name in names:
                if name not in running:
                    running[name] = Running(by_name[name], self.options, self.device)
            self._pass(plan, step.index, [taps[name] for name in names], running, prints, report)
            for name in names:
                try:
                    running[name].end_pass()
                except Overflow as error:
                    if by_name[name].rounding != "fp16":
                        raise ActivationError(
                            f"{error}: its range is too wide for rounding {by_name[name].rounding}; "
                            "check the weights, or try --rounding fp64"
                        ) from None
                    if not self.stream.repeatable:
                        raise ActivationError(
                            f"{error}, and data that can be read once cannot be summed again: take "
                            "--rounding bf16"
                        ) from None
                    overflowed.append(name)
                    del running[name]
            ending = [
                name
                for name in names
                if name in running
                and (by_name[name].pass_indices[-1] == step.index or running[name].is_narrow_enough())
            ]
            for position, name in enumerate(ending):
                report(
                    Progress(
                        "eigenvalues", step.index + 1, len(plan.passes), position, len(ending), "layers", name
                    )
                )
                one = running.pop(name)
                one.spectrum(_share_of(name, report))  # before the peak is read: it is the layer's own
                found[name] = one.layer_spectrum(max(meter.read(), peaks.get(name, 0)))
                del one
            peaks.update((name, max(meter.read(), peaks.get(name, 0))) for name in running)
            if ending:
                report(
                    Progress(
                        "eigenvalues",
                        step.index + 1,
                        len(plan.passes),
                        len(ending),
                        len(ending),
                        "layers",
                        ending[-1],
                    )
                )
        if overflowed:
            again = self.make_plan([t for t in self.taps if t.name in overflowed], "bf16")
            found |= self.run(again, report, meter)
        return found

    def _pass(
        self,
        plan: Plan,
        index: int,
        taps: list[TapInfo],
        running: dict[str, Running],
        prints: list[int] | None,
        report: Callable[[Progress], None],
    ) -> None:
        watch = Watch(self.model, taps)
        label = f"{taps[0].name} … {taps[-1].name}" if len(taps) > 1 else taps[0].name
        done = 0

        def consume(tap: TapInfo, x_ND: torch.Tensor) -> None:
            running[tap.name].update(x_ND)

        report(Progress("pass", index + 1, len(plan.passes), 0, self.plan.samples, "images", label))
        with closing(self._batches(prints, first=index == 0)) as batches:  # at once, also after an error
            for batch in batches:
                watch.run(batch, consume)
                done += batch.shape[0]
                report(Progress("pass", index + 1, len(plan.passes), done, plan.samples, "images", label))
                del batch  # before the next one is made
        if self.plan.samples is not None and done != self.plan.samples:
            raise DataError(
                f"{self.stream.description}: {done:,} samples came in pass {index + 1}, "
                f"{self.plan.samples:,} were announced"
            )

    def _batches(self, prints: list[int] | None, first: bool) -> Generator[torch.Tensor, None, None]:
        """The stream's batches on the device in the model's dtype; checked to be the same in every pass."""

        def checked() -> Iterator[torch.Tensor]:
            for number, batch in enumerate(self.stream.batches(self.batch_size)):
                if prints is not None and self.stream.ordered:
                    value = fingerprint(batch)
                    if first:
                        prints.append(value)
                    elif number >= len(prints) or prints[number] != value:
                        raise DataError(
                            f"{self.stream.description}: batch {number + 1} differs between passes; the data "
                            "must repeat (no shuffling, no random augmentation)"
                        )
                # One that is larger than any before would take more memory than was planned.
                yield from batch.split(self.batch_size)

        # A tensor repeats by its nature, and one that lies on the device needs no way there.
        tensor = self.stream.tensor
        batches = self.stream.batches(self.batch_size) if tensor is not None else checked()
        if tensor is None or tensor.device != self.device:
            batches = prefetch(batches, self.device)
        for batch in batches:
            yield as_input(batch, self.device, self.dtype)

    def ranks_to_close(self, found: Mapping[str, LayerSpectrum]) -> list[str]:
        """For every sketch that left K open, a line with the rank that should close it."""
        notes = []
        for layer in self.plan.layers:
            spectrum = found[layer.layer]
            if spectrum.method == "sketch":
                rank = rank_to_close(spectrum, self.options.thresholds, layer.rank)
                if rank is not None:
                    notes.append(f"{layer.layer}: open at rank {layer.rank}, --rank {rank} should close it")
        return notes

    def facts(self) -> dict[str, Any]:
        """How the numbers were made, for the provenance."""
        on_card = self.device.type == "cuda"
        return {
            "device": str(self.device),
            "card": torch.cuda.get_device_name(self.device) if on_card else None,
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "data": self.stream.description,
            "samples": self.plan.samples,
            "batch_size": self.batch_size,
            "model_dtype": str(self.dtype).removeprefix("torch."),
            "budget_bytes": self.plan.budget,
            "planned_peak_bytes": self.plan.peak_bytes,
            "proof": self.options.proof,
            "all_eigenvalues": self.options.all_eigenvalues,
            "seed": int(self.options.seed),
            "forward_tf32": False,  # on a card the search for eigenvalues uses it, where it does no harm
        }


@contextmanager
def _session(
    model: nn.Module, data: Any, layers: str | Sequence[str], options: Options
) -> Iterator[_Session]:
    """Look at the first batch, choose taps and plan; leave the model and torch's settings as they were."""
    if not isinstance(model, nn.Module):
        raise OptionError(f"the model must be a torch.nn.Module, got {type(model).__name__}")
    if options.rank != "auto" and (not isinstance(options.rank, Integral) or options.rank < 1):
        raise OptionError(f"rank {options.rank!r} is neither auto nor a positive number")
    if options.max_passes < 1 or options.width < 0:
        raise OptionError(
            f"width {options.width} and max passes {options.max_passes} asked for: a width is 0 or more, "
            "and so many passes are 1 or more"
        )
    if options.batch_size is not None and options.batch_size < 1:
        raise OptionError(f"batch size {options.batch_size} asked for; it must be 1 or more")
    check_seed(options.seed)
    budget = None if options.memory is None else parse_bytes(options.memory)
    device = resolve_device(options.device, model)
    stream = as_stream(data)
    try:
        with prepared(model, device):
            if budget is None:
                budget = int(_BUDGET_SHARE * free_bytes(device))
            stream, resident_bytes = _resident(stream, device, budget)
            first = first_batch(stream, options.batch_size or BATCH_SIZE[device.type])
            dtype = model_dtype(model, first)
            samples, batch_size = survey(stream, first.shape[0])
            if samples is not None and samples < 2:
                raise DataError(f"{stream.description}: a covariance needs at least 2 samples, got {samples}")
            # A stream that makes its batches holds one, and what it makes it of, beside the model's own copy.
            copies = 1 if stream.tensor is not None else 3
            forward_bytes, taps = probe(model, as_input(first, device, dtype), batch_size, copies, device)
            del first
            chosen = select(taps, layers, _default_layers(model))
            session = _Session(
                model,
                stream,
                chosen,
                device,
                dtype,
                batch_size,
                options,
                samples,
                budget,
                forward_bytes,
                resident_bytes,
            )
            session.plan = session.make_plan(chosen, _rounding(options, stream, device, dtype))
            yield session
    except torch.OutOfMemoryError as error:
        raise DeviceError(f"{device} ran out of memory: lower --memory or --batch-size") from error
    except StreamspreadError as error:
        if not stream.repeatable:
            error.args = (f"{error}; what was read of the {stream.description} is used up: make a new one",)
        raise


def _share_of(layer: str, report: Callable[[Progress], None]) -> Callable[[float], None]:
    """Signs of life from within one layer's eigenvalues, where all are found in place, in percent."""
    return lambda share: report(Progress("all eigenvalues", 0, 1, round(100 * share), 100, "%", layer))


def _resident(stream: Stream, device: torch.device, budget: int) -> tuple[Stream, int]:
    """The stream, its data moved to the card where it is small beside the budget, and the bytes it takes."""
    tensor = stream.tensor
    if device.type != "cuda" or tensor is None or tensor.device == device:
        return stream, 0
    size = tensor.numel() * tensor.element_size()
    if size > _RESIDENT_SHARE * budget:
        return stream, 0
    moved = as_stream(tensor.to(device))
    moved.description = stream.description
    return moved, size


def _rounding(options: Options, stream: Stream, device: torch.device, dtype: torch.dtype) -> str:
    """The rounding asked for; ``auto`` is the device's own."""
    if options.rounding != "auto":
        return options.rounding
    if dtype == torch.float64:
        return "fp64"
    usual = ROUNDING[device.type]
    # What overflows at fp16 is summed again, for which data must come again; bf16 reaches as far as float32.
    return "bf16" if usual == "fp16" and not stream.repeatable else usual


def _default_layers(model: nn.Module) -> Sequence[str]:
    own = getattr(model, "default_layers", ())
    return own if isinstance(own, (tuple, list)) else ()


def _check_room(plan: Plan, device: torch.device) -> None:
    """Raises BudgetError where the budget allows, and the plan takes, more than the whole device has."""
    total = total_bytes(device)
    if plan.peak_bytes > total:
        raise BudgetError(
            f"a budget of {format_bytes(plan.budget)} was given, of which the plan takes "
            f"{format_bytes(plan.peak_bytes)}, but {device} has {format_bytes(total)} in all: lower --memory"
        )


def _load_kernels(session: _Session) -> None:
    """Import, compile and start the kernels before memory and time are measured: they are no layer's.

    Raises:
        DeviceError: CuPy is missing.
    """
    device, layers = session.device, session.plan.layers
    rounding = layers[0].rounding
    for columns in (1, 4, 8):  # activations are read one number at a time, four, or eight
        tiny = Staging(columns, 2, rounding, device)
        tiny.push(torch.zeros(2, columns, dtype=session.dtype, device=device))
        rows_ND = tiny.staged()
        sums = torch.zeros(columns, columns, dtype=SUM_DTYPES[rounding], device=device)
        for_device(device).add_product(sums, rows_ND.T, rows_ND)
    in_place = session.options.all_eigenvalues or session.options.proof
    if in_place and max(layer.order for layer in layers) > FULL_LIMIT[device.type]:
        band_eigenvalues_(SymmetricPanels(2 * WIDTH + 1, WIDTH, SUM_DTYPES[rounding], device))
