"""A file that is damaged in any of its columns is refused, in one line: which layer, and what is wrong."""

import math
import os

import numpy as np
import pyarrow as pa
import pytest

from streamspread import store
from streamspread.errors import StoreError
from streamspread.results.embedding import Embedding, LayerEmbedding
from streamspread.results.spectra import Spectra
from tests.spectra import layer

NAN, INF = math.nan, math.inf


def put(place, value):
    """A change of one number of a list."""

    def change(numbers):
        numbers[place] = value
        return numbers

    return change


def swapped(numbers):
    return [*numbers[:3], numbers[4], numbers[3], *numbers[5:]]


def threshold(value):
    return lambda rows: [rows[0] | {"threshold": value}, *rows[1:]]


#: Column, row, what becomes of its value, and the words of the refusal. Row 0 is complete, row 1 bounded.
DAMAGE = [
    ("dim", 0, 0, "layer features.0: 0 features: a spectrum has 1 or more"),
    ("dim", 0, -40, "-40 features"),
    ("dim", 0, 41, r"shape \(4, 5, 2\) has not 41 features"),
    ("dim", 1, 7, "12 eigenvalues of 7 features"),
    ("shape", 0, [], r"shape \(\) has not 40 features"),
    ("shape", 0, [-40, -1], r"shape \(-40, -1\) has not 40 features"),
    ("samples", 0, 1, "1 samples: a covariance has 2 or more"),
    ("samples", 0, -5, "-5 samples"),
    ("passes", 0, 0, "0 passes and a peak of"),
    ("peak_bytes", 0, -1, "a peak of -1 bytes"),
    ("total_variance", 0, NAN, "total variance nan: it must be finite"),
    ("total_variance", 0, INF, "total variance inf"),
    ("total_variance", 0, -1.0, "total variance -1"),
    ("eigenvalues", 0, put(0, NAN), "eigenvalues are not all finite: number 1 is nan"),
    ("eigenvalues", 0, put(20, NAN), "eigenvalues are not all finite: number 21 is nan"),
    ("eigenvalues", 0, put(39, None), "eigenvalues are not all finite: number 40 is nan"),
    ("eigenvalues", 1, put(0, INF), "layer blöcke.2: eigenvalues are not all finite: number 1 is inf"),
    ("eigenvalues", 1, put(11, -1e-9), "eigenvalues are not all 0 or more: number 12 is -1e-09"),
    ("eigenvalues", 0, swapped, "eigenvalues are not descending: number 5 is above the last"),
    ("eigenvalues", 1, lambda numbers: numbers * 9, "are not descending"),
    ("upper_sums", 1, put(0, NAN), "upper sums are not all finite: number 1 is nan"),
    ("upper_sums", 1, put(11, INF), "upper sums are not all finite: number 12 is inf"),
    ("upper_sums", 1, put(0, -1.0), "upper sums are not all 0 or more"),
    ("upper_sums", 1, swapped, "upper sums are not ascending: number 5 is below the last"),
    ("upper_sums", 1, lambda numbers: numbers[:-1], "12 eigenvalues and bounds of 11 sums"),
    ("upper_sums", 1, [], "upper sums are missing, and not all eigenvalues are there"),
    ("total_variance", 0, lambda total: total * 8, r"K\(0\.7\) is \[.*\] in the file, and \["),
    ("total_variance", 1, lambda total: total / 512, "of a total variance of"),
    ("upper_sums", 1, lambda sums: [0.5 * x for x in sums], "upper sums lie below those of the eigenvalues"),
    ("lower_sums", 0, [1.0], "40 eigenvalues and 1 lower sums"),
    ("lower_sums", 0, [NAN] * 40, "lower sums are not all finite"),
    ("lower_sums", 0, list(range(40, 0, -1)), "lower sums are not ascending: number 2"),
    ("sum_of_squares", 0, -2.0, "sum of squares -2: it must be 0 or more"),
    ("fourth_moment", 0, -2.0, "fourth moment -2: it must be 0 or more"),
    ("seconds", 0, NAN, "seconds nan: it must be finite"),
    ("participation_ratio", 0, NAN, "participation ratio nan"),
    ("effective_rank", 0, INF, "effective rank inf"),
    ("components", 0, threshold(NAN), r"K\(nan\) is"),
    ("components", 0, threshold(None), r"K\(None\) is"),
    ("components", 0, threshold(1.5), r"K\(1\.5\) is"),
    ("components", 1, lambda rows: [rows[0] | {"low": 9, "high": 3}], r"K\(0\.7\) is \[9, 3\]"),
]


def rewritten(path, name, row, change):
    """The file with one value of a column changed."""
    with pa.ipc.open_file(pa.BufferReader(path.read_bytes())) as reader:
        table = reader.read_all()
    values = table[name].to_pylist()
    values[row] = change(values[row]) if callable(change) else change
    header = {b"streamspread": table.schema.metadata[b"streamspread"]}  # and no hash, as older files
    table = table.replace_schema_metadata(header)
    column = table.schema.get_field_index(name)
    changed = table.set_column(
        column, table.schema.field(name), pa.array(values, table.schema.field(name).type)
    )
    with pa.ipc.new_file(str(path), changed.schema) as writer:
        writer.write_table(changed)


@pytest.mark.parametrize(("name", "row", "change", "words"), DAMAGE)
def test_a_damaged_column_is_refused_in_one_line(name, row, change, words, written):
    store.read(written)
    rewritten(written, name, row, change)
    for read in (store.read, store.read_any):
        with pytest.raises(
            StoreError, match=rf"run\.arrow' holds columns of another kind \(.*{words}"
        ) as caught:
            read(written)
        assert "\n" not in str(caught.value)


def test_files_of_before_have_what_sums_may_err_by_taken_off_the_first(tmp_path):
    path = tmp_path / "old.arrow"
    store.write(Spectra([layer("c1", (2.0, 2.0, 1.0))]), path)
    rewritten(path, "eigenvalues", 0, lambda numbers: [numbers[1] * (1 - 1e-9), *numbers[1:]])
    values = store.read(path)["c1"].eigenvalues
    assert values[0] < values[1]


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_point_that_is_nowhere_is_refused(axis, value, tmp_path):
    points = np.zeros((5, 2), np.float32)
    points_of = LayerEmbedding(layer="c1", shape=(3,), dim=3, axes=2, share=0.5, points_N2=points)
    path = tmp_path / "e.arrow"
    store.write_embedding(Embedding([points_of]), path)
    rewritten(path, axis, 2, value)
    with pytest.raises(StoreError, match=r"the point of row 3 is \(.*(nan|inf)") as caught:
        store.read_embedding(path)
    assert "\n" not in str(caught.value)


def flipped(path, place, bit):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def test_no_bit_can_flip_in_a_result_unseen(written):
    whole = written.read_bytes()
    name = whole.rindex(b"streamspread.sha256")  # of the hash itself, in the schema that is read
    places = [*range(3, len(whole), 61), *range(name - 4, name + 84)]
    for number, place in enumerate(places):
        flipped(written, place, number % 8)
        with pytest.raises(StoreError, match=r"run\.arrow' (is|has|lacks|holds|cannot)") as caught:
            store.read(written)
        assert "\n" not in str(caught.value)
        written.write_bytes(whole)
    store.read(written)


def test_a_flipped_bit_of_an_eigenvalue_is_told_by_the_hash(written):
    value = store.read(written)["features.0"].eigenvalues[-1]
    content = written.read_bytes()
    flipped(written, content.index(np.float64(value).tobytes()), 0)
    with pytest.raises(
        StoreError, match=r"run\.arrow' is not as it was written \(its SHA-256 differs\): copy"
    ):
        store.read(written)


def test_results_without_a_hash_are_read_as_before(written):
    rewritten(written, "proof", 0, lambda proof: proof)
    assert b"sha256" not in written.read_bytes()
    assert list(store.read(written)) == ["features.0", "blöcke.2", "dead"]


@pytest.mark.parametrize("read", [store.read, store.read_any, store.read_embedding, store.read_grams])
def test_a_pipe_is_refused_and_not_waited_for(read, tmp_path):
    os.mkfifo(tmp_path / "pipe.arrow")
    for path in (tmp_path / "pipe.arrow", "/dev/zero"):
        with pytest.raises(StoreError, match="not a regular file: give another path"):
            read(path)


@pytest.mark.parametrize("name", [b"shape", b"lay\xffer"])
def test_columns_that_are_there_twice_or_are_no_text_are_refused(written, name):
    with pa.ipc.open_file(pa.BufferReader(written.read_bytes())) as reader:
        table = reader.read_all()
    header = {b"streamspread": table.schema.metadata[b"streamspread"]}
    fields = [*table.schema, pa.field(name, pa.int64())]
    more = pa.Table.from_arrays([*table.columns, pa.array([1, 2, 3])], schema=pa.schema(fields, header))
    with pa.ipc.new_file(str(written), more.schema) as writer:
        writer.write_table(more)
    for read in (store.read, store.read_any, store.read_embedding):
        with pytest.raises(StoreError, match=r"run\.arrow' (holds|is)") as caught:
            read(written)
        assert "\n" not in str(caught.value)
