"""The models that are analysed: reference networks, torchvision's, and the user's own."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamspread.models.inputs import NormalizeUint8
    from streamspread.models.network import ConvLayer, Network
    from streamspread.models.plans import PLANS, parse_plan
    from streamspread.models.source import SOURCES, Built, ModelSource, model_forms
    from streamspread.models.specs import LoadedModel, default_layers, load

# Public name → module that defines it, imported when the name is first asked for: importing this room,
# `plans` and `source` loads no library.
_HOMES = {
    "PLANS": "plans",
    "SOURCES": "source",
    "Built": "source",
    "ConvLayer": "network",
    "LoadedModel": "specs",
    "ModelSource": "source",
    "Network": "network",
    "NormalizeUint8": "inputs",
    "default_layers": "specs",
    "load": "specs",
    "model_forms": "source",
    "parse_plan": "plans",
}

__all__ = [
    "PLANS",
    "SOURCES",
    "Built",
    "ConvLayer",
    "LoadedModel",
    "ModelSource",
    "Network",
    "NormalizeUint8",
    "default_layers",
    "load",
    "model_forms",
    "parse_plan",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
