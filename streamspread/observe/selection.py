"""Which of a network's taps were asked for, by names, globs and modules, and in which views."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import nn

from streamspread.errors import LayerError
from streamspread.observe.network import named, pattern_texts
from streamspread.observe.taps import TapInfo
from streamspread.observe.views import View
from streamspread.results.views import WHOLE, AxesRule, viewed_name

ALL = "all"
_USUAL_AXES = {3: "NTC, TNC or NCL", 4: "NCHW or NHWC", 5: "NCDHW or NDHWC"}
_SUCH = "all, or names and globs such as 'blocks.*'"

#: Of the classes that torch makes of a module's own: by fully_shard, and by a weight or spectral norm.
_PREFIXES = ("FSDP", "Parametrized")

#: Of torch, as Conv2d and the ConvReLU2d of a quantized network, of transformers, as Conv1D, and of timm, as
#: Conv2dSame; and no ConvNeXtBlock or Conv2dNormActivation, which hold such beside others.
_CONVOLUTION = re.compile(r"Conv(Transpose|(Add|Bn|ReLU)*)[123][dD](?!Norm)")

#: Of torch, whatever a network calls those that it derives from them, as the reference networks do.
_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def select(
    taps: Sequence[TapInfo],
    patterns: str | nn.Module | Sequence[str | nn.Module],
    default: Sequence[str] = (),
) -> list[TapInfo]:
    """The taps that the glob patterns name, in network order.

    ``all`` stands for ``default`` (the reference networks name theirs) or, where that is empty, for every
    convolution and linear layer that can be observed. A pattern without ``#`` matches all calls of a module.

    Raises:
        LayerError: a pattern that matches nothing (the nearest names are given), or a tap that cannot be
            observed.
    """
    by_name = {tap.name: tap for tap in taps}
    chosen = matching(
        pattern_texts(patterns, _SUCH),
        by_name,
        lambda name, pattern: _is_named(by_name[name], pattern, default),
    )
    for tap in (tap for tap in taps if tap.name in chosen):
        check_observable(tap)
    return [tap for tap in taps if tap.name in chosen]


def usual(taps: Sequence[TapInfo], default: Sequence[str] = ()) -> list[TapInfo]:
    """What ``all`` means, which may be nothing."""
    return [tap for tap in taps if _is_named(tap, ALL, default)]


class Wanted(NamedTuple):
    """Taps that are asked for before any forward tells which there are: ``modules`` by name, of which some
    calls may be left out."""

    modules: tuple[str, ...]
    patterns: tuple[str, ...]
    default: tuple[str, ...]

    @staticmethod
    def of(
        model: nn.Module,
        patterns: str | nn.Module | Sequence[str | nn.Module],
        default: Sequence[str] = (),
    ) -> Wanted:
        """As :func:`select` reads the patterns, held against the modules of a network.

        Raises:
            LayerError: a pattern that matches no module.
        """
        modules, texts = dict(named(model)), tuple(pattern_texts(patterns, _SUCH))

        def is_named(name: str, pattern: str) -> bool:
            if pattern == ALL:
                return name in default if default else is_usual(modules[name])
            return fnmatchcase(name, pattern.split("#")[0])

        return Wanted(tuple(matching(texts, modules, is_named)), texts, tuple(default))

    def has(self, tap: TapInfo) -> bool:
        return any(_is_named(tap, pattern, self.default) for pattern in self.patterns)


def matching(
    patterns: Iterable[str], names: Iterable[str], is_named: Callable[[str, str], bool] = fnmatchcase
) -> list[str]:
    """The names that any of the patterns names, in their order.

    Raises:
        LayerError: a pattern that matches nothing; the nearest names are given.
    """
    names, chosen = list(names), set[str]()
    for pattern in patterns:
        found = {name for name in names if is_named(name, pattern)}
        if not found:
            raise _nothing(pattern, names)
        chosen |= found
    return [name for name in names if name in chosen]


def check_observable(tap: TapInfo) -> None:
    """Raise LayerError for a tap that cannot be observed."""
    if not tap.observable:
        read = f", read as {tap.axes}," if len(tap.axes) > 2 else ""
        raise LayerError(
            f"layer {tap.name!r} ({tap.kind}) cannot be analysed: its output{read} is not a dense "
            "floating-point tensor with one row per sample in every forward"
        )


def _is_named(tap: TapInfo, pattern: str, default: Sequence[str]) -> bool:
    if pattern == ALL:
        return tap.module in default if default else tap.observable and _is_usual_kind(tap.kind)
    return fnmatchcase(tap.name, pattern) or fnmatchcase(tap.module, pattern)


def _nothing(pattern: str, names: Sequence[str]) -> LayerError:
    """The error for a pattern that matches none of the names."""
    if pattern == ALL:
        return LayerError("layers 'all' names nothing in this model: give names or globs such as 'blocks.*'")
    near = difflib.get_close_matches(pattern, list(dict.fromkeys(names)), n=3, cutoff=0.0)
    return LayerError(
        f"no layer matches {pattern!r}: nearest are {', '.join(near) or 'none'}; "
        "`streamspread layers` lists them all"
    )


def is_usual(module: nn.Module) -> bool:
    """Whether it is a convolution or linear layer, of torch or by its name of another library: what ``all``
    means in a model that does not say itself."""
    return isinstance(module, _CONVOLUTIONS) or _is_usual_kind(type(module).__name__)


def _is_usual_kind(kind: str) -> bool:
    for prefix in _PREFIXES:
        kind = kind.removeprefix(prefix)
    return bool(_CONVOLUTION.match(kind)) or kind.startswith("Linear") or kind.endswith("Linear")


def in_views(taps: Sequence[TapInfo], views: Sequence[str], rules: Sequence[AxesRule] = ()) -> list[TapInfo]:
    """Each tap in each of the views, tap after tap; one whose outputs have no places once, as it is: all
    views of it are alike.

    Args:
        rules: the axes that were asked for; the taps have them.

    Raises:
        LayerError: axes that are not known, or of another number than the output's, or of no tap.
    """
    for rule in rules:
        if not any(_is_of(rule, tap) for tap in taps):
            what = f"is called {rule.layers!r}" if rule.layers else f"has {len(rule.axes)} axes"
            raise LayerError(f"axes {rule.axes} are given, and no layer that was asked for {what}")
    return [one for tap in taps for one in views_of(tap, views)]


def _is_of(rule: AxesRule, tap: TapInfo) -> bool:
    if not rule.layers:
        return len(rule.axes) == len(_output(tap)) + 1
    return fnmatchcase(tap.name, rule.layers) or fnmatchcase(tap.module, rule.layers)


def views_of(tap: TapInfo, views: Sequence[str]) -> Iterator[TapInfo]:
    """A tap in each of the views; errors as :func:`in_views`."""
    output, axes = _output(tap), tap.axes
    count = len(output) + 1
    shape = f"(N, {', '.join(map(str, output))})"
    if axes and len(axes) != count:
        raise LayerError(f"layer {tap.name!r}: axes {axes} are given, and its output {shape} has {count}")
    for view in views if count > 2 else (WHOLE,):
        if view == WHOLE:
            yield tap
        elif not axes:
            usual = _USUAL_AXES.get(count, "a letter for each")
            raise LayerError(
                f"layer {tap.name!r} ({tap.kind}): its type does not tell which axis of its output {shape} "
                f"holds features: give --axes, as {usual}; for it alone as '{tap.module}=…'"
            )
        else:
            one = View(tap.name, view, axes, output)
            name = viewed_name(tap.name, view)
            yield replace(tap, name=name, shape=one.shape, dim=one.features, view=one)


def _output(tap: TapInfo) -> tuple[int, ...]:
    return tap.view.output if tap.view else tap.shape
