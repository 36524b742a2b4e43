"""Smaller sets within larger ones, and labelled sets for training."""

import numpy as np
import pytest

from streamspread.datasets import ImageData, StreamedImages, load, load_labelled, nested
from streamspread.errors import DataError, OptionError


def rows_of(images):
    return [row.numpy().tobytes() for batch in images.batches() for row in batch]


@pytest.fixture(params=["in memory", "streamed"])
def images(request):
    resident = 0 if request.param == "streamed" else 1 << 30
    data = load("noise", "train", 60, image_size=8, resident_bytes=resident)
    assert isinstance(data, StreamedImages if request.param == "streamed" else ImageData)
    return data


def test_each_set_lies_within_the_next_and_keeps_the_order(images):
    whole = rows_of(images)
    assert len(set(whole)) == 60
    previous = set()
    for samples in (2, 7, 30, 59):
        rows = rows_of(nested(images, samples, 0))
        assert len(rows) == samples
        assert previous <= set(rows)
        assert [whole.index(row) for row in rows] == sorted(whole.index(row) for row in rows)
        previous = set(rows)
    assert nested(images, 60, 0) is images


def test_the_seed_decides_and_the_description_tells(images):
    one, same, other = (nested(images, 20, seed) for seed in (0, 0, 1))
    assert rows_of(one) == rows_of(same) != rows_of(other)
    assert one.description.endswith("20 of these (nested, seed 0)")
    assert one.samples == 20


@pytest.mark.parametrize(
    ("samples", "error", "words"),
    [(61, DataError, "61 samples asked for, but there are 60"), (1, OptionError, "1 samples asked for")],
)
def test_numbers_that_cannot_be_are_refused(images, samples, error, words):
    with pytest.raises(error, match=words):
        nested(images, samples, 0)


def test_training_needs_labels(tmp_path):
    from PIL import Image

    with pytest.raises(DataError, match=r"noise train.*training needs a label for every image"):
        load_labelled("noise", "train", 32)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(np.full((8, 8, 3), 40 * i, np.uint8)).save(tmp_path / name / f"{i}.png")
    split = load_labelled(f"folder:{tmp_path}", "train", 32)
    assert (split.images.shape, split.labels.tolist()) == ((4, 3, 32, 32), [0, 0, 1, 1])
