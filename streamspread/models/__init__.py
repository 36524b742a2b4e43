"""The models that are analysed: reference networks built from plans, torchvision's, and the user's own."""

from streamspread.models.inputs import NormalizeUint8
from streamspread.models.load import LoadedModel, default_layers, load
from streamspread.models.network import ConvLayer, Network
from streamspread.models.plans import PLANS, parse_plan

__all__ = [
    "PLANS",
    "ConvLayer",
    "LoadedModel",
    "Network",
    "NormalizeUint8",
    "default_layers",
    "load",
    "parse_plan",
]
