"""Tests of Parquet files: columns found by type, rows across files and groups, what is wrong with a file."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from streamspread.datasets import load
from streamspread.datasets.parquet import ParquetImages
from streamspread.errors import DataError


def png(value, size=4):
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (value, 2 * value % 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path, values, columns=None, label="label", names=None, rows_per_group=3, content=None):
    """A file whose image i has red = values[i] and label = values[i] % 5."""
    content = [png(v) for v in values] if content is None else content
    image = pa.array(
        [None if c is None else {"bytes": c, "path": None} for c in content],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table(
        {**(columns or {}), "img": image} | ({label: pa.array([v % 5 for v in values])} if label else {})
    )
    if names is not None:
        features = {"img": {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path


def reds(data):
    return data.images[:, 0, 0, 0].tolist()


def test_images_labels_and_class_names_of_one_file(tmp_path):
    names = ["a", "b", "c", "d", "e"]
    path = write(tmp_path / "some.parquet", range(10), names=names)
    data = load(f"parquet:{path}")
    assert reds(data) == list(range(10))
    assert data.images.shape == (10, 3, 4, 4)
    assert data.labels.tolist() == [i % 5 for i in range(10)]
    assert data.labels.dtype == torch.int64
    assert data.classes == tuple(names)
    assert data.description == f"{tmp_path.name}/some.parquet, 10 images"


def test_a_folder_gives_the_files_of_a_split_in_order(tmp_path):
    write(tmp_path / "train-00001-of-2.parquet", range(7, 12))
    write(tmp_path / "train-00000-of-2.parquet", range(7))
    write(tmp_path / "test.parquet", range(20, 24))
    train, test = load(f"parquet:{tmp_path}"), load(f"parquet:{tmp_path}", "test")
    assert reds(train) == list(range(12))
    assert train.labels.tolist() == [i % 5 for i in range(12)]
    assert reds(test) == list(range(20, 24))
    assert train.description.endswith(f"{tmp_path.name} train, 12 images")
    (tmp_path / "test.parquet").unlink()
    with pytest.raises(
        DataError, match=r"no test\*.parquet in folder .*, which holds train-00000-of-2.parquet"
    ):
        load(f"parquet:{tmp_path}", "test")


def test_chosen_rows_across_files_and_groups(tmp_path):
    write(tmp_path / "train-0.parquet", range(50), rows_per_group=7)
    write(tmp_path / "train-1.parquet", range(50, 120), rows_per_group=100)
    data = load(f"parquet:{tmp_path}", samples=40, seed=3)
    wanted = sorted(np.random.default_rng(3).choice(120, 40, replace=False).tolist())
    assert reds(data) == wanted
    assert data.labels.tolist() == [v % 5 for v in wanted]
    assert data.description.endswith("40 of 120 images (seed 3)")
    streamed = load(f"parquet:{tmp_path}", samples=40, seed=3, resident_bytes=1)
    assert torch.equal(torch.cat(list(streamed.batches(9))), data.images)


@pytest.mark.parametrize(
    ("columns", "label", "wanted"),
    [
        ({"id": [9, 9]}, "label", [0, 1]),
        ({"id": [9, 9]}, "fine_label", [0, 1]),
        ({"id": [9, 8]}, None, [9, 8]),
        ({"text": ["a", "b"]}, "kind", [0, 1]),
        ({"labels": ["a", "b"]}, "kind", [0, 1]),
        ({"text": ["a", "b"]}, None, None),
        ({"labels": pa.array([3, None], pa.uint8())}, None, [3, -1]),
        ({"label": [3, 4]}, "fine_label", [3, 4]),
        ({"id": pa.array([2**64 - 3, 1], pa.uint64())}, None, [-3, 1]),  # a number, if no label: no error
    ],
)
def test_the_label_column(tmp_path, columns, label, wanted):
    data = load(f"parquet:{write(tmp_path / 'x.parquet', range(2), columns, label=label)}")
    assert (None if data.labels is None else data.labels.tolist()) == wanted
    assert data.classes is None


def test_the_image_column_is_found_by_type_under_any_name(tmp_path):
    meta = pa.array([{"size": 3}], pa.struct([("size", pa.int64())]))
    other = pa.array([{"bytes": 3}], pa.struct([("bytes", pa.int64())]))
    path = write(tmp_path / "x.parquet", [42], {"meta": meta, "a.b": other})
    assert reds(load(f"parquet:{path}")) == [42]


def test_class_names_that_are_fewer_than_the_labels_are_none(tmp_path):
    data = load(f"parquet:{write(tmp_path / 'few.parquet', range(10), names=['a', 'b'])}")
    assert data.labels.tolist() == [i % 5 for i in range(10)]
    assert data.classes is None
    data = load(f"parquet:{write(tmp_path / 'more.parquet', range(10), names=[*'abcde', 'f' + chr(0xD800)])}")
    assert data.classes == (*"abcde", "f?")  # half a character can be in no file


@pytest.mark.parametrize("twice", ["img", "label"])
def test_two_columns_of_one_name_are_refused(tmp_path, twice):
    image = pa.array([{"bytes": png(9)}], pa.struct([("bytes", pa.binary())]))
    table = pa.table({"img": image, "label": [1]})
    pq.write_table(table.append_column(twice, table[twice]), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=rf"x.parquet has 2 columns named {twice}; give each"):
        load(f"parquet:{tmp_path / 'x.parquet'}")


@pytest.mark.parametrize("content", [b"no image", None, png(3)[:40], b""])
def test_a_broken_image_is_named_by_row_and_file(tmp_path, content):
    write(tmp_path / "train-0.parquet", range(5))
    images = [png(0), png(1), png(2), png(3), content]
    write(tmp_path / "train-1.parquet", range(5), content=images, rows_per_group=2)
    with pytest.raises(DataError, match=r"row 4 of .*train-1.parquet (holds no image|cannot be decoded)"):
        load(f"parquet:{tmp_path}")


def test_differing_sizes_are_named_by_row(tmp_path):
    path = write(tmp_path / "x.parquet", range(3), content=[png(0), png(1), png(2, size=6)])
    with pytest.raises(DataError, match=r"row 2 of .* is 6x6 pixels, row 0 of .* is 4x4; give an image size"):
        load(f"parquet:{path}")
    assert load(f"parquet:{path}", image_size=4).images.shape == (3, 3, 4, 4)


def test_what_is_no_parquet_file_of_images(tmp_path):
    with pytest.raises(
        DataError, match=r"no file or folder .*nowhere; give a Parquet file or a folder of train"
    ):
        load(f"parquet:{tmp_path / 'nowhere'}")
    with pytest.raises(DataError, match="which holds no Parquet file"):
        load(f"parquet:{tmp_path}")
    text = tmp_path / "text.parquet"
    text.write_text("hello, this is not Parquet")
    with pytest.raises(DataError, match=r"text.parquet cannot be read as a Parquet file \("):
        load(f"parquet:{text}")
    text.write_bytes(b"")
    with pytest.raises(DataError, match=r"text.parquet cannot be read as a Parquet file \("):
        load(f"parquet:{text}")
    pq.write_table(pa.table({"label": [1], "img": [b"x"]}), tmp_path / "plain.parquet")
    with pytest.raises(
        DataError, match=r"plain.parquet has no image column .* it has label \(int64\), img \(binary\)"
    ):
        load(f"parquet:{tmp_path / 'plain.parquet'}")


def test_a_file_damaged_inside(tmp_path):
    path = write(tmp_path / "x.parquet", range(200), rows_per_group=1000)
    raw = bytearray(path.read_bytes())
    raw[4:4000] = b"\xff" * 3996
    path.write_bytes(bytes(raw))
    with pytest.raises(DataError, match=r"x.parquet (cannot be read as a Parquet file|cannot be decoded)"):
        load(f"parquet:{path}")


def test_fewer_labels_than_rows(tmp_path, monkeypatch):
    """As in a file that was damaged inside the column of labels."""
    path = write(tmp_path / "x.parquet", range(3))
    read = pq.ParquetFile.read
    monkeypatch.setattr(pq.ParquetFile, "read", lambda file, columns: read(file, columns)[1:])
    with pytest.raises(DataError, match=r"x.parquet is damaged: its column label has 2 of 3 values\Z"):
        load(f"parquet:{path}")


def test_a_file_without_rows(tmp_path):
    path = write(tmp_path / "x.parquet", [], label=None)
    with pytest.raises(DataError, match=r"x.parquet: no images in it"):
        load(f"parquet:{path}")


def test_files_of_differing_columns(tmp_path):
    write(tmp_path / "train-0.parquet", range(3))
    write(tmp_path / "train-1.parquet", range(3), label=None)
    with pytest.raises(
        DataError, match=r"train-1.parquet has no integer column label, which .*train-0.parquet has"
    ):
        load(f"parquet:{tmp_path}")


def test_row_groups_are_read_once_in_a_pass_of_small_batches(tmp_path, monkeypatch):
    path = write(tmp_path / "x.parquet", range(60), rows_per_group=20)
    source = ParquetImages(path, "train")
    reads = []
    whole = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, i, **k: reads.append(i) or whole(self, i, **k)
    )
    for start in range(0, 60, 6):
        source.read_encoded(np.arange(start, start + 6))
    assert reads == [0, 1, 2]


def test_real_cifar10_has_the_known_means(cifar_parquet):
    data = load(f"parquet:{cifar_parquet}", "test")
    assert data.images.shape == (10000, 3, 32, 32)
    assert torch.bincount(data.labels).tolist() == [1000] * 10
    assert data.classes[:3] == ("airplane", "automobile", "bird")
    means = data.images.double().mean((0, 2, 3)) / 255
    # The published means of the test images; JPEG moves them less than this.
    assert torch.allclose(means, torch.tensor([0.4942, 0.4851, 0.4504], dtype=torch.float64), atol=1e-3)
