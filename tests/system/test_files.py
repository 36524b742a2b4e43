"""A file is the old one or the new one, never half of one, and nothing is left beside it."""

import fcntl
import os
import stat

import pytest

from streamspread.system.files import (
    PlaceError,
    beside,
    check_name,
    check_place,
    claimed,
    place,
    replace_file,
    settle,
    why,
)
from streamspread.system.text import file_stem, storable


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
        with beside(target) as (file, _):
            file.write(b"ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_two_writers_of_one_file_do_not_share_what_they_write(tmp_path):
    target = tmp_path / "x.bin"
    with beside(target) as (one, _), beside(target) as (other, _):
        assert one.name != other.name
        one.write(b"one")
        other.write(b"another")
        settle(one, target)
        assert target.read_bytes() == b"one"
        settle(other, target)
    assert target.read_bytes() == b"another"
    assert list(tmp_path.iterdir()) == [target]


def test_links_that_were_planted_beside_are_not_written_through(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)  # as if it had been guessed
    for name in (f".x.bin.{os.getpid()}.part", ".x.bin.000000000000.part"):
        (tmp_path / name).symlink_to(victim)
    with pytest.raises(FileExistsError, match="File exists"):
        replace_file(tmp_path / "x.bin", b"new")
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_the_mode_of_the_old_file_is_kept(tmp_path, mode):
    target = tmp_path / "x.bin"
    target.write_bytes(b"old")
    target.chmod(mode)
    replace_file(target, b"new")
    assert stat.S_IMODE(target.stat().st_mode) == mode
    replace_file(tmp_path / "new.bin", b"new")
    (tmp_path / "plain.bin").write_bytes(b"")
    assert (tmp_path / "new.bin").stat().st_mode == (tmp_path / "plain.bin").stat().st_mode


def test_content_and_name_are_on_the_disk_in_that_order(tmp_path, monkeypatch):
    target, calls = tmp_path / "x.bin", []
    sync, rename = os.fsync, os.replace

    def synced(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else os.fstat(descriptor).st_size)
        sync(descriptor)

    def renamed(source, there):
        calls.append("rename")
        rename(source, there)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    replace_file(target, b"new")
    assert calls == [3, "rename", "folder"]


def test_what_killed_writers_left_is_removed_and_what_living_ones_hold_stays(tmp_path):
    names = {
        "dead": ".x.bin.0123456789ab.part",
        "held": ".x.bin.aaaaaaaaaaaa.part",
        "fresh": ".x.bin.bbbbbbbbbbbb.part",
        "of another file": ".y.bin.0123456789ab.part",
        "somebody's": ".x.bin.mine.part",
    }
    for name in names.values():
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (0, 0))
    os.utime(tmp_path / names["fresh"])
    with (tmp_path / names["held"]).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        check_place(tmp_path / "x.bin")
    left = set(os.listdir(tmp_path))
    assert left == {name for what, name in names.items() if what != "dead"}


def test_a_file_is_in_use_by_one_until_it_has_ended(tmp_path):
    (tmp_path / ".x.bin.0123456789ab.part").write_bytes(b"of one that was killed just now")
    x, y = tmp_path / "x.bin", tmp_path / "y.bin"
    with claimed(x) as first, claimed(x) as second, claimed(y) as other:
        assert (first, other) == (None, None)
        assert second.match(".x.bin.*.part")
    with claimed(x) as again:
        assert again is None
    assert os.listdir(tmp_path) == [".x.bin.0123456789ab.part"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.bin").write_bytes(b"old")
    (tmp_path / "link.bin").symlink_to("real.bin")
    replace_file(tmp_path / "link.bin", b"new")
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "real.bin").read_bytes() == b"new"


def refused(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    return {
        "folder": (tmp_path, PlaceError, "it is a folder: give a file"),
        "missing folder": (tmp_path / "missing" / "x", PlaceError, "the folder '.*missing' does not exist"),
        "file as folder": (tmp_path / "file" / "x", PlaceError, "the folder '.*file' does not exist"),
        "pipe": (tmp_path / "pipe", PlaceError, "it is not a regular file: give another path"),
        "link to a pipe": (tmp_path / "to-pipe", PlaceError, "it is not a regular file"),
        "device": ("/dev/null", PlaceError, "it is not a regular file"),
        "not UTF-8": (
            tmp_path / os.fsdecode(b"caf\xe9"),
            PlaceError,
            "the name is not UTF-8: give it another",
        ),
        "too long": (tmp_path / ("n" * 300), OSError, "File name too long"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "folder",
        "missing folder",
        "file as folder",
        "pipe",
        "link to a pipe",
        "device",
        "not UTF-8",
        "too long",
    ],
)
def test_a_place_for_no_file_is_refused_before_and_at_writing_and_stays_as_it_is(tmp_path, case):
    path, kind, words = refused(tmp_path)[case]
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(kind, match=words):
        check_place(path)
    with pytest.raises(kind, match=words):
        replace_file(path, b"new")
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_read_only_file_is_refused(tmp_path, monkeypatch):
    target = tmp_path / "x.bin"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for anyone but root
    with pytest.raises(PlaceError, match="the file is there and read-only: give another path"):
        replace_file(target, b"new")
    assert target.read_bytes() == b"old"


def test_a_line_says_what_went_wrong_and_what_to_do():
    assert why(OSError(28, "No space left on device")) == "No space left on device: give another path"
    assert why(OSError("one\ntwo")) == "one: give another path"
    assert why(PlaceError("it is a folder: give a file")) == "it is a folder: give a file"


def test_a_place_that_may_not_be_replaced_gets_a_number(tmp_path):
    path = tmp_path / "a-1.5.bin"
    for name in ("a-1.5.bin", "a-1.5-2.bin", "a-1.5-3.bin"):
        with place(path, replace=False) as found:
            assert found == tmp_path / name
            replace_file(found, b"x")
    with place(path, replace=True) as found:
        assert found == path


def test_two_that_ask_at_once_get_two_places_and_what_is_not_used_is_gone(tmp_path):
    path = tmp_path / "a.bin"
    with place(path, replace=False) as one, place(path, replace=False) as other:
        assert (one.name, other.name) == ("a.bin", "a-2.bin")
        replace_file(other, b"x")
    assert os.listdir(tmp_path) == ["a-2.bin"]
    with pytest.raises(FileNotFoundError, match="missing"), place(tmp_path / "missing" / "a", replace=False):
        pass


def test_what_is_no_unicode_becomes_question_marks():
    assert storable(os.fsdecode(b"caf\xe9 \xe7\x8c\xab")) == "caf? 猫"


def test_any_name_becomes_one_that_a_file_can_have(tmp_path):
    assert file_stem("no1 (64,M)/ü.x_y-z") == "no1--64-M--ü.x_y-z"
    long, other = ("plan-" + "64-" * 200 + end for end in "ab")
    for name in (long, other, "猫" * 200):
        (tmp_path / f"{file_stem(name)}-n500.safetensors").write_bytes(b"")
    assert file_stem(long) != file_stem(other)


def test_a_name_may_be_bytes():
    check_name(b"x.arrow")
    with pytest.raises(PlaceError, match="the name is not UTF-8"):
        check_name(b"caf\xe9.arrow")
