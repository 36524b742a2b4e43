"""Files: never half written, refused in one line where they are no result."""

import json
import os
import stat

import pyarrow as pa
import pytest

from streamspread import store
from streamspread.errors import StoreError


def test_a_written_file_has_the_permissions_of_any_new_file(written):
    plain = written.parent / "plain"
    plain.touch()
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_failure_while_writing_leaves_the_old_file_and_nothing_beside(spectra, written, monkeypatch):
    before = written.read_bytes()

    def full_disk(self, table):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pa.RecordBatchFileWriter, "write_table", full_disk)
    with pytest.raises(StoreError, match=r"cannot write .*run\.arrow.*: No space left on device"):
        store.write(spectra, written)
    assert written.read_bytes() == before
    assert os.listdir(written.parent) == ["run.arrow"]


def unwritable(tmp_path):
    (tmp_path / "file").touch()
    return {
        "folder": (tmp_path, r"it is a folder: give a file"),
        "no parent": (tmp_path / "missing" / "x.arrow", r"the folder '.*missing' does not exist"),
        "file as parent": (tmp_path / "file" / "x.arrow", r"the folder '.*file' does not exist"),
        "device": ("/dev/null", r"it is not a regular file"),
        "too long": (tmp_path / ("n" * 300), r"cannot write .*: File name too long"),
    }


@pytest.mark.parametrize("case", ["folder", "no parent", "file as parent", "device", "too long"])
def test_a_path_that_cannot_be_written_is_refused_before_and_at_writing(case, spectra, tmp_path):
    path, words = unwritable(tmp_path)[case]
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(StoreError, match=words):
        store.check_writable(path)
    with pytest.raises(StoreError, match=words):
        store.write(spectra, path)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_name_too_long_for_any_file_is_one_line(tmp_path):
    for read in (store.read, store.read_any):
        with pytest.raises(StoreError, match=r"cannot read '.*nnn\.arrow': File name too long\Z"):
            read(tmp_path / f"{'n' * 300}.arrow")


def test_a_new_file_takes_the_place_of_none(spectra, written):
    with store.place(written, replace=False) as path:
        assert path.name == "run-2.arrow"
        store.write(spectra, path)
    assert list(store.read(path)) == list(spectra)
    with (
        pytest.raises(StoreError, match=r"cannot write .*missing.*: No such file or directory: give another"),
        store.place(written.parent / "missing" / "x.arrow", replace=False),
    ):
        pass


def cut(length):
    return lambda good: good[: length(len(good))]


def rewritten(change=lambda table: table, **changes):
    """The file with another table or another header, and no hash."""

    def write(good):
        table = pa.ipc.open_file(pa.BufferReader(good)).read_all()
        header = json.loads(table.schema.metadata[b"streamspread"]) | changes
        table = change(table).replace_schema_metadata({b"streamspread": json.dumps(header)})
        return content(table)

    return write


def content(table):
    with pa.ipc.new_file(sink := pa.BufferOutputStream(), table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def column(name, values, kind=None):
    return lambda table: table.set_column(table.schema.get_field_index(name), name, pa.array(values, kind))


#: What a good file becomes, and the words of its refusal.
DAMAGED = {
    "empty": (cut(lambda size: 0), r"is not an Arrow file: give a file that streamspread wrote"),
    "text": (lambda good: b"layer,dim\nc1,65536\n", r"is not an Arrow file"),
    "cut in half": (cut(lambda size: size // 2), r"is cut off or damaged \(.*\): copy it again"),
    "last byte missing": (cut(lambda size: size - 1), r"is cut off or damaged"),
    "another program's": (
        lambda good: content(pa.table({"x": pa.array([1], pa.int8())})),
        r"is an Arrow file of another program",
    ),
    "broken metadata": (
        lambda good: content(pa.table({}).replace_schema_metadata({b"streamspread": b"{no json"})),
        r"has broken metadata",
    ),
    "another format": (rewritten(format=2), r"has format 2, this streamspread \(.*\) reads format 1"),
    "a column missing": (
        rewritten(lambda table: table.drop_columns(["dim", "proof"])),
        r"lacks the columns dim, proof",
    ),
    "a column of another type": (rewritten(column("dim", ["many"] * 3)), r"holds columns of another kind"),
    "a null": (rewritten(column("samples", [None] * 3, pa.int64())), r"holds columns of another kind"),
    "no thresholds": (rewritten(thresholds=[]), r"holds columns of another kind \(no threshold given"),
    "no features": (
        rewritten(column("dim", [40, 90, 0])),
        r"another kind \(layer dead: 0 features: a spectrum has 1 or more\)",
    ),
    "no provenance": (
        rewritten(provenance=[["model", "no1"]]),
        r"another kind \(the provenance is no mapping\)",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_file_that_is_no_result_is_refused_in_one_line(case, written):
    damage, words = DAMAGED[case]
    written.write_bytes(damage(written.read_bytes()))
    with pytest.raises(StoreError, match=words) as caught:
        store.read(written)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(StoreError, match=r"no such file: .*none\.arrow"):
        store.read(tmp_path / "none.arrow")
    with pytest.raises(StoreError, match=r"is a folder: give an \.arrow file"):
        store.read(tmp_path)


def test_a_name_that_is_not_utf_8_is_refused_before_and_at_writing_and_at_reading(spectra, written):
    path = written.parent / os.fsdecode(b"caf\xe9.arrow")
    try:
        path.write_bytes(written.read_bytes())
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    for use in (store.check_writable, lambda path: store.write(spectra, path), store.read, store.read_any):
        with pytest.raises(
            StoreError, match=r"caf\\udce9\.arrow': the name is not UTF-8: give it another name"
        ):
            use(path)


def test_what_does_not_begin_and_end_as_an_arrow_file_is_not_read_whole(tmp_path):
    large = tmp_path / "large.arrow"
    for begin, words in ((b"", "is not an Arrow file"), (b"ARROW1", "is cut off or damaged")):
        large.write_bytes(begin)
        os.truncate(large, 1 << 43)  # more than any memory has, and no block on the disk
        with pytest.raises(StoreError, match=words):
            store.read(large)


def test_no_cut_of_a_file_reads_as_a_result(written):
    good = written.read_bytes()
    cut = written.parent / "cut.arrow"
    for length in range(0, len(good), 97):
        cut.write_bytes(good[:length])
        with pytest.raises(StoreError, match=r"is cut off or damaged|is not an Arrow file"):
            store.read(cut)
