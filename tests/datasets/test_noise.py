"""Tests of noise: uniform, repeatable, the same however it is read."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.datasets import load
from streamspread.datasets.sources.noise import NoisePixels


def test_the_bytes_are_uniform_and_independent_of_each_other():
    images = load("noise", samples=2000, image_size=16).images
    counts = torch.bincount(images.flatten().long(), minlength=256).double()
    expected = images.numel() / 256
    chi = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi - 255) < 5 * (2 * 255) ** 0.5  # chi-squared of 255 degrees, five deviations
    vectors = images.reshape(2000, -1).double() - 127.5
    assert len(torch.unique(vectors, dim=0)) == 2000
    correlation = torch.corrcoef(vectors[:200])
    correlation.fill_diagonal_(0)
    assert correlation.abs().max() < 0.25  # seven deviations at 768 numbers each


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 200), data=st.data())
def test_a_row_is_the_same_in_every_read(n, data):
    source = NoisePixels("train", 200, 5, size=2)
    whole = source.read(np.arange(200))
    rows = np.array(data.draw(st.lists(st.integers(0, 199), min_size=n, max_size=n)))
    assert torch.equal(source.read(rows), whole[rows])
