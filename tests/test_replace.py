"""A file is the old one or the new one, never half of one, and nothing is left beside it."""

import pytest

from streamspread.replace import beside, file_stem, replace_file


def test_a_file_is_replaced_whole(tmp_path):
    target = tmp_path / "x.bin"
    target.write_bytes(b"old")
    replace_file(target, b"new")
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_what_was_there_survives_an_error_on_the_way(tmp_path):
    target = tmp_path / "x.bin"
    target.write_bytes(b"old")

    def fail_half_way():
        with beside(target) as file:
            file.write(b"ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_folder_is_the_system_s_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        replace_file(tmp_path / "missing" / "x.bin", b"new")


def test_any_name_becomes_one_that_a_file_can_have(tmp_path):
    assert file_stem("no1 (64,M)/ü.x_y-z") == "no1--64-M--ü.x_y-z"
    long, other = ("plan-" + "64-" * 200 + end for end in "ab")
    for name in (long, other, "猫" * 200):
        (tmp_path / f"{file_stem(name)}-n500.safetensors").write_bytes(b"")
    assert file_stem(long) != file_stem(other)
