"""Embeddings on disk: exact, one row per layer and image, told apart from spectra."""

import json
import math

import numpy as np
import polars
import pyarrow as pa
import pytest

from streamspread import store
from streamspread.errors import StoreError
from streamspread.results.embedding import Embedding, LayerEmbedding
from streamspread.results.spectra import Spectra


@pytest.fixture
def embedding():
    """Two layers of five images, the second one constant."""
    rng = np.random.default_rng(0)
    shapes = {"c1": (4, 3, 2), "dead": (7,)}
    shares = {"c1": 0.625, "dead": math.nan}
    layers = [
        LayerEmbedding(
            layer=name,
            shape=shape,
            dim=math.prod(shape),
            axes=3,
            share=shares[name],
            points_N2=rng.normal(size=(5, 2)).astype(np.float32),
            divergence=1.5,
            seconds=0.25,
        )
        for name, shape in shapes.items()
    ]
    labels = np.array([1, 0, 1, 1, 0])
    return Embedding(layers, labels_N=labels, classes=("cat", "dog"), provenance={"model": "no1"})


def test_a_round_trip_is_exact(embedding, tmp_path):
    store.write_embedding(embedding, tmp_path / "e.arrow")
    again = store.read_embedding(tmp_path / "e.arrow")
    assert list(again) == ["c1", "dead"]
    for name, layer in embedding.items():
        after = again[name]
        assert after.points_N2.dtype == np.float32
        assert np.array_equal(after.points_N2, layer.points_N2)
        assert (after.shape, after.dim, after.axes) == (layer.shape, layer.dim, layer.axes)
        assert (after.divergence, after.seconds) == (1.5, 0.25)
    assert again["c1"].share == 0.625
    assert math.isnan(again["dead"].share)
    assert list(again.labels_N) == [1, 0, 1, 1, 0]
    assert (again.classes, again.provenance, again.samples) == (("cat", "dog"), {"model": "no1"}, 5)


def test_without_labels_and_without_layers(embedding, tmp_path):
    store.write_embedding(Embedding([embedding["c1"]]), tmp_path / "e.arrow")
    again = store.read_embedding(tmp_path / "e.arrow")
    assert (again.labels_N, again.classes, again.samples) == (None, None, 5)
    store.write_embedding(Embedding([]), tmp_path / "none.arrow")
    assert dict(store.read_embedding(tmp_path / "none.arrow")) == {}


def test_polars_reads_it_as_it_is_and_the_metadata_is_strict_json(embedding, tmp_path):
    store.write_embedding(embedding, tmp_path / "e.arrow")
    frame = polars.read_ipc(tmp_path / "e.arrow")
    assert frame.columns == ["layer", "image", "label", "x", "y"]
    dead = frame.filter(polars.col("layer") == "dead")
    assert dead["x"].to_list() == embedding["dead"].points_N2[:, 0].tolist()
    assert dead["image"].to_list() == [0, 1, 2, 3, 4]
    with pa.ipc.open_file(tmp_path / "e.arrow") as reader:
        text = reader.schema.metadata[b"streamspread"]
    header = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert header["layers"][0] | {"shape": None} == {
        "layer": "c1",
        "shape": None,
        "dim": 24,
        "axes": 3,
        "share": 0.625,
        "divergence": 1.5,
        "seconds": 0.25,
    }


def test_either_kind_is_read_as_what_it_is_and_refused_as_the_other(embedding, tmp_path):
    store.write_embedding(embedding, tmp_path / "e.arrow")
    store.write(Spectra([]), tmp_path / "s.arrow")
    assert isinstance(store.read_any(tmp_path / "e.arrow"), Embedding)
    assert isinstance(store.read_any(tmp_path / "s.arrow"), Spectra)
    with pytest.raises(StoreError, match=r"'.*e\.arrow' holds an embedding, not spectra"):
        store.read(tmp_path / "e.arrow")
    with pytest.raises(StoreError, match=r"'.*s\.arrow' holds no embedding"):
        store.read_embedding(tmp_path / "s.arrow")


def rewritten(path, change):
    with pa.ipc.open_file(path) as reader:
        table = reader.read_all()
    header = json.loads(table.schema.metadata[b"streamspread"])
    table, header = change(table, header)
    table = table.replace_schema_metadata({"streamspread": json.dumps(header)})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, h: (t.drop_columns(["x"]), h), "lacks the columns x: make it again with embed"),
        (
            lambda t, h: (t, {k: v for k, v in h.items() if k != "layers"}),
            "another kind .*make it again with embed",
        ),
        (lambda t, h: (t.slice(1), h), "rows are not those of the layers"),
        (lambda t, h: (t.set_column(3, "x", pa.array(["a"] * 10)), h), "another kind"),
        (lambda t, h: (t, h | {"classes": ["cat"]}), r"another kind \(a label has none of the 1 classes\)"),
        (
            lambda t, h: (labelled(t, [1, 0, 1, -2, 0]), h),
            r"another kind \(a label has none of the 2 classes",
        ),
        (lambda t, h: (t, h | {"provenance": {"notes": 7}}), r"another kind \(notes is not a list of texts"),
        (lambda t, h: (t, h | {"provenance": {"plan": ["64", {}]}}), r"another kind \(plan is not a text"),
    ],
)
def test_a_damaged_embedding_is_refused(embedding, tmp_path, change, words):
    path = tmp_path / "e.arrow"
    store.write_embedding(embedding, path)
    rewritten(path, change)
    with pytest.raises(StoreError, match=words):
        store.read_embedding(path)


def test_images_without_a_label_are_read(embedding, tmp_path):
    path = tmp_path / "e.arrow"
    store.write_embedding(embedding, path)
    rewritten(path, lambda t, h: (labelled(t, [1, 0, 1, -1, 0]), h))
    assert list(store.read_embedding(path).labels_N) == [1, 0, 1, -1, 0]


def labelled(table, labels):
    return table.set_column(2, "label", pa.array(labels * 2))
