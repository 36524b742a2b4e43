"""Tests of crops of scikit-learn's photographs: distinct places, disjoint splits, true pixels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from streamspread.datasets import ImageData, StreamedImages, load
from streamspread.datasets.sources import patches
from streamspread.datasets.sources.patches import MOST, PatchPixels
from streamspread.errors import DataError


def places(split, size=32):
    return PatchPixels(split, size)._places.tolist()


@pytest.mark.parametrize("size", [32, 100, 420])
def test_places_are_distinct_and_the_splits_share_none(size):
    train, test = places("train", size), places("test", size)
    total = 2 * (427 - size + 1) * (640 - size + 1)
    assert len(set(train) | set(test)) == len(train) + len(test) == min(total, 60_000)
    assert 0 < len(test) <= len(train)
    assert max(train + test) < total
    assert MOST == {"train": 50_000, "test": 10_000}


@pytest.mark.parametrize("size", [32, 427])
def test_every_crop_is_cut_from_the_place_that_it_stands_for(size):
    photographs = load_sample_images().images
    source = PatchPixels("train", size)
    rows = np.linspace(0, len(source) - 1, 25).astype(np.int64)
    down, across = 427 - size + 1, 640 - size + 1
    crops = source.read(rows)
    for row, crop in zip(rows, crops, strict=True):
        which, place = divmod(int(source._places[row]), down * across)
        top, left = divmod(place, across)
        wanted = photographs[which][top : top + size, left : left + size]
        assert torch.equal(crop, torch.from_numpy(wanted.copy()).permute(2, 0, 1))
        assert source.labels[row] == which


def test_another_size_crops_and_large_sets_are_cut_as_they_are_used():
    resident = load("patches", samples=40, image_size=64)
    streamed = load("patches", samples=40, image_size=64, resident_bytes=1000)
    assert type(resident) is ImageData
    assert type(streamed) is StreamedImages
    assert resident.images.shape == (40, 3, 64, 64)
    assert torch.equal(torch.cat(list(streamed.batches(16))), resident.images)


def test_more_than_there_are_and_larger_than_the_photographs():
    with pytest.raises(DataError, match="patches train: 50,001 samples asked for, but there are 50,000"):
        load("patches", samples=50_001)
    with pytest.raises(DataError, match="428x428 asked for; at most 427x427"):
        load("patches", image_size=428)


@pytest.mark.parametrize(
    ("lacking", "said"),
    [("sklearn", "which is not installed"), ("photographs", "that scikit-learn lacks here")],
)
def test_without_the_photographs_it_fails_in_one_line(lacking, said, monkeypatch, tmp_path):
    found = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(patches, "find_spec", lambda name: None if lacking == "sklearn" else found)
    with pytest.raises(DataError, match=said) as caught:
        load("patches")
    assert "\n" not in str(caught.value)
