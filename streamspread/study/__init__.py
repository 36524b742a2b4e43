"""The study: four networks, every tap, and what the answers depend on."""

from streamspread.study.steps import NETWORKS, PARTS, THRESHOLDS, Step, check, steps
from streamspread.study.work import Outcome, Study

__all__ = ["NETWORKS", "PARTS", "THRESHOLDS", "Outcome", "Step", "Study", "check", "steps"]
