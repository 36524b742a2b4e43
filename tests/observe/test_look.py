"""The first look: what a forward of a whole batch takes, told from one of a few samples."""

import torch
from torch import nn

from streamspread.observe.observed import forward_needs
from streamspread.observe.taps import list_taps
from streamspread.system.memory import LiveBytes, spare_bytes


def test_what_a_batch_takes_is_told_where_few_samples_take_most_elsewhere():
    """Two samples take most where weights are large, a batch where activations are."""
    layers = nn.Conv2d(3, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Conv2d(32, 256, 3)
    model, x = nn.Sequential(*layers).eval(), torch.zeros(32, 3, 20, 20)
    with LiveBytes() as live:
        list_taps(model, x)
    largest = 32 * 32 * 18 * 18 * 4
    assert forward_needs(model, x, 32, copies=0)[0] == live.peak + spare_bytes([largest])
