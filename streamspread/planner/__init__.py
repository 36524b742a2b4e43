"""Shapes and a budget in, a plan out: each layer's method, its passes, their bytes, and why. Pure."""

from streamspread.planner.choice import METHODS, ROUNDINGS, check_names, make_plan
from streamspread.planner.plans import LayerPlan, LayerShape, PassPlan, Plan

__all__ = [
    "METHODS",
    "ROUNDINGS",
    "LayerPlan",
    "LayerShape",
    "PassPlan",
    "Plan",
    "check_names",
    "make_plan",
]
