"""The layers of a network that can be analysed, with the shape and the number of their features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from streamspread.errors import DataError, ModelError
from streamspread.models.specs import LoadedModel, load
from streamspread.observe.network import layer_patterns, pattern_texts, unwrapped
from streamspread.observe.observed import default_layers
from streamspread.observe.placement import as_input, model_dtype, prepared
from streamspread.observe.selection import select, usual
from streamspread.observe.taps import TapInfo, list_taps
from streamspread.results.base import Shown
from streamspread.results.views import axes_rules, check_axes
from streamspread.streams.adapt import as_stream
from streamspread.streams.batch import Batch
from streamspread.streams.resize import Side
from streamspread.streams.stream import head


class Layers(tuple[TapInfo, ...], Shown):
    """Layers in network order, each with its ``name``, ``kind`` of module, ``shape`` and ``dim``, D;
    ``taken``: the names of those that ``asked`` means, as :func:`streamspread.analyze` takes it."""

    printer = "print_layers"
    asked: str = "all"
    taken: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lines = (f"{tap.name}: {tap.kind} {tap.shape}, D = {tap.dim:,}" for tap in self)
        return "\n".join(lines) or "no layers"


def layers(
    model: nn.Module | str,
    data: Any = None,
    *,
    layers: str | nn.Module | Sequence[str | nn.Module] = "all",
    axes: str | Mapping[str, str] | None = None,
) -> Layers:
    """The layers that :func:`streamspread.analyze` can observe, by one forward of two samples.

    Args:
        model: any module, which stays as it is; or a name, as ``--model`` takes it, with random weights.
        data: as of :func:`streamspread.analyze`; or the shape of one sample, as (3, 32, 32), for float32
            zeros. None: images of the size that a named model is meant for.
        layers: what is marked as ``taken``: all, or names and globs. ``axes``: how outputs' axes are read;
            both as of :func:`streamspread.analyze`.

    Raises:
        LayerError: a name that matches no layer.
        OptionError: axes that are none, or no module.
        ModelError: the model is unknown, or does not run on the data.
        DataError: neither data nor a shape, for a module of one's own.
    """
    if isinstance(model, str):
        from streamspread import models

        loaded = models.load(model, "none")
        model, data = loaded.module, _example_of(loaded, loaded.image_size) if data is None else data
    unwrapped(model)
    sample = _sample(data)
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    with prepared(model, device):
        sample = as_input(sample, device, model_dtype(model, sample))
        taps = list_taps(model, sample, rules=axes_rules(check_axes(axes)))
    found = Layers(tap for tap in taps if tap.observable)
    layers = layer_patterns(model, layers)
    found.asked = ",".join(pattern_texts(layers, "all, or names and globs such as 'blocks.*'"))
    default = default_layers(unwrapped(model))
    taken = usual(taps, default) if layers == "all" else select(taps, layers, default)
    found.taken = tuple(tap.name for tap in taken)
    return found


def layers_of_named(model: str, image_size: int | None, chosen: Any, axes: Any) -> Layers:
    """As :func:`layers`, of a model by its name, without its weights; ``chosen``: layers."""
    loaded = load(model, "none")
    own = loaded.image_size
    example = _example_of(loaded, own.at(image_size) if image_size else own)
    return layers(loaded.module, example, layers=chosen, axes=axes)


def _example_of(loaded: LoadedModel, size: int) -> Any:
    """What a named model can be shown to tell its layers: images of so many pixels, or what it takes else.

    Raises:
        ModelError: no example is known of what it takes.
    """
    if loaded.takes == "images":
        return torch.zeros(2, 3, Side.of(size).height, size, dtype=torch.uint8)
    if loaded.example is None:
        raise ModelError(
            f"{loaded.name} takes {loaded.takes}, of which no example is known: from Python, "
            "streamspread.plan(model, data) tells its layers"
        )
    return loaded.example


def _sample(data: Any) -> Batch:
    if data is None:
        raise DataError(
            "shapes depend on what enters: give data, or the shape of one sample, such as (3, 32, 32)"
        )
    if isinstance(data, Sequence) and data and all(isinstance(size, int) for size in data):
        return torch.zeros(2, *data)
    return head(as_stream(data), 2)
