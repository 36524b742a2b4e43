"""Trains a reference network on images that fit on the device: where the shipped weights come from."""

from streamspread.datasets import Labelled
from streamspread.training.loop import Callbacks, Output, TrainResult, check, train
from streamspread.training.recipe import Recipe
from streamspread.training.setup import identity, load_splits
from streamspread.training.spread_loss import SpreadLoss
from streamspread.training.trainer import EpochReport, Score, evaluate, score

__all__ = [
    "Callbacks",
    "EpochReport",
    "Labelled",
    "Output",
    "Recipe",
    "Score",
    "SpreadLoss",
    "TrainResult",
    "check",
    "evaluate",
    "identity",
    "load_splits",
    "score",
    "train",
]
