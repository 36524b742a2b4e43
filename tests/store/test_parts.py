"""A checkpoint in as many files as ranks keep it."""

import pytest
import torch

from streamspread.errors import StoreError
from streamspread.store.checkpoint_file import write_file
from streamspread.store.parts import read_checkpoint, remove_checkpoint, write_checkpoint
from tests.side_by_side import together


def write(path):
    def one(ranks):
        own = {"alike": torch.ones(3), f"own.{ranks.rank}": torch.full((2,), float(ranks.rank))}
        write_checkpoint({"where": "here"}, own, path, ranks)

    return one


def test_files_are_of_one_moment_and_are_all_that_is_there(tmp_path):
    path = tmp_path / "run"
    for size in (2, 3, 1):
        together(size, write(path))
        header, tensors = read_checkpoint(path)
        assert header["where"] == "here"
        assert {name: tensors[name].tolist() for name in tensors} == {
            "alike": [1.0] * 3,
            **{f"own.{rank}": [float(rank)] * 2 for rank in range(size)},
        }
        assert len(list(tmp_path.iterdir())) == size
    remove_checkpoint(path)
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_names_too_many_ranks_is_one_line(tmp_path):
    path = tmp_path / "run"
    for size in (-1, True, "2", 1 << 20):
        write_of(size, path)
        with pytest.raises(StoreError, match="is damaged"):
            read_checkpoint(path)


def write_of(size, path):
    with path.open("wb") as file:
        write_file({"ranks": size, "moment": "0"}, {"x": torch.ones(1)}, file)
