"""Trainings of a moment: images that can be told apart, a recipe, and the bits of what comes of it."""

import hashlib

import torch

from streamspread.datasets import Labelled
from streamspread.training import Recipe

RECIPE = Recipe(epochs=3, batch_size=16, lr=0.1, precision="fp32")


def separable(count, seed):
    """Noise whose brightness, in one of three colours, tells the class: four classes, the last one dark."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    images = torch.randint(0, 100, (count, 3, 32, 32), generator=generator)
    for colour in range(3):
        images[labels == colour, colour] += 100
    return Labelled(images.to(torch.uint8), labels, "coloured noise")


TRAIN, TEST = separable(64, seed=1), separable(32, seed=2)


def digest(result):
    """The SHA-256 of the weights, and of what every epoch came to."""
    whole = hashlib.sha256()
    for name, tensor in result.network.state_dict().items():
        whole.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    whole.update(repr([(one.loss, one.accuracy) for one in result.history]).encode())
    return whole.hexdigest()
