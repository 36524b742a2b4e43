"""Grams on disk: back bit for bit, readable by safetensors as they are, and refused in a line otherwise."""

import json
import os

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from streamspread import store
from streamspread.errors import StoreError
from streamspread.results.spectra import Spectra
from tests.alignment import grams_of


@pytest.fixture
def grams():
    rng = np.random.default_rng(0)
    features = {"features.0": rng.normal(size=(6, 12)), "blöcke.2#2": rng.normal(size=(6, 3))}
    features["dead"] = np.ones((6, 2))
    return grams_of(features, "0123456789abcdef" * 2, {"model": "no1", "notes": ["–"]})


@pytest.fixture
def written(grams, tmp_path):
    store.write_grams(grams, tmp_path / "g.safetensors")
    return tmp_path / "g.safetensors"


def test_a_round_trip_is_exact(grams, written):
    again = store.read_grams(written)
    assert list(again) == ["features.0", "blöcke.2#2", "dead"]
    for name, before in grams.items():
        after = again[name]
        assert after.packed_M.dtype == np.float32
        assert after.packed_M.tobytes() == before.packed_M.tobytes()
        assert (after.layer, after.shape, after.dim, after.error) == (
            before.layer,
            before.shape,
            before.dim,
            before.error,
        )
    assert (again.samples, again.data_seen, again.provenance) == (6, grams.data_seen, grams.provenance)


def test_safetensors_alone_reads_the_triangles_and_how_they_were_made(grams, written):
    assert {name: a.tolist() for name, a in load_file(written).items()} == {
        name: gram.packed_M.tolist() for name, gram in grams.items()
    }
    with safe_open(written, framework="np") as file:
        header = json.loads(file.metadata()["streamspread"])
    assert (header["format"], header["kind"], header["samples"]) == (1, "grams", 6)
    assert header["layers"][1] == {
        "layer": "blöcke.2#2",
        "shape": [3],
        "dim": 3,
        "error": grams["blöcke.2#2"].error,
    }


def test_another_suffix_or_folder_is_refused(grams, tmp_path):
    with pytest.raises(StoreError, match=r"cannot write grams to '.*g\.arrow': .* must end in \.safetensors"):
        store.write_grams(grams, tmp_path / "g.arrow")
    with pytest.raises(StoreError, match=r"the folder '.*missing' does not exist"):
        store.write_grams(grams, tmp_path / "missing" / "g.safetensors")
    assert os.listdir(tmp_path) == []


def rewritten(path, change):
    """The file with its header and tensors changed, and without a hash, as older ones."""
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["streamspread"])
    del header["sha256"]
    tensors = load_file(path)
    header, tensors = change(header, tensors)
    save_file(tensors, path, metadata={"streamspread": json.dumps(header)})


def put(layer, name, value):
    def change(header, tensors):
        header["layers"][layer][name] = value
        return header, tensors

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h, t: (h | {"format": 9}, t), r"has format 9, this streamspread \(.*\) reads format 1"),
        (lambda h, t: (h | {"kind": "other"}, t), "holds no grams: give a file that cka --grams wrote"),
        (lambda h, t: ({"format": 1}, t), "holds no grams"),
        (lambda h, t: ([1, 2], t), "has broken metadata: make it again with cka --grams"),
        (lambda h, t: (h | {"samples": 7}, t), r"another kind \(.* are not those of 7 samples"),
        (lambda h, t: (h | {"samples": "many"}, t), "another kind"),
        (lambda h, t: (h | {"layers": []}, t), r"another kind \(no layers"),
        (lambda h, t: ({k: v for k, v in h.items() if k != "data_seen"}, t), r"another kind \('data_seen'\)"),
        (lambda h, t: (h | {"provenance": {"notes": 7}}, t), r"another kind \(notes is not a list of texts"),
        (lambda h, t: (h | {"samples": float("inf")}, t), r"another kind \(cannot convert float infinity"),
        (lambda h, t: (h | {"samples": -7}, t), r"another kind \(-7 samples"),
        (put(1, "layer", "gap"), "layer gap: no inner products in float32"),
        (put(1, "dim", float("inf")), r"another kind \(cannot convert float infinity"),
        (put(1, "dim", 7), r"layer blöcke.2#2: shape \(.*\) has not 7 features"),
        (put(1, "shape", [-2, -3]), r"layer blöcke.2#2: shape \(-2, -3\) has not"),
        (put(1, "error", -1.0), r"layer blöcke.2#2: an error of -1"),
        (put(1, "error", float("nan")), r"layer blöcke.2#2: an error of nan"),
        (put(1, "dim", "wide"), "another kind"),
        (
            lambda h, t: (h, t | {"dead": np.full(21, np.nan, np.float32)}),
            "layer dead: inner products that are not finite",
        ),
        (lambda h, t: (h, t | {"dead": np.zeros(21)}), "layer dead: no inner products in float32"),
        (lambda h, t: (h, t | {"dead": np.zeros((3, 7), np.float32)}), r"of shape \(3, 7\) are not those"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(written, change, words):
    store.read_grams(written)
    rewritten(written, change)
    with pytest.raises(StoreError, match=words) as caught:
        store.read_grams(written)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_numbers_that_numpy_does_not_have_are_refused(written, dtype):
    with safe_open(written, framework="np") as file:
        metadata = file.metadata()
    tensors = {name: torch.from_numpy(packed_M).to(dtype) for name, packed_M in load_file(written).items()}
    safetensors.torch.save_file(tensors, written, metadata=metadata)
    with pytest.raises(StoreError, match=r"another kind \(layer .*: no inner products in float32"):
        store.read_grams(written)


@pytest.mark.parametrize("left", [0.0, 0.01, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_refused(written, left):
    whole = written.read_bytes()
    written.write_bytes(whole[: int(left * len(whole))])
    with pytest.raises(StoreError, match=r"is no whole safetensors file \(.*\): give one that cka --grams"):
        store.read_grams(written)


def test_what_is_no_grams_is_refused(tmp_path):
    store.write(Spectra([]), tmp_path / "s.arrow")
    save_file({"a": np.zeros(3)}, tmp_path / "other.safetensors")
    save_file({"a": np.zeros(3)}, tmp_path / "noted.safetensors", metadata={"streamspread": "{"})
    save_file({"a": np.zeros(3)}, tmp_path / "deep.safetensors", metadata={"streamspread": "[" * 100_000})
    for path, words in (
        ("s.arrow", "is no whole safetensors file"),
        ("other.safetensors", "holds no grams: give a file that cka --grams wrote"),
        ("noted.safetensors", "has broken metadata"),
        ("deep.safetensors", "has broken metadata"),
        ("missing.safetensors", "no such file: .*: check the path, or make it with cka --grams"),
        (".", "is a folder: give a file"),
        ("x" * 300, "cannot read"),
        ("bad\udcff", "cannot read .*: the name is not UTF-8"),
    ):
        with pytest.raises(StoreError, match=words):
            store.read_grams(tmp_path / path)


def test_no_bit_of_a_triangle_can_flip_unseen(grams, written):
    whole = written.read_bytes()
    first = whole.index(grams["features.0"].packed_M.tobytes())
    for place in range(first, len(whole), 7):
        content = bytearray(whole)
        content[place] ^= 1
        written.write_bytes(content)
        with pytest.raises(
            StoreError, match=r"g\.safetensors' is not as it was written \(its SHA-256 differs\)"
        ):
            store.read_grams(written)
