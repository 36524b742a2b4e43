"""One analysis: a prepared model, its data and taps, the plan, and its passes carried out."""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from streamspread import planner
from streamspread.accumulators.sketch import rank_to_close
from streamspread.accumulators.staging import Overflow
from streamspread.engine.running import Running
from streamspread.errors import (
    ActivationError,
    DataError,
    DeviceError,
    OptionError,
    StreamspreadError,
)
from streamspread.observe.look import first_batch, probe, survey
from streamspread.observe.placement import as_input, model_dtype, prepared
from streamspread.observe.taps import TapInfo, Watch, select
from streamspread.options import Options
from streamspread.planner import LayerShape, Plan
from streamspread.results.spectrum import LayerSpectrum
from streamspread.streams import Stream, as_stream, fingerprint, prefetch
from streamspread.system.devices import resolve_device
from streamspread.system.memory import PeakMeter, free_bytes, parse_bytes

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


@dataclass
class Session:
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
            overflowed += self._end_pass([running[name] for name in names])
            for name in overflowed:
                running.pop(name, None)
            ending = [
                name
                for name in names
                if name in running
                and (by_name[name].pass_indices[-1] == step.index or running[name].is_narrow_enough())
            ]
            for position, name in enumerate(ending):
                sign = Progress(
                    "eigenvalues", step.index + 1, len(plan.passes), position, len(ending), "layers", name
                )
                report(sign)
                one = running.pop(name)
                one.spectrum(_share_of(name, report))  # before the peak is read: it is the layer's own
                found[name] = one.layer_spectrum(max(meter.read(), peaks.get(name, 0)))
                del one
            peaks.update((name, max(meter.read(), peaks.get(name, 0))) for name in running)
            if ending:
                report(replace(sign, done=len(ending)))
        if overflowed:
            again = self.make_plan([t for t in self.taps if t.name in overflowed], "bf16")
            found |= self.run(again, report, meter)
        return found

    def _end_pass(self, layers: Sequence[Running]) -> list[str]:
        """End a pass for its layers; those that overflowed at fp16, and can be summed again, by name.

        Raises:
            ActivationError: NaN or Inf came, or an overflow that summing again would not mend.
        """
        overflowed = []
        for one in layers:
            try:
                one.end_pass()
            except Overflow as error:
                rounding = one.layer.rounding
                if rounding != "fp16":
                    raise ActivationError(
                        f"{error}: its range is too wide for rounding {rounding}; check the weights, or try "
                        "--rounding fp64"
                    ) from None
                if not self.stream.repeatable:
                    raise ActivationError(
                        f"{error}, and data that can be read once cannot be summed again: take "
                        "--rounding bf16"
                    ) from None
                overflowed.append(one.layer.layer)
        return overflowed

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
def opened(model: nn.Module, data: Any, layers: str | Sequence[str], options: Options) -> Iterator[Session]:
    """Look at the first batch, choose taps and plan; leave the model and torch's settings as they were."""
    if not isinstance(model, nn.Module):
        raise OptionError(f"the model must be a torch.nn.Module, got {type(model).__name__}")
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
            session = Session(
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
