"""Tests of folders with one folder per class."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from streamspread.datasets import load
from streamspread.errors import DataError


def fill(root, classes, size=(6, 6)):
    """Two images per class, red = 10 * class + index."""
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", size, (10 * c + i, 0, 0)).save(root / name / f"{i}.png")
    return root


def reds(data):
    return data.images[:, 0, 0, 0].tolist()


def test_the_same_as_torchvisions_image_folder(tmp_path):
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.v2 import CenterCrop, PILToTensor, Resize

    rng = np.random.default_rng(0)
    for name, shape in [("a/x.jpg", (40, 50)), ("a/y.png", (50, 40)), ("b/z.bmp", (33, 33))]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    got = load(f"folder:{tmp_path}", image_size=24)
    wanted = [CenterCrop(24)(Resize(24)(PILToTensor()(image))) for image, _ in ImageFolder(str(tmp_path))]
    assert torch.equal(got.images, torch.stack(wanted))


def test_links_that_lead_in_circles(tmp_path):
    """Each image once, where following links without end would give it some forty times."""
    fill(tmp_path, ["cat", "dog"])
    (tmp_path / "cat" / "within").mkdir()
    (tmp_path / "cat" / "0.png").rename(tmp_path / "cat" / "within" / "0.png")
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat")
    (tmp_path / "emu").symlink_to(tmp_path / "dog")  # a class of the same images
    assert reds(load(f"folder:{tmp_path}")) == [1, 0, 10, 11, 10, 11]


def test_a_splits_own_folder(tmp_path):
    fill(tmp_path / "train", ["cat", "dog"])
    with pytest.raises(DataError, match="has a folder train but none named test"):
        load(f"folder:{tmp_path}", "test")
    fill(tmp_path / "test", ["cat"])
    assert len(load(f"folder:{tmp_path}").images) == 4
    assert len(load(f"folder:{tmp_path}", "test").images) == 2


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_the_folder_of_validation_images_by_its_usual_names(tmp_path, name):
    fill(tmp_path / "train", ["cat", "dog"])
    with pytest.raises(DataError, match="has a folder train but none named val"):
        load(f"folder:{tmp_path}", "val")
    fill(tmp_path / name, ["cat"])
    assert len(load(f"folder:{tmp_path}", "val").images) == 2
    (tmp_path / "train").rename(tmp_path / "other")
    with pytest.raises(DataError, match=f"has a folder {name} but none named test"):
        load(f"folder:{tmp_path}", "test")


def test_differing_sizes_and_broken_files_are_named(tmp_path):
    fill(tmp_path, ["cat", "dog"])
    Image.new("RGB", (9, 6)).save(tmp_path / "dog" / "odd.png")
    with pytest.raises(DataError, match=r"odd.png is 9x6 pixels, .*0.png is 6x6; give an image size"):
        load(f"folder:{tmp_path}")
    assert load(f"folder:{tmp_path}", image_size=6).images.shape == (5, 3, 6, 6)
    (tmp_path / "dog" / "odd.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"odd.png cannot be decoded as an image \("):
        load(f"folder:{tmp_path}", image_size=6)


def test_names_that_are_no_text_are_replaced_where_they_are_told(tmp_path):
    fill(tmp_path / "bad\udcff", ["c\udcfe", "dog"])
    data = load(f"folder:{tmp_path}/bad\udcff")
    assert data.classes == ("c?", "dog")
    assert data.description.endswith("bad? train, 4 images")


def test_folders_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*nowhere; give a folder with one folder"):
        load(f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(DataError, match="has no folders of images per class"):
        load(f"folder:{tmp_path}")
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="has no folders of images per class") as caught:
        load(f"folder:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_a_folder_that_may_not_be_looked_into_is_refused(tmp_path, monkeypatch):
    locked = fill(tmp_path / "locked", ["cat"])

    def refused(name):
        def call(path, *args, **kwargs):
            if str(path).startswith(str(locked)) and (name == "scandir" or str(path) != str(locked)):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *args, **kwargs)

        real = getattr(os, name)
        return call

    for name in ("stat", "scandir"):  # as for anyone but root, who may look everywhere
        monkeypatch.setattr(os, name, refused(name))
    with pytest.raises(DataError, match=r"locked has no folders .*Permission denied"):
        load(f"folder:{locked}")


def test_a_pipe_among_the_images_is_no_image(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "0.png")
    os.mkfifo(tmp_path / "a" / "1.png")
    with pytest.raises(DataError, match=r"1\.png cannot be read: it is not a regular file"):
        list(load(f"folder:{tmp_path}").batches())
