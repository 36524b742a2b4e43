"""What is looked up in a result's provenance, which files of several versions hold differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def asked_option(provenance: Mapping[str, Any], name: str, default: Any) -> Any:
    """An option as the result was asked for: from ``options``, or as older files have it, an entry of its
    own; ``default`` where neither is there."""
    options = provenance.get("options")
    if isinstance(options, Mapping) and name in options:
        return options[name]
    return provenance.get(name, default)
