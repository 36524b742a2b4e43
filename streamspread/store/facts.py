"""Provenance: the facts that a result must travel with to be judged and repeated."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from streamspread.system.version import __version__

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Subject:
    """Which network a result is about.

    Attributes:
        model: its name, as ``--model`` takes it. ``plan``: its layers, where it is built from a plan.
        weights: where they come from; "none" where they are random. ``weights_sha256``: of their file.
    """

    model: str
    plan: str | None = None
    weights: str | None = None
    weights_sha256: str | None = None


def provenance(
    subject: Subject,
    *,
    data: str = "",
    samples: int | None = None,
    device: str | torch.device = "cpu",
    command: str | Iterable[str] | None = None,
    title: str | None = None,
    notes: Iterable[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """What a result must travel with to be judged and repeated; a dict that JSON holds.

    Each of its entries is a *fact*; versions, machine and time are added to those given.

    Args:
        subject: the network.
        data, samples: a description of the data, and how many images were used.
        device: where it ran; a CUDA device adds the card's name and CUDA's version.
        command: the command line as a list of arguments, or None for a call from Python.
        title: one line over every table and figure; made from the above where None.
        notes: what a reader of the table should know besides, a line each.
        more: any other facts, kept as they are.
    """
    import torch

    from streamspread.system.devices import processor_name

    facts: dict[str, Any] = {
        "version": __version__,
        "command": command if command is None or isinstance(command, str) else list(command),
        "model": subject.model,
        "plan": subject.plan,
        "weights": subject.weights,
        "weights_sha256": subject.weights_sha256,
        "data": data,
        "samples": samples,
        "device": str(device),
        "card": None,
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": _package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": processor_name(),
        "threads": torch.get_num_threads(),
        "notes": list(notes),
    }
    if facts["device"].startswith("cuda"):
        facts["card"] = torch.cuda.get_device_name(device)
        facts["cuda"] = torch.version.cuda
    facts["title"] = title or _title(facts)
    return facts | more


def run_facts(
    loaded: Any,
    stream: Any,
    device: torch.device,
    command: Iterable[str],
    notes: Iterable[str],
    **more: Any,
) -> dict[str, Any]:
    """The provenance of a result from a loaded model (of the room models) and a stream of data; other
    arguments as :func:`provenance`."""
    return provenance(
        Subject(loaded.name, loaded.plan, loaded.weights, loaded.weights_sha256),
        weights_note=loaded.note,
        data=stream.description,
        samples=stream.samples,
        device=device,
        command=command,
        notes=notes,
        **more,
    )


def checked(facts: Any) -> dict[str, Any]:
    """A provenance as read from a file, with every fact that this package looks into of the right kind.

    Raises:
        ValueError: it is no mapping, or one of the facts is of another kind.
    """
    if not isinstance(facts, Mapping):
        raise ValueError("the provenance is no mapping")
    for key, (kind, fits) in _KINDS.items():
        if key in facts and not fits(facts[key]):
            raise ValueError(f"{key} is not {kind}")
    return dict(facts)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_texts_by_name(value: Any) -> bool:
    return isinstance(value, Mapping) and _is_texts([*value, *value.values()])


#: The facts that this package looks into, with the kind that each must be; all others are shown as they are.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "command": ("a text or a list of texts", lambda v: v is None or isinstance(v, str) or _is_texts(v)),
    "title": ("a text", lambda v: v is None or isinstance(v, str)),
    "plan": ("a text", lambda v: v is None or isinstance(v, str)),
    "notes": ("a list of texts", _is_texts),
    "weights_note": ("texts by name", lambda v: v is None or _is_texts_by_name(v)),
    "packages": ("texts by name", _is_texts_by_name),
    "recipe": ("a mapping", lambda v: isinstance(v, Mapping)),
    "options": ("a mapping", lambda v: isinstance(v, Mapping)),
}


def _title(facts: dict[str, Any]) -> str:
    weights, plan = facts["weights"], facts["plan"]
    parts = [
        f"{facts['model']} ({plan})" if plan and plan not in facts["model"] else facts["model"],
        "random weights" if weights == "none" else f"{weights} weights" if weights else "",
        facts["data"],
        f"{facts['device']} ({facts['card']})" if facts["card"] else facts["device"],
    ]
    return " · ".join(part for part in parts if part)


def _package_versions() -> dict[str, str]:
    names = ("torch", "torchvision", "numba", "numpy", "pyarrow", "cupy", "cupy-cuda12x", "cupy-cuda13x")
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
