"""The splits of a training: two, of different images, with labels that it takes."""

import numpy as np
import pytest
import torch
from PIL import Image

from streamspread.errors import DataError
from streamspread.training import load_splits


def write_images(folder, classes=2, seed=0):
    """Two 40x40 images in each of some class folders."""
    rng = np.random.default_rng(seed)
    for name in range(classes):
        inside = folder / f"{name:02}"
        inside.mkdir(parents=True)
        for index in range(2):
            pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(inside / f"{index}.png")


def test_both_splits_come_with_labels_at_the_networks_size(tmp_path):
    write_images(tmp_path / "train", classes=3)
    write_images(tmp_path / "test", seed=1)
    train, test = load_splits(f"folder:{tmp_path}")
    assert train.images.shape == (6, 3, 32, 32)
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert not torch.equal(train.images[:4], test.images)


def test_one_set_of_images_is_not_train_and_test(tmp_path):
    write_images(tmp_path)
    words = (
        r"training needs train and test images, and 'folder:.*' has one set of 4: give a folder with train/ "
    )
    with pytest.raises(DataError, match=words):
        load_splits(f"folder:{tmp_path}")


def test_data_that_a_training_cannot_take_is_refused_when_it_is_loaded(tmp_path):
    with pytest.raises(DataError, match="training needs a label for every image"):
        load_splits("noise")
    for split in ("train", "test"):
        write_images(tmp_path / split, classes=11)
    with pytest.raises(DataError, match="train labels must lie in 0 to 9, but they reach from 0 to 10"):
        load_splits(f"folder:{tmp_path}")
