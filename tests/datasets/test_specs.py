"""Tests of how a data spec is read, and of what is said of one that cannot be."""

import re

import pytest
from PIL import Image

from streamspread.datasets import load
from streamspread.errors import DataError, OptionError


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("cifra10", r"data 'cifra10' is unknown; did you mean cifar10\[:ROOT\]\? There are cifar10"),
        ("parqet:x", r"did you mean parquet:PATH\?"),
        ("patch", r"did you mean patches\?"),
        (
            "imagenet",
            r"data 'imagenet' is unknown; There are cifar10\[:ROOT\], folder:PATH, hf:NAME, noise, parquet:",
        ),
        ("", "data '' is unknown"),
        (":", "data ':' is unknown"),
        ("parquet", "data 'parquet' names no path; give parquet:PATH"),
        ("folder:", "data 'folder:' names no path; give folder:PATH"),
        ("patches:here", "patches takes nothing after it"),
        ("noise:1", "noise takes nothing after it"),
        ("x" * 300, f"data '{'x' * 300}' is unknown; There are"),
        (f"folder:{'x' * 300}", f"no folder {'x' * 300}; give a folder"),
        (f"parquet:{'x' * 300}", f"no file or folder {'x' * 300}; give a Parquet file"),
        ("folder:~nobody-of-this-name/x", "no folder ~nobody-of-this-name/x"),
    ],
)
def test_specs_that_cannot_be_read(spec, said):
    with pytest.raises(DataError, match=said):
        load(spec)


@pytest.mark.parametrize("spec", ["noise", "patches", "cifar10:/nowhere"])
def test_a_split_that_a_source_has_not(spec):
    with pytest.raises(DataError, match=f"data '{spec}' has no split val; it has train and test"):
        load(spec, "val")


def test_a_bare_path_is_told_its_spec(tmp_path):
    with pytest.raises(DataError, match=f"did you mean folder:{tmp_path}"):
        load(str(tmp_path))
    (tmp_path / "x.parquet").touch()
    with pytest.raises(DataError, match=f"did you mean parquet:{tmp_path}/x.parquet"):
        load(f"{tmp_path}/x.parquet")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": "dev"}, "split 'dev' asked for; there are train, test, val"),
        ({"samples": 1}, "1 samples asked for; a spread needs 2 or more"),
        ({"samples": "many"}, "'many' samples asked for; a spread needs 2 or more, a whole number"),
        ({"samples": 0}, "0 samples asked for"),
        ({"samples": -3}, "-3 samples asked for"),
        ({"samples": 10**21}, "1,000,000,000,000,000,000,000 samples asked for; there may be at most 1,000"),
        ({"seed": -1}, "seed -1 asked for"),
        ({"seed": 2**63}, r"seed 9223372036854775808 asked for; seeds are whole numbers from 0 to 2⁶³ − 1"),
        ({"image_size": 0}, "image size 0 asked for"),
        ({"image_size": 10_000_000}, "image size 10,000,000 asked for; it must be from 1 to 65,535"),
    ],
)
@pytest.mark.parametrize("spec", ["noise", "patches", "cifar10:/nowhere", "parquet:/nowhere"])
def test_options_out_of_range_are_refused_before_anything_is_read(spec, options, said):
    with pytest.raises(OptionError, match=said):
        load(spec, **options)


def test_what_another_source_holds_is_told(tmp_path):
    classes, files = tmp_path / "classes", tmp_path / "files"
    (classes / "cat").mkdir(parents=True)
    files.mkdir()
    Image.new("RGB", (4, 4)).save(classes / "cat" / "a.png")
    (files / "train.parquet").write_bytes(b"")
    for spec, meant in (
        (f"folder:{files}", f"did you mean parquet:{files}?"),
        (f"parquet:{classes}", f"did you mean folder:{classes}?"),
        (str(files), f"did you mean parquet:{files}?"),
        (str(classes), f"did you mean folder:{classes}?"),
    ):
        with pytest.raises(DataError, match=re.escape(meant)):
            load(spec)
    with pytest.raises(DataError, match="cannot be read as a Parquet file") as raised:
        load(f"parquet:{files}")
    assert "did you mean" not in str(raised.value)
