"""Shapes and a budget in, a plan out: each layer's method, its passes, their bytes, and why. Pure."""

from streamspread.planner.choice import make_plan
from streamspread.planner.plans import LayerPlan, PassPlan, Plan

__all__ = ["LayerPlan", "PassPlan", "Plan", "make_plan"]
