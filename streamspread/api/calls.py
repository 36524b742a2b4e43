"""Functions whose arguments are the fields of a class, and the provenance of what they give."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from torch import nn

from streamspread.errors import OptionError
from streamspread.observe.network import layer_patterns, parameters_sha256
from streamspread.observe.observed import Observed
from streamspread.options import RunOptions, documented, option_of

P = ParamSpec("P")
C = TypeVar("C")
R = TypeVar("R")


@dataclass(frozen=True)
class Subject:
    """What a door is given before its options.

    model: any module; its mode, hooks, dtype and device are afterwards as they were, also after an error.
    data: as of :func:`streamspread.streams.adapt.as_stream`: tensors, arrays, data sets, loaders, or a
    callable that returns a fresh iterator of batches; a one-shot iterator is accepted where one pass is
    enough.
    forward: runs the model on a batch, in place of calling it: ``lambda model, batch: …``. The batch is a
    tensor or, where the data have names, a dict of them.
    """

    model: nn.Module
    data: Any
    _: KW_ONLY
    forward: Callable[[nn.Module, Any], Any] | None = None


def door(call: Callable[P, C]) -> Callable[[Callable[[C], R]], Callable[P, R]]:
    """Turn a function of a call into one of the call's fields: the same names, defaults and types, which type
    checkers and editors see too. The documentation of the options is put in place of ``{options}``."""

    def decorate(body: Callable[[C], R]) -> Callable[P, R]:
        signature = inspect.signature(call)

        @wraps(body)
        def through(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{body.__name__}(): {error}") from None
            try:
                asked = call(*args, **kwargs)
            except (TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
                raise OptionError(
                    f"{body.__name__}(): an argument is of a kind that is not taken here ({error})"
                ) from error
            return body(_named(asked))

        returned = inspect.signature(body).return_annotation
        through.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined]
        through.__annotations__ = {"return": returned}
        if isinstance(call, type) and "{options}" in (text := body.__doc__ or ""):
            through.__doc__ = text.replace("{options}", options_text(call))
        return through

    return decorate


def _named(call: C) -> C:
    """The call with layers by name where modules of its model were given: a result keeps what was asked.

    Raises:
        OptionError: what is to be kept with the result is no mapping.
    """
    facts = getattr(call, "provenance", None)
    if facts is not None and not isinstance(facts, Mapping):
        raise OptionError(
            f"provenance must be facts by name, as {{'experiment': 7}}, not {type(facts).__name__}"
        )
    if isinstance(call, RunOptions) and isinstance(model := getattr(call, "model", None), nn.Module):
        layers = layer_patterns(model, call.layers)
        return call if layers is call.layers else replace(call, layers=layers)
    return call


def options_text(options: type, indent: str = " " * 8) -> str:
    """The documentation of all options, a line or more each, as the ``Args`` of a docstring."""
    lines = []
    for one in documented(options):
        flag = option_of(one).flag
        unset = f" Default: {flag.unset}." if flag is not None and flag.unset else ""
        text = re.sub(r"\[/?[a-z]+\]", "", option_of(one).text)
        lines.append(f"{one.name}: {text}{unset}")
    return f"\n{indent}".join(lines)


def with_facts(
    made: Mapping[str, Any], model: nn.Module, observed: Observed, given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The provenance of a result: versions, machine, time and title, the model's class and the hash of its
    parameters; over these what the run ``made`` known, and over all what the caller has ``given``, such as
    the command line. Of notes all are kept."""
    from streamspread import store

    given = dict(given or {})
    plan = getattr(model, "plan", None)
    general = store.provenance(
        store.Subject(type(model).__name__, plan if isinstance(plan, str) else None),
        data=observed.stream.description,
        device=observed.device,
    )
    notes = [*given.get("notes", ()), *made.get("notes", ())]
    hashed = {"parameters_sha256": parameters_sha256(model)}
    return {**general, **made, **hashed, **given, "notes": notes}
