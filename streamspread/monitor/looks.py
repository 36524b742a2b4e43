"""What a look is made of: windows of all processes joined and analysed, or an analysis of a probe set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import nn

from streamspread.engine.analysis import analyzed
from streamspread.engine.rows import spectrum_of_rows
from streamspread.errors import kind_and_line
from streamspread.monitor.window import Kept
from streamspread.observe.network import is_sharded
from streamspread.observe.observed import observing
from streamspread.observe.placement import arithmetic
from streamspread.options import Options
from streamspread.ranks import Ranks
from streamspread.results.history import Reading
from streamspread.results.spectra import LayerSpectrum, Spectra
from streamspread.results.views import WHOLE
from streamspread.streams.stream import Stream
from streamspread.system.memory import free_bytes, parse_bytes
from streamspread.system.progress import silent

#: What a layer gave: its spectrum, or a reading that says why there is none.
Found = LayerSpectrum | Reading

_SHARE = 0.8  # of the memory that is free, for sums, where none is named


@dataclass(frozen=True)
class Look:
    """What was seen at one time.

    Attributes:
        step, until: as of :class:`streamspread.results.history.Reading`.
        spectra: of the layers that could be told. ``readings``: of all. ``seconds``: that it took.
    """

    step: int
    until: int
    spectra: Spectra
    readings: tuple[Reading, ...]
    seconds: float

    def __getitem__(self, layer: str) -> LayerSpectrum:
        return self.spectra[layer]


class _Told(NamedTuple):
    """What the others are told of a layer that was kept here."""

    images: int
    uneven: bool
    why: str


def joined(kept: Mapping[str, Kept], ranks: Ranks, options: Options, steps: tuple[int, int]) -> list[Found]:
    """What is known of each layer, in all processes the same. A layer is one process's to analyse, which gets
    the others' samples behind or before its own, in the order of the ranks. What was kept is used up.

    Args:
        steps: of the window, the first and the last.
    """
    mine: dict[str, Found] = {}
    names = list(dict.fromkeys(name for given in ranks.gather(list(kept)) for name in given))
    for number, name in enumerate(names):
        one = kept.get(name)
        told = ranks.gather(None if one is None else _Told(one.images, one.uneven, one.why))
        having = [rank for rank, each in enumerate(told) if each is not None]
        owner = having[number % len(having)]
        parts = ranks.collect([] if one is None else one.parts, owner)
        if one is None:
            continue
        one.parts = []
        if ranks.rank == owner:
            known = [each for each in told if each is not None]
            whole = replace(
                one,
                parts=parts,
                images=sum(each.images for each in known),
                uneven=any(each.uneven for each in known),
                why=next((each.why for each in known if each.why), ""),
            )
            del parts
            mine[name] = _analysed(whole, options, steps)
    every = {name: found for given in ranks.gather(mine) for name, found in given.items()}
    return [every[name] for name in names]


def _analysed(one: Kept, options: Options, steps: tuple[int, int]) -> Found:
    parts, why = one.parts, one.why
    samples = sum(map(len, parts))
    if not why:
        device = _where(parts)
        try:
            one.parts = parts = [part.to(device) for part in parts]
            held = sum(part.nbytes for part in parts)
            memory = options.memory
            room = int(_SHARE * free_bytes(device)) + held if memory is None else parse_bytes(memory)
            with arithmetic(device):
                return spectrum_of_rows(one.tap, parts, one.images, one.uneven, options, room)
        except Exception as error:  # whatever it is, the training goes on
            why = kind_and_line(error)
    return Reading(
        step=steps[0],
        until=steps[1],
        layer=one.tap.name,
        shape=one.tap.shape,
        dim=max(1, one.tap.dim),
        samples=samples,
        images=one.images,
        view=WHOLE if one.tap.view is None else one.tap.view.name,
        note=why,
    )


def _where(parts: Sequence[torch.Tensor]) -> torch.device:
    """The parts' own device, where sums can be made there; else the CPU."""
    device = parts[0].device if parts else torch.device("cpu")
    if device.type == "cuda" and find_spec("cupy") is not None:
        return device
    return torch.device("cpu")


def probed(
    network: nn.Module, probe: Stream, options: Options, ranks: Ranks
) -> tuple[list[LayerSpectrum], str]:
    """The spectra of a probe set and "", or why there are none. Where parameters lie spread over processes
    all of these run it; else rank 0 does, and the others are told."""
    spectra: list[LayerSpectrum] = []
    why = ""
    if ranks.leads or is_sharded(network):
        first = next(network.parameters(), None)
        here = replace(options, device="cpu" if first is None else str(first.device))
        try:
            with observing(network, probe, here) as observed:
                spectra = list(analyzed(observed, here, silent).values())
        except Exception as error:
            why = kind_and_line(error)
    return ranks.share((spectra, why))
