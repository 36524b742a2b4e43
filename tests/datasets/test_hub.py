"""Hugging Face's data sets: from a folder, from the cache, or a line that says where they were looked for."""

import sys

import datasets as hugging_face
import numpy as np
import pytest
import torch
from datasets.arrow_writer import ArrowWriter
from PIL import Image

import streamspread
from streamspread.cli import main
from streamspread.datasets import hub, load
from streamspread.errors import DataError, MissingError


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """No hub, no progress bars, and a cache of its own."""
    import huggingface_hub.constants

    monkeypatch.setattr(hugging_face.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hugging_face.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    hugging_face.disable_progress_bars()
    yield
    hugging_face.enable_progress_bars()


def pixels(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 6, 5, 3), dtype=np.uint8)


def images(n, seed=0, **columns):
    kinds = {"img": hugging_face.Image(), "label": hugging_face.ClassLabel(names=["cat", "dog"])}
    values = {"img": [Image.fromarray(p) for p in pixels(n, seed)], "label": [0, 1] * (n // 2), **columns}
    kinds |= {name: hugging_face.Value("string") for name in columns}
    return hugging_face.Dataset.from_dict(values, features=hugging_face.Features(kinds))


def as_read(n, seed=0):
    return torch.from_numpy(pixels(n, seed)).permute(0, 3, 1, 2)


def test_a_folder_that_save_to_disk_wrote(tmp_path):
    splits = {"train": images(8, 1), "validation": images(4, 2), "test": images(6, 3)}
    hugging_face.DatasetDict(splits).save_to_disk(tmp_path / "all")
    for split, n, seed in (("train", 8, 1), ("val", 4, 2), ("test", 6, 3)):
        data = load(f"hf:{tmp_path / 'all'}", split)
        assert torch.equal(data.images, as_read(n, seed))
        assert (data.labels.tolist(), data.classes) == ([0, 1] * (n // 2), ("cat", "dog"))
        assert data.description.endswith(f"/all {split}, {n} images")
    drawn = load(f"hf:{tmp_path / 'all'}", "train", samples=3, seed=5, image_size=4)
    assert drawn.images.shape == (3, 3, 4, 4)
    images(6, 4, text=["a"] * 6).save_to_disk(tmp_path / "one")  # read whatever the split
    assert torch.equal(load(f"hf:{tmp_path / 'one'}", "test").images, as_read(6, 4))
    streamed = load(f"hf:{tmp_path / 'one'}", resident_bytes=1)
    assert torch.equal(torch.cat(list(streamed.batches(4))), as_read(6, 4))


def test_images_that_lie_beside_the_data_set_and_labels_that_are_missing(tmp_path, monkeypatch):
    Image.fromarray(pixels(1)[0]).save(tmp_path / "x.png")
    kinds = hugging_face.Features({"image": hugging_face.Image(), "fine_label": hugging_face.Value("int64")})
    columns = {"image": [str(tmp_path / "x.png")] * 3, "fine_label": [4, None, 2]}
    found = hugging_face.Dataset.from_dict(columns, features=kinds)
    monkeypatch.setattr(hugging_face, "load_dataset", lambda *_, **__: found)
    data = load("hf:some/pets")
    assert torch.equal(data.images, as_read(1).repeat(3, 1, 1, 1))
    assert (data.labels.tolist(), data.classes) == ([4, -1, 2], None)
    (tmp_path / "x.png").unlink()
    with pytest.raises(DataError, match=r"x\.png cannot be read \(No such file"):
        load("hf:some/pets")


def keep(cache, owner, name, config, **splits):
    """Data sets as the hub's lie in the cache."""
    folder = cache / f"{owner}___{name}" / config / "0.0.0" / "0123456789abcdef0123456789abcdef01234567"
    folder.mkdir(parents=True)
    for split, data in splits.items():
        with ArrowWriter(features=data.features, path=str(folder / f"{name}-{split}.arrow")) as writer:
            for row in data.cast_column("img", hugging_face.Image(decode=False)):
                writer.write(row)
            writer.finalize()
    known = {
        split: {"name": split, "num_bytes": 1, "num_examples": len(data), "dataset_name": name}
        for split, data in splits.items()
    }
    hugging_face.DatasetInfo(
        features=data.features,
        builder_name="parquet",
        dataset_name=name,
        config_name=config,
        version="0.0.0",
        splits=known,
    ).write_to_directory(str(folder))


def test_a_name_from_the_cache(tmp_path):
    keep(tmp_path / "cache", "some", "pets", "default", train=images(6, 1), valid=images(4, 2))
    data = load("hf:some/pets")
    assert (data.description, data.classes) == ("some/pets train, 6 images", ("cat", "dog"))
    assert torch.equal(data.images, as_read(6, 1))
    assert torch.equal(load("hf:some/pets:default", "val").images, as_read(4, 2))
    with pytest.raises(DataError, match=r"'some/pets': Unknown split .test.\. Should be one of"):
        load("hf:some/pets", "test")
    with pytest.raises(DataError, match="data set 'some/pets:large' is not in the cache"):
        load("hf:some/pets:large")


def test_an_unknown_name_without_a_network_says_which_cache_was_looked_at(tmp_path):
    with pytest.raises(
        DataError, match=r"data set 'nobody/nothing' is not in the cache .*cache, nor to be"
    ) as caught:
        load("hf:nobody/nothing")
    assert str(tmp_path / "cache") in str(caught.value)
    assert "give hf:NAME, hf:NAME:CONFIG or hf:FOLDER of save_to_disk" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hub_that_does_not_answer_is_asked_once(tmp_path, monkeypatch, capfd):
    """Its own client would ask six times, tell of each, and wait between them."""
    asked = []

    def silent(url):
        asked.append(url)
        raise OSError("Name or service not known")

    monkeypatch.setattr(hugging_face.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "expect_answer", silent)
    with pytest.raises(
        DataError, match=r"\(https://\S+ cannot be reached: Name or service not known\): give"
    ):
        load("hf:nobody/nothing")
    assert asked == [hugging_face.config.HF_ENDPOINT]
    assert capfd.readouterr().err == ""
    assert hugging_face.config.HF_HUB_OFFLINE is False
    keep(tmp_path / "cache", "some", "pets", "default", train=images(6, 1))
    assert torch.equal(load("hf:some/pets").images, as_read(6, 1))


def test_data_sets_that_hold_no_images_or_no_such_split_and_folders_that_are_none(tmp_path):
    texts = hugging_face.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    texts.save_to_disk(tmp_path / "texts")
    with pytest.raises(
        DataError, match="has no column of images, but text, label; texts are for models that take them"
    ):
        load(f"hf:{tmp_path / 'texts'}")
    hugging_face.DatasetDict({"train": images(2)}).save_to_disk(tmp_path / "train")
    with pytest.raises(DataError, match="has no split val; it has train"):
        load(f"hf:{tmp_path / 'train'}", "val")
    with pytest.raises(DataError, match=f"not of save_to_disk: .* folder:{tmp_path} or parquet:"):
        load(f"hf:{tmp_path}")
    (tmp_path / "texts" / "state.json").write_text("{")
    with pytest.raises(DataError, match=r"data set .*texts cannot be read \("):
        load(f"hf:{tmp_path / 'texts'}")


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingError, match=r"pip install 'streamspread\[hf\]'"):
        load("hf:some/pets")


def test_on_the_command_line(tmp_path):
    hugging_face.DatasetDict({"validation": images(30)}).save_to_disk(tmp_path / "set")
    line = f"run --model plan:4 --weights none --layers gap --data hf:{tmp_path / 'set'} --split val"
    assert main([*line.split(), "--device", "cpu", "--out", str(tmp_path / "x.arrow")]) == 0
    found = streamspread.read(tmp_path / "x.arrow")
    assert (found["gap"].samples, found.provenance["split"]) == (30, "val")
