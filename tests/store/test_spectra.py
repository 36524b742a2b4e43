"""Results as files: back bit for bit, readable by others, never half written, clear about what is none."""

import dataclasses
import json
import math
import os
import stat
import subprocess
import sys

import numpy as np
import polars
import pyarrow as pa
import pytest

from streamspread import store
from streamspread.errors import StoreError
from streamspread.results.embedding import Embedding
from streamspread.results.spectrum import LayerSpectrum, Spectra


def make_spectra():
    rng = np.random.default_rng(7)
    full = np.sort(rng.lognormal(sigma=3, size=40))[::-1] / 3.0
    ritz = np.sort(rng.random(12))[::-1]
    complete = LayerSpectrum(
        layer="features.0",
        shape=(4, 5, 2),
        dim=40,
        samples=5_000_000_000,  # more than 32 bits hold
        method="covariance",
        rounding="fp16",
        passes=1,
        total_variance=float(full.sum()),
        eigenvalues=full,
        complete=True,
        sum_of_squares=float(np.square(full).sum()),
        seconds=1 / 3,
        peak_bytes=9 * 2**30,
    )
    bounded = LayerSpectrum(
        layer="blöcke.2",
        shape=(90,),
        dim=90,
        samples=100,
        method="sketch",
        rounding="fp32",
        passes=2,
        total_variance=11.1,
        eigenvalues=ritz,
        complete=False,
        upper_sums=np.cumsum(ritz) * 1.01,
        proof="Frequent Directions and Ritz values",
    )
    zeros = np.zeros(3)
    constant = dataclasses.replace(
        complete, layer="dead", shape=(3,), dim=3, total_variance=0.0, eigenvalues=zeros, sum_of_squares=0.0
    )
    facts = {"model": "no1", "command": ["streamspread", "run"], "seed": 3}
    return Spectra([complete, bounded, constant], thresholds=(0.7, 0.1 + 0.2), provenance=facts)


@pytest.fixture
def spectra():
    return make_spectra()


@pytest.fixture
def written(spectra, tmp_path):
    path = tmp_path / "run.arrow"
    store.write(spectra, path)
    return path


def same_bits(a, b):
    return np.asarray(a, np.float64).tobytes() == np.asarray(b, np.float64).tobytes()


def test_a_round_trip_is_exact(spectra, written):
    again = store.read(written)
    assert list(again) == ["features.0", "blöcke.2", "dead"]
    assert again.thresholds == spectra.thresholds
    assert again.provenance == spectra.provenance
    for name, before in spectra.items():
        after = again[name]
        for field in dataclasses.fields(LayerSpectrum):
            old, new = getattr(before, field.name), getattr(after, field.name)
            if isinstance(old, float | np.ndarray):
                assert same_bits(old, new), field.name
            else:
                assert old == new, field.name
                assert type(old) is type(new), field.name
        assert after.components(0.7) == before.components(0.7)


def test_pyarrow_alone_reads_the_columns_and_the_provenance(spectra, written):
    with pa.ipc.open_file(pa.OSFile(str(written))) as reader:
        table = reader.read_all()
    assert table.column_names == [
        "layer",
        "shape",
        "dim",
        "samples",
        "method",
        "rounding",
        "passes",
        "total_variance",
        "eigenvalues",
        "complete",
        "components",
        "participation_ratio",
        "effective_rank",
        "seconds",
        "peak_bytes",
        "sum_of_squares",
        "upper_sums",
        "proof",
    ]
    low, high = spectra["blöcke.2"].components(0.7)
    assert table["components"][1].as_py()[0] == {"threshold": 0.7, "low": low, "high": high}
    assert table["shape"].to_pylist() == [[4, 5, 2], [90], [3]]
    assert table["effective_rank"][0].as_py() == spectra["features.0"].effective_rank
    # What is not known is null, not a NaN that would spoil every mean taken over the column.
    assert table["effective_rank"].to_pylist()[1:] == [None, None]
    assert table["participation_ratio"].to_pylist()[1:] == [None, None]
    assert table["sum_of_squares"].to_pylist()[1] is None
    assert table["seconds"].to_pylist()[1] is None
    header = json.loads(table.schema.metadata[b"streamspread"])
    assert header["format"] == 1
    assert header["thresholds"] == [0.7, 0.1 + 0.2]
    assert header["provenance"] == {"model": "no1", "command": ["streamspread", "run"], "seed": 3}


def test_polars_reads_it_as_it_is(spectra, written):
    frame = polars.read_ipc(written)
    assert frame["dim"].to_list() == [40, 90, 3]
    assert frame["samples"].dtype == polars.Int64
    assert same_bits(frame["eigenvalues"][0].to_numpy(), spectra["features.0"].eigenvalues)
    exploded = frame.select("layer", "components").explode("components").unnest("components")
    assert exploded["high"].to_list() == [
        int(s.components(t).high) for s in spectra.values() for t in spectra.thresholds
    ]


def test_an_empty_result_is_a_result(tmp_path):
    store.write(Spectra([]), tmp_path / "none.arrow")
    assert dict(store.read(tmp_path / "none.arrow")) == {}


def test_what_json_does_not_hold_is_kept_as_text(tmp_path):
    store.write(Spectra([], provenance={"data": tmp_path, "spread": math.nan}), tmp_path / "x.arrow")
    again = store.read(tmp_path / "x.arrow").provenance
    assert again["data"] == str(tmp_path)
    assert math.isnan(again["spread"])


def test_writing_replaces_the_old_file_and_leaves_nothing_beside(spectra, written):
    store.write(Spectra([spectra["dead"]]), written)
    assert list(store.read(written)) == ["dead"]
    assert os.listdir(written.parent) == ["run.arrow"]


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


def test_an_interruption_while_writing_leaves_the_old_file_and_nothing_beside(spectra, written, monkeypatch):
    before = written.read_bytes()

    def interrupt(self, table):
        raise KeyboardInterrupt("stop")

    monkeypatch.setattr(pa.RecordBatchFileWriter, "write_table", interrupt)
    with pytest.raises(KeyboardInterrupt, match="stop"):
        store.write(spectra, written)
    assert written.read_bytes() == before
    assert os.listdir(written.parent) == ["run.arrow"]


def test_a_link_stays_a_link(spectra, tmp_path):
    (tmp_path / "link.arrow").symlink_to(tmp_path / "real.arrow")
    store.write(spectra, tmp_path / "link.arrow")
    assert (tmp_path / "link.arrow").is_symlink()
    assert list(store.read(tmp_path / "real.arrow")) == list(spectra)


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folders_and_files_without_write_permission_are_refused(spectra, tmp_path):
    locked, kept = tmp_path / "locked", tmp_path / "kept.arrow"
    locked.mkdir(mode=0o500)
    kept.touch(mode=0o400)
    with pytest.raises(StoreError, match="Permission denied"):
        store.check_writable(locked / "x.arrow")
    with pytest.raises(StoreError, match="the file is there and read-only"):
        store.check_writable(kept)


def test_checking_a_path_changes_nothing(written):
    before = written.read_bytes()
    store.check_writable(written)
    store.check_writable(written.parent / "other.arrow")
    assert written.read_bytes() == before
    assert os.listdir(written.parent) == ["run.arrow"]


def test_a_name_too_long_for_any_file_is_one_line(tmp_path):
    for read in (store.read, store.read_any):
        with pytest.raises(StoreError, match=r"cannot read '.*nnn\.arrow': File name too long\Z"):
            read(tmp_path / f"{'n' * 300}.arrow")


def test_what_is_no_unicode_is_stored_as_question_marks(tmp_path):
    name = os.fsdecode(b"caf\xe9 \xe7\x8c\xab")
    facts = {"data": f"{name} train", "command": ["streamspread", name], "notes": [name]}
    store.write(Spectra([], provenance=facts), tmp_path / "x.arrow")
    again = store.read(tmp_path / "x.arrow").provenance
    assert again == {"data": "caf? 猫 train", "command": ["streamspread", "caf? 猫"], "notes": ["caf? 猫"]}


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
            return path, r"another kind \(layer blöcke\.2 has 12 eigenvalues and bounds of 11 sums\)"
        case "no features":
            column = table.schema.get_field_index("dim")
            rewritten(table.set_column(column, "dim", pa.array([40, 90, 0])))
            return path, r"another kind \(layer dead has 0 features\)"
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


@pytest.mark.parametrize(
    ("fact", "values"),
    [
        ("weights_note", ["trained", ["epochs"], {"epochs": 60}, {"epochs": None}]),
        ("command", [7, {"run": "x"}, ["streamspread", 7]]),
        ("notes", [None, "a note", [7], {"a": "note"}]),
        ("packages", [None, "torch", ["torch"], {"torch": 2}]),
        ("recipe", [None, "a recipe", ["a recipe"]]),
        ("title", [7, ["a title"]]),
    ],
)
def test_facts_of_another_kind_are_refused_in_one_line(fact, values, tmp_path):
    for value in values:
        for write in (spectra_with, embedding_with):
            write({fact: value}, tmp_path / "x.arrow")
            with pytest.raises(StoreError, match=rf"x\.arrow' .* another kind \({fact} is not [^\n]*\Z"):
                store.read_any(tmp_path / "x.arrow")


def test_facts_that_are_as_they_should_be_or_missing_are_read(tmp_path):
    for facts in (
        {},
        {"command": None, "title": None, "weights_note": None},
        {"command": "python x.py", "notes": [], "packages": {}, "recipe": {"seed": 3}, "more": [1, None]},
        {"command": ["streamspread"], "notes": ["a"], "weights_note": {"epochs": "60"}, "title": "t"},
    ):
        for write in (spectra_with, embedding_with):
            write(facts, tmp_path / "x.arrow")
            assert store.read_any(tmp_path / "x.arrow").provenance == facts


def spectra_with(facts, path):
    store.write(Spectra([], provenance=facts), path)


def embedding_with(facts, path):
    store.write_embedding(Embedding([], provenance=facts), path)


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


def test_no_cut_of_a_file_reads_as_a_result(written):
    good = written.read_bytes()
    cut = written.parent / "cut.arrow"
    for length in range(0, len(good), 97):
        cut.write_bytes(good[:length])
        with pytest.raises(StoreError, match=r"is cut off or damaged|is not an Arrow file"):
            store.read(cut)


def test_provenance_says_what_ran_on_what_and_where():
    facts = store.provenance(
        model="no1",
        plan="64 64 M",
        weights="none",
        data="CIFAR-10 test, 5,000 of 10,000 images (seed 3)",
        samples=5000,
        device="cpu",
        command=["streamspread", "run"],
        notes=["5,000 of 10,000 images"],
        seed=3,
    )
    assert facts["title"] == (
        "no1 (64 64 M) · random weights · CIFAR-10 test, 5,000 of 10,000 images (seed 3) · cpu"
    )
    assert facts["packages"]["numpy"] == np.__version__
    assert facts["packages"]["pyarrow"] == pa.__version__
    assert {"torch", "torchvision", "numba"} <= set(facts["packages"])
    assert facts["time_utc"].endswith("+00:00")
    assert facts["threads"] >= 1
    assert facts["cpu"]
    assert facts["card"] is None
    assert facts["seed"] == 3
    assert json.loads(json.dumps(facts)) == facts


def test_a_given_title_stays_and_other_weights_are_named():
    assert store.provenance(model="m", title="mine")["title"] == "mine"
    assert store.provenance(model="m", weights="w.pt")["title"] == "m · w.pt weights · cpu"
    assert store.provenance(model="plan:8,M", plan="8,M")["title"] == "plan:8,M · cpu"


def test_provenance_does_not_import_cupy():
    code = "import sys, streamspread.store as s; s.provenance(model='m'); print('cupy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
