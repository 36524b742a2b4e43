"""The models that are analysed: reference networks, torchvision's, and the user's own."""

from typing import TYPE_CHECKING

from streamspread.system.registry import lazily

if TYPE_CHECKING:
    from streamspread.models.inputs import NormalizeUint8 as NormalizeUint8
    from streamspread.models.network import ConvLayer as ConvLayer
    from streamspread.models.network import Network as Network
    from streamspread.models.plans import PLANS as PLANS
    from streamspread.models.plans import parse_plan as parse_plan
    from streamspread.models.source import SOURCES as SOURCES
    from streamspread.models.source import Built as Built
    from streamspread.models.source import ModelSource as ModelSource
    from streamspread.models.source import model_forms as model_forms
    from streamspread.models.specs import LoadedModel as LoadedModel
    from streamspread.models.specs import load as load

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
    "load": "specs",
    "model_forms": "source",
    "parse_plan": "plans",
}

__getattr__ = lazily(__name__, _HOMES)
