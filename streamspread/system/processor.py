"""The processor's name, by which results say where they were made."""

from __future__ import annotations

import platform
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

_BESIDE = {"cpu family": "family", "model": "model"}


def processor_name(listing: Path = CPUINFO) -> str:
    """``AMD EPYC, family 25, model 17``: in a virtual machine the name alone is that of processors twice as
    fast as one another; where nothing is told, the architecture.

    Args:
        listing: what Linux tells of the processors.
    """
    try:
        text = listing.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    told = {
        field: found[1].strip()
        for field in ("model name", *_BESIDE)
        if (found := re.search(rf"^{field}[ \t]*:(.*)$", text, re.MULTILINE))
    }
    if not told.get("model name"):
        return platform.processor() or platform.machine()
    parts = [told["model name"]]
    parts += [f"{word} {told[field]}" for field, word in _BESIDE.items() if field in told]
    return ", ".join(parts)
