"""Shapes and a budget in, a plan out: each layer's method, its passes, their bytes, and why. Pure."""

from streamspread.planner.choice import make_plan
from streamspread.planner.outlook import Outlook, Pace, outlook, parts, work
from streamspread.planner.plans import LayerPlan, PassPlan, Plan

__all__ = ["LayerPlan", "Outlook", "Pace", "PassPlan", "Plan", "make_plan", "outlook", "parts", "work"]
