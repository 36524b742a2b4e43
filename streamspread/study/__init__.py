"""The study: four networks, every tap, and what the answers depend on."""

from streamspread.study.experiments import EXPERIMENTS, check_experiments
from streamspread.study.steps import NETWORKS, PARTS, THRESHOLDS, Step, check, steps
from streamspread.study.work import Outcome, Study

__all__ = [
    "EXPERIMENTS",
    "NETWORKS",
    "PARTS",
    "THRESHOLDS",
    "Outcome",
    "Step",
    "Study",
    "check",
    "check_experiments",
    "steps",
]
