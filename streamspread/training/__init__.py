"""Trains a reference network on images that fit on the device: where the shipped weights come from."""

from streamspread.training.loop import Callbacks, Output, TrainResult, check, evaluate, train
from streamspread.training.recipe import Recipe
from streamspread.training.setup import load_splits
from streamspread.training.spread_loss import SpreadLoss
from streamspread.training.trainer import EpochReport

__all__ = [
    "Callbacks",
    "EpochReport",
    "Output",
    "Recipe",
    "SpreadLoss",
    "TrainResult",
    "check",
    "evaluate",
    "load_splits",
    "train",
]
