"""Where a result was made, and how it is written down: shared by all benchmarks."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "numba",
    "scikit-learn",
    "scikit-learn-intelex",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "torchdr",
)


def environment() -> dict[str, Any]:
    """Processor, cores, memory, card, driver, package versions, commit and time."""
    import torch

    from streamspread.system.devices import processor_name

    facts: dict[str, Any] = {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: v for name in _PACKAGES if (v := _version(name))},
        "commit": _run("git", "rev-parse", "HEAD"),
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if torch.cuda.is_available():
        facts["card"] = torch.cuda.get_device_name()
        facts["driver"] = _run("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return facts


def hardware() -> str:
    """A short name for file names: the card's, or the processor's with its cores."""
    facts = environment()
    text = facts.get("card") or f"{facts['processor']}-{facts['cores']}-cores"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def path_of(theme: str) -> Path:
    """Where a result of this hardware and month is kept."""
    return RESULTS / f"{theme}-{hardware()}-{datetime.now(UTC):%Y%m}.json"


def with_stored(theme: str, rows: list[dict[str, Any]], keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows of a run, each with its commit and time, after those of the stored result that they do not
    replace, as told by what ``keys`` name: so that what takes long can be run in parts."""
    facts = {key: value for key, value in environment().items() if key in ("commit", "time_utc")}
    new = {tuple(row[key] for key in keys): row | facts for row in rows}
    path = path_of(theme)
    stored = json.loads(path.read_text())["rows"] if path.exists() else []
    return [row for row in stored if tuple(row[key] for key in keys) not in new] + list(new.values())


def save(theme: str, **numbers: Any) -> Path:
    """Write ``results/<theme>-<hardware>-<yyyymm>.json`` (beside and renamed), the environment inside."""
    RESULTS.mkdir(exist_ok=True)
    path = path_of(theme)
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps({"environment": environment(), **numbers}, indent=1) + "\n")
    os.replace(beside, path)
    return path


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _run(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
