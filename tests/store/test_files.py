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


def damaged(case, written):
    """A path that read() must refuse, made from a good file, and the words of its refusal."""
    path = written.parent / "damaged.arrow"
    good = written.read_bytes()
    table = pa.ipc.open_file(pa.BufferReader(good)).read_all()
    header = json.loads(table.schema.metadata[b"streamspread"])

    def rewritten(changed, **header_changes):
        metadata = {b"streamspread": json.dumps(header | header_changes)}
        with pa.ipc.new_file(str(path), changed.schema.with_metadata(metadata)) as writer:
            writer.write_table(changed.replace_schema_metadata(metadata))

    match case:
        case "missing":
            return path, r"no such file: .*damaged\.arrow"
        case "folder":
            return written.parent, r"is a folder: give an \.arrow file"
        case "empty":
            path.touch()
            return path, r"is not an Arrow file: give a file that streamspread wrote"
        case "text":
            path.write_text("layer,dim\nc1,65536\n")
            return path, r"is not an Arrow file"
        case "cut in half":
            path.write_bytes(good[: len(good) // 2])
            return path, r"is cut off or damaged \(.*\): copy it again"
        case "last byte missing":
            path.write_bytes(good[:-1])
            return path, r"is cut off or damaged"
        case "another program's":
            with pa.ipc.new_file(str(path), pa.schema({"x": pa.int8()})) as writer:
                writer.write_table(pa.table({"x": pa.array([1], pa.int8())}))
            return path, r"is an Arrow file of another program"
        case "broken metadata":
            metadata = {b"streamspread": b"{no json"}
            with pa.ipc.new_file(str(path), table.schema.with_metadata(metadata)) as writer:
                writer.write_table(table.replace_schema_metadata(metadata))
            return path, r"has broken metadata"
        case "another format":
            rewritten(table, format=2)
            return path, r"has format 2, this streamspread \(.*\) reads format 1"
        case "a column missing":
            rewritten(table.drop_columns(["dim", "proof"]))
            return path, r"lacks the columns dim, proof"
        case "a column of another type":
            column = table.schema.get_field_index("dim")
            rewritten(table.set_column(column, "dim", pa.array(["many"] * 3)))
            return path, r"holds columns of another kind"
        case "a null where a number must be":
            column = table.schema.get_field_index("samples")
            rewritten(table.set_column(column, "samples", pa.array([None] * 3, pa.int64())))
            return path, r"holds columns of another kind"
        case "no thresholds":
            rewritten(table, thresholds=[])
            return path, r"holds columns of another kind \(no threshold given"
        case "fewer bounds than eigenvalues":
            column = table.schema.get_field_index("upper_sums")
            bounds = [sums[:-1] for sums in table["upper_sums"].to_pylist()]
            rewritten(table.set_column(column, "upper_sums", pa.array(bounds, pa.list_(pa.float64()))))
            return path, r"another kind \(layer blöcke\.2: 12 eigenvalues and bounds of 11 sums\)"
        case "no features":
            column = table.schema.get_field_index("dim")
            rewritten(table.set_column(column, "dim", pa.array([40, 90, 0])))
            return path, r"another kind \(layer dead: 0 features: a spectrum has 1 or more\)"
        case "no provenance":
            rewritten(table, provenance=[["model", "no1"]])
            return path, r"another kind \(the provenance is no mapping\)"
    raise AssertionError(case)


@pytest.mark.parametrize(
    "case",
    [
        "missing",
        "folder",
        "empty",
        "text",
        "cut in half",
        "last byte missing",
        "another program's",
        "broken metadata",
        "another format",
        "a column missing",
        "a column of another type",
        "a null where a number must be",
        "no thresholds",
        "fewer bounds than eigenvalues",
        "no features",
        "no provenance",
    ],
)
def test_a_file_that_is_no_result_is_refused_in_one_line(case, written):
    path, words = damaged(case, written)
    with pytest.raises(StoreError, match=words) as caught:
        store.read(path)
    assert "\n" not in str(caught.value)


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
