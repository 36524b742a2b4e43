"""The main job: plan, send the data through the network pass by pass, and turn running sums into spectra."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from streamspread import planner
from streamspread.accumulators.covariance import Covariance
from streamspread.accumulators.finish import FinishOptions
from streamspread.accumulators.gram import Gram
from streamspread.accumulators.staging import Overflow
from streamspread.datasets import Stream, as_stream, count, fingerprint, head, prefetch
from streamspread.errors import DataError, DeviceError, OptionError
from streamspread.memory import PeakMeter, free_bytes, parse_bytes
from streamspread.planner import LayerPlan, LayerShape, Plan
from streamspread.spectrum import LayerSpectrum, Spectra, Spectrum, check_thresholds
from streamspread.taps import TapInfo, Watch, list_taps, select

BATCH_SIZE = {"cpu": 128, "cuda": 500}
ROUNDING = {"cpu": "fp32", "cuda": "fp16"}
_BUDGET_SHARE = 0.8  # of what is free on the device, where no budget is given
_CUDA_OVERHEAD = 96 << 20  # cuBLAS and cuSOLVER workspaces that torch allocates


@dataclass(frozen=True)
class Progress:
    """A sign of life: ``stage`` is "pass" or "eigenvalues", ``index`` of ``count`` of them, ``done`` of ``total``."""

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
    memory: str | int | None = None,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    proof: bool = True,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Spectra:
    """Over how many principal components the data spreads at each layer.

    Args:
        model: any module; its mode, hooks, dtype and device are afterwards as they were, also after an error.
        data: a tensor, Dataset, DataLoader, or a callable that returns a fresh iterator of batches; a one-shot
            iterator is accepted where one pass is enough.
        layers: ``all``, or glob patterns of module names.
        thresholds: fractions τ of the variance.
        method: auto, covariance or gram. rounding: auto, fp16, bf16, fp32 or fp64, the precision to which centred
            activations are rounded before they are summed. rank: of the sketch method.
        memory: budget in bytes or as ``8GiB``; None: 80 % of what is free on the device.
        device: auto, cpu or cuda:0. batch_size: None for 128 on the CPU and 500 on CUDA.
        proof: whether a costly proof may be made where K would stay an interval otherwise.
        seed: of the eigenvalue step's random start.
        progress: called with signs of life. provenance: facts to keep with the result.

    Raises:
        StreamspreadError: one of its subclasses, with one line that says what to do.
    """
    thresholds = check_thresholds(thresholds)
    if rank != "auto" and (not isinstance(rank, int) or rank < 1):
        raise OptionError(f"rank {rank!r} is neither auto nor a positive number")
    options = _Options(method, rounding, rank, memory, device, batch_size, thresholds, proof, seed)
    with _session(model, data, layers, options) as session:
        report = progress or (lambda event: None)
        with PeakMeter(session.device) as meter:
            try:
                found = session.run(session.plan, report, meter)
            except torch.OutOfMemoryError as error:
                raise DeviceError(
                    f"{session.device} ran out of memory: lower --memory below {session.plan.budget} bytes or "
                    "--batch-size"
                ) from error
        facts = {**session.facts(), **dict(provenance or {})}
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
    memory: str | int | None = None,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    proof: bool = True,
    seed: int = 0,
) -> Plan:
    """What :func:`analyze` would run with the same arguments; nothing but a first look at shapes is run."""
    options = _Options(
        method, rounding, rank, memory, device, batch_size, check_thresholds(thresholds), proof, seed
    )
    with _session(model, data, layers, options) as session:
        return session.plan


def resolve_device(device: str | torch.device, model: nn.Module | None = None) -> torch.device:
    """``auto`` is the model's own card, else the first card where CuPy is there too, else the CPU.

    Raises:
        DeviceError: a device that is not there.
    """
    if isinstance(device, str) and device == "auto":
        if model is not None:
            placed = next((p.device for p in model.parameters()), None)
            if placed is not None and placed.type == "cuda":
                return placed
        return torch.device("cuda:0" if torch.cuda.is_available() and _has_cupy() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        raise DeviceError(f"device {device!r} is unknown: use auto, cpu or cuda:0") from None
    if resolved.type == "cuda":
        cards = torch.cuda.device_count()
        if not torch.cuda.is_available() or (resolved.index or 0) >= cards:
            raise DeviceError(f"device {device} is not there: torch sees {cards} CUDA devices; use --device cpu")
        return torch.device("cuda", resolved.index or 0)
    if resolved.type != "cpu":
        raise DeviceError(f"device {device} is not supported: use auto, cpu or cuda:0")
    return resolved


def _has_cupy() -> bool:
    from importlib.util import find_spec

    return find_spec("cupy") is not None


@dataclass(frozen=True)
class _Options:
    method: str
    rounding: str
    rank: str | int
    memory: str | int | None
    device: str | torch.device
    batch_size: int | None
    thresholds: tuple[float, ...]
    proof: bool
    seed: int


@dataclass
class _Session:
    """One analysis: a prepared model, a stream, the taps, and the plan."""

    model: nn.Module
    stream: Stream
    taps: list[TapInfo]
    device: torch.device
    dtype: torch.dtype
    batch_size: int
    options: _Options
    plan: Plan
    forward_bytes: int

    def run(
        self, plan: Plan, report: Callable[[Progress], None], meter: PeakMeter
    ) -> dict[str, LayerSpectrum]:
        """All passes of a plan; layers that overflowed at fp16 are run again at bf16."""
        by_name = {p.layer: p for p in plan.layers}
        taps = {t.name: t for t in self.taps}
        running: dict[str, _Running] = {}
        found: dict[str, LayerSpectrum] = {}
        overflowed: list[str] = []
        prints: list[int] | None = [] if len(plan.passes) > 1 else None
        for step in plan.passes:
            for name in step.layers:
                if name not in running:
                    running[name] = _Running(by_name[name], self.device)
            self._pass(plan, step.index, [taps[name] for name in step.layers], running, prints, report)
            ending = [name for name in step.layers if by_name[name].pass_indices[-1] == step.index]
            for position, name in enumerate(ending):
                report(
                    Progress(
                        "eigenvalues", step.index + 1, len(plan.passes), position, len(ending), "layers", name
                    )
                )
                one = running.pop(name)
                try:
                    spectrum = one.spectrum(self.options)
                except Overflow:
                    overflowed.append(name)
                    continue
                found[name] = _layer_spectrum(one, spectrum, meter.read())
                del one
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
            again = _make_plan(self, [taps[name] for name in overflowed], "bf16")
            found |= self.run(again, report, meter)
        return found

    def _pass(
        self,
        plan: Plan,
        index: int,
        taps: list[TapInfo],
        running: dict[str, _Running],
        prints: list[int] | None,
        report: Callable[[Progress], None],
    ) -> None:
        watch = Watch(self.model, taps)
        label = f"{taps[0].name} … {taps[-1].name}" if len(taps) > 1 else taps[0].name
        done = 0

        def consume(tap: TapInfo, x_ND: torch.Tensor) -> None:
            running[tap.name].update(x_ND)

        report(Progress("pass", index + 1, len(plan.passes), 0, self.plan.samples, "images", label))
        for number, batch in enumerate(self._batches(prints, first=index == 0)):
            watch.run(batch, consume)
            done += batch.shape[0]
            report(Progress("pass", index + 1, len(plan.passes), done, self.plan.samples, "images", label))
            del batch, number
        if self.plan.samples is not None and done != self.plan.samples:
            raise DataError(
                f"{self.stream.description}: {done:,} samples came in pass {index + 1}, "
                f"{self.plan.samples:,} were announced"
            )
        for tap in taps:
            running[tap.name].end_pass()

    def _batches(self, prints: list[int] | None, first: bool) -> Iterator[torch.Tensor]:
        """The stream's batches on the device in the model's dtype; checked to be the same in every pass."""

        def checked() -> Iterator[torch.Tensor]:
            for number, batch in enumerate(self.stream.batches(self.batch_size)):
                if prints is not None and self.stream.ordered:
                    value = fingerprint(batch)
                    if first:
                        prints.append(value)
                    elif number >= len(prints) or prints[number] != value:
                        raise DataError(
                            f"{self.stream.description}: batch {number + 1} differs between passes; the data must "
                            "repeat (no shuffling, no random augmentation)"
                        )
                yield batch

        for batch in prefetch(checked(), self.device):
            yield self.as_input(batch)

    def as_input(self, batch: torch.Tensor) -> torch.Tensor:
        """A batch as the model takes it: on the device, floating-point numbers in the model's dtype."""
        return batch.to(self.device, self.dtype if batch.is_floating_point() else None)

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
            "seed": self.options.seed,
            "tf32": False,
        }


class _Running:
    """A layer's accumulator, made when its first batch comes, and the time spent on it."""

    def __init__(self, layer: LayerPlan, device: torch.device) -> None:
        self.layer = layer
        self.clock = _Clock(device)
        common: dict[str, Any] = {
            "rounding": layer.rounding,
            "device": device,
            "panel_rows": layer.panel_rows,
            "layer": layer.layer,
        }
        self.accumulator: Covariance | Gram
        if layer.method == "gram":
            assert layer.samples is not None
            self.accumulator = Gram(layer.dim, layer.samples, tile=layer.tile, **common)
        else:
            self.accumulator = Covariance(layer.dim, staging_rows=layer.staging_rows, **common)

    def update(self, x_ND: torch.Tensor) -> None:
        with self.clock:
            self.accumulator.update(x_ND)

    def end_pass(self) -> None:
        with self.clock:
            self.accumulator.end_pass()

    def spectrum(self, options: _Options) -> Spectrum:
        with self.clock:
            return self.accumulator.spectrum(
                options.thresholds, FinishOptions(proof=options.proof, seed=options.seed)
            )


class _Clock:
    """Adds up the seconds spent inside its contexts; on CUDA by events, without waiting for the device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds = 0.0
        self._began = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def __enter__(self) -> None:
        if self._device.type == "cuda":
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            self._events.append((begin, end))
        else:
            self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            self._events[-1][1].record()
        else:
            self._seconds += time.perf_counter() - self._began

    def seconds(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            self._seconds += sum(begin.elapsed_time(end) for begin, end in self._events) / 1000
            self._events.clear()
        return self._seconds


@contextmanager
def _session(
    model: nn.Module, data: Any, layers: str | Sequence[str], options: _Options
) -> Iterator[_Session]:
    """Look at the first batch, choose taps and plan; leave the model and torch's settings as they were."""
    if not isinstance(model, nn.Module):
        raise OptionError(f"the model must be a torch.nn.Module, got {type(model).__name__}")
    device = resolve_device(options.device, model)
    stream = as_stream(data)
    batch_size = options.batch_size or BATCH_SIZE[device.type]
    with _prepared(model, device):
        dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
        rounding = options.rounding
        if rounding == "auto":
            rounding = "fp64" if dtype == torch.float64 else ROUNDING[device.type]
        session = _Session(
            model, stream, [], device, dtype, batch_size, replace(options, rounding=rounding), None, 0  # type: ignore[arg-type]
        )
        first = session.as_input(head(stream, batch_size))
        batch_size = session.batch_size = first.shape[0] if stream.samples is None else batch_size
        session.forward_bytes, taps = _probe(model, first, batch_size, device)
        session.taps = select(taps, layers, getattr(model, "default_layers", ()))
        session.plan = _make_plan(session, session.taps, rounding)
        del first
        yield session


def _make_plan(session: _Session, taps: Sequence[TapInfo], rounding: str) -> Plan:
    options, stream = session.options, session.stream
    samples = count(stream) if stream.repeatable or stream.samples is not None else None
    if samples is not None and samples < 2:
        raise DataError(f"{stream.description}: a covariance needs at least 2 samples, got {samples}")
    if options.memory is None:
        budget = int(_BUDGET_SHARE * free_bytes(session.device))
    else:
        budget = parse_bytes(options.memory)
    return planner.make_plan(
        [LayerShape(t.name, t.shape, t.dim, t.operations) for t in taps],
        samples,
        budget=budget,
        device=session.device,
        rounding=rounding,
        method=options.method,
        batch_size=session.batch_size,
        forward_bytes=session.forward_bytes,
        repeatable=stream.repeatable,
        ordered=stream.ordered,
    )


def _probe(
    model: nn.Module, first: torch.Tensor, batch_size: int, device: torch.device
) -> tuple[int, list[TapInfo]]:
    """(bytes that the forward of a batch needs, every tap). Measured on CUDA; on the CPU twice the largest output."""
    if device.type == "cuda":
        with PeakMeter(device) as meter:
            taps = list_taps(model, first)
            meter.read()
        return int(meter.peak * batch_size / first.shape[0]) + _CUDA_OVERHEAD, taps
    taps = list_taps(model, first[: min(2, first.shape[0])])
    largest = max((t.dim * t.itemsize for t in taps), default=0)
    inputs = first[0].numel() * 4
    return (2 * largest + inputs) * batch_size, taps


@contextmanager
def _prepared(model: nn.Module, device: torch.device) -> Iterator[None]:
    """The model in eval mode on the device, float32 without TF32, fixed algorithms; all restored afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    home = next((p.device for p in model.parameters()), None)
    cudnn = torch.backends.cudnn
    flags = (cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic, torch.backends.cuda.matmul.allow_tf32)
    try:
        model.eval()
        if home is not None and home != device:
            model.to(device)
        # TF32 rounds products to 11 bits and biases them; autotuning may pick another algorithm in another run.
        cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = False, False, True
        torch.backends.cuda.matmul.allow_tf32 = False
        yield
    finally:
        cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic, torch.backends.cuda.matmul.allow_tf32 = flags
        if home is not None and home != device:
            model.to(home)
        for module, training in modes:
            module.training = training


def _layer_spectrum(one: _Running, spectrum: Spectrum, peak: int) -> LayerSpectrum:
    layer = one.layer
    return LayerSpectrum(
        **vars(spectrum),
        layer=layer.layer,
        shape=layer.shape,
        method=layer.method,
        rounding=layer.rounding,
        passes=layer.passes,
        seconds=one.clock.seconds(),
        peak_bytes=peak,
    )
