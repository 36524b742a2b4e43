"""Views: what of a layer's output is one sample; and how the axes of outputs are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streamspread.errors import OptionError

WHOLE, POSITION, POOLED, POOLED_MAX = "whole", "position", "pooled", "pooled-max"

#: One vector per image; each place of a feature map, or each token, by itself; their mean; their largest.
VIEWS = (WHOLE, POSITION, POOLED, POOLED_MAX)

_SAMPLES, _FEATURES = "N", "C"
_TAKES = "give N for samples, C for features and another letter for each axis of places, as NCHW, NTC or "
_TAKES += "'blocks.*=TNC'"


class AxesRule(NamedTuple):
    """How outputs are read: ``axes``, a letter for each axis, of the layers that ``layers`` names by a glob;
    "": of all whose outputs have so many axes."""

    layers: str
    axes: str


def check_views(views: str | Iterable[str]) -> tuple[str, ...]:
    """The names of views, in the order given, without repeats.

    Raises:
        OptionError: none given, or an unknown one.
    """
    if not isinstance(views, Iterable):
        raise OptionError(f"view {views!r} is no text: choose from {', '.join(VIEWS)}")
    names = [views] if isinstance(views, str) else list(views)
    for name in names:
        if name not in VIEWS:
            raise OptionError(f"view {name!r} is unknown: choose from {', '.join(VIEWS)}")
    if not names:
        raise OptionError(f"no view given: choose from {', '.join(VIEWS)}")
    return tuple(dict.fromkeys(names))


def check_axes(axes: str | Mapping[str, str] | None) -> str | None:
    """Axes as one text, ``NCHW,blocks.*=TNC``; a mapping is from globs to letters.

    Raises:
        OptionError: letters that no output can be read by.
    """
    if axes is None:
        return None
    if isinstance(axes, Mapping):
        axes = ",".join(f"{layers}={letters}" for layers, letters in axes.items())
    if not isinstance(axes, str):
        raise OptionError(f"axes {axes!r} are neither a text nor texts by layer: {_TAKES}")
    return ",".join(f"{rule.layers}={rule.axes}" if rule.layers else rule.axes for rule in axes_rules(axes))


def axes_rules(axes: str | Mapping[str, str] | None) -> tuple[AxesRule, ...]:
    """The rules that axes are; errors as :func:`check_axes`."""
    text = check_axes(axes) if isinstance(axes, Mapping) else axes
    rules = []
    for part in [] if text is None else text.split(","):
        layers, _, axes = part.rpartition("=")
        letters = axes.strip().upper()
        each = set(letters)
        known = letters.isascii() and letters.isalpha() and len(each) == len(letters)
        if not known or not {_SAMPLES, _FEATURES} <= each or ("=" in part and not layers.strip()):
            raise OptionError(f"axes {part.strip()!r} cannot be read: {_TAKES}")
        rules.append(AxesRule(layers.strip(), letters))
    twice = next((one for n, one in enumerate(rules) if one.layers in {r.layers for r in rules[:n]}), None)
    if twice is not None:
        whose = f"of {twice.layers!r}" if twice.layers else "of all layers"
        raise OptionError(f"axes {text!r} give those {whose} twice: give them once")
    return tuple(rules)


def viewed_name(layer: str, view: str) -> str:
    """What a layer in a view is called: ``c1``, or ``c1@position``."""
    return layer if view == WHOLE else f"{layer}@{view}"
