"""Shapes and a budget in, a plan out: each layer's method, its passes, their bytes, and why. Pure."""

from streamspread.planner.choice import candidates, make_plan, peak_bytes
from streamspread.planner.outlook import Outlook, Pace, PassWork, outlook, parts, work
from streamspread.planner.plans import LayerPlan, PassPlan, Plan

__all__ = [
    "LayerPlan",
    "Outlook",
    "Pace",
    "PassPlan",
    "PassWork",
    "Plan",
    "candidates",
    "make_plan",
    "outlook",
    "parts",
    "peak_bytes",
    "work",
]
