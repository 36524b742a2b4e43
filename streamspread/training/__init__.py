"""Trains a reference network on images that fit on the device: where the shipped weights come from."""

from streamspread.training.data import load_splits
from streamspread.training.loop import check, evaluate, train
from streamspread.training.outcome import Callbacks, EpochReport, Output, TrainResult
from streamspread.training.recipe import Recipe
from streamspread.training.spreading import SpreadLoss

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
