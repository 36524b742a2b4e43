"""The registry: a folder's files by their names, nothing imported before it is asked for."""

import sys

import pytest

from streamspread.system.registry import Registry


@pytest.fixture
def things(tmp_path, monkeypatch):
    """A registry of a throw-away package: two files that define a THING, and one that is none of them."""
    folder = tmp_path / "throw_away"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "cat.py").write_text('THING = "meow"\n')
    (folder / "bell.py").write_text('THING = "ding"\n')
    (folder / "_shared.py").write_text('THING = "for both"\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Registry("throw_away", "THING")
    for name in [name for name in sys.modules if name.partition(".")[0] == "throw_away"]:
        del sys.modules[name]


def imported():
    return sorted(name for name in sys.modules if name.startswith("throw_away."))


def test_names_come_from_the_folder_and_import_nothing(things):
    assert things.names() == ("bell", "cat")
    assert imported() == []


def test_what_is_asked_for_is_imported_and_nothing_else(things):
    assert things.get("cat") == "meow"
    assert imported() == ["throw_away.cat"]
    assert dict(things.items()) == {"bell": "ding", "cat": "meow"}


@pytest.mark.parametrize("name", ["dog", "_shared", "__init__", ""])
def test_what_is_not_there_and_what_begins_with_an_underscore_is_none_of_them(things, name):
    assert name not in things.names()
    with pytest.raises(KeyError, match=f"^'{name}'$"):
        things.get(name)
    assert imported() == []


def test_what_is_added_is_there_until_it_is_undone(things):
    undo = things.add("ant", "silent")
    assert things.names() == ("bell", "cat", "ant")  # after the folder's own
    assert things.get("ant") == "silent"
    undo()
    assert things.names() == ("bell", "cat")
    with pytest.raises(KeyError, match="ant"):
        things.get("ant")
    undo()  # once more does no harm


def test_what_is_added_stands_in_for_a_file_of_its_name(things):
    undo = things.add("cat", "purr")
    assert (things.names(), things.get("cat")) == (("bell", "cat"), "purr")
    undo()
    assert things.get("cat") == "meow"


def test_a_star_stands_for_every_room_that_has_the_folder(things, tmp_path):
    for room, thing in (("zoo", "owl"), ("farm", "cow")):
        (tmp_path / "throw_away" / room / "things").mkdir(parents=True)
        (tmp_path / "throw_away" / room / "__init__.py").write_text("raise ImportError")
        (tmp_path / "throw_away" / room / "things" / f"{thing}.py").write_text(f"THING = {thing!r}\n")
    (tmp_path / "throw_away" / "empty").mkdir()
    several = Registry("throw_away.*.things", "THING")
    assert several.names() == ("cow", "owl")
    (tmp_path / "throw_away" / "zoo" / "__init__.py").write_text("")
    assert several.get("owl") == "owl"
    assert Registry("throw_away.*.nothing", "THING").names() == ()
