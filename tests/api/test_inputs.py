"""Every kind of data, through a small network of its kind, against float64 on the same samples."""

import datasets as hugging_face
import numpy as np
import pytest
import torch
import zarr
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import streamspread
from streamspread.errors import ActivationError, DataError, ModelError, OptionError
from streamspread.models.inputs import accept_uint8
from streamspread.streams.adapt import as_stream
from streamspread.streams.stream import Stream
from tests.items import Flow, Items
from tests.networks import check_exact, network, truth
from tests.samples import TAUS
from tests.texts import bert, encoded, gpt2, texts

N, SIZE = 70, 16  # the last batch is smaller


class Shards:
    """Batches that are iterated anew each time, as pipelines give them, and no data set of torch's."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


class LightningDataModule:
    """As Lightning's: its own loaders only say that they are missing."""

    def prepare_data(self):
        pass

    def setup(self, stage):
        pass

    def missing(self):
        raise NotImplementedError

    predict_dataloader = test_dataloader = val_dataloader = train_dataloader = missing


class Module(LightningDataModule):
    def __init__(self, data_set, gives=1):
        self.data_set, self.gives, self.done = data_set, gives, []

    def prepare_data(self):
        self.done.append("prepare")

    def setup(self, stage):
        self.done.append(stage)

    def val_dataloader(self):
        loader = DataLoader(self.data_set, batch_size=SIZE)
        return loader if self.gives == 1 else [loader] * self.gives

    def train_dataloader(self):
        return DataLoader(self.data_set, batch_size=SIZE, shuffle=True)


def zarr_array(x, tmp_path):
    array = zarr.create_array(store=tmp_path / "x", shape=x.shape, chunks=(13, *x.shape[1:]), dtype=x.dtype)
    array[:] = x
    return array


def memory_map(x, tmp_path):
    x.tofile(tmp_path / "x.bin")
    return np.memmap(tmp_path / "x.bin", dtype=x.dtype, mode="r", shape=x.shape)


def read_only(x, _):
    x = x.copy()
    x.setflags(write=False)
    return x


#: Of images x (N, 3, H, W), float32.
ARRAYS = {
    "array": lambda x, _: x,
    "read-only": read_only,
    "backwards": lambda x, _: x[::-1].copy()[::-1],
    "channels last": lambda x, _: x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
    "big-endian": lambda x, _: x.astype(">f4"),
    "float64": lambda x, _: x.astype(np.float64),
    "memory map": memory_map,
    "zarr": zarr_array,
    "list of arrays": lambda x, _: list(x),
    "list of tensors": lambda x, _: list(torch.from_numpy(x)),
    "list of pairs": lambda x, _: [(torch.from_numpy(part), 3) for part in x],
    "columns": lambda x, _: {"image": x, "label": np.arange(N)},
    "tensors by name": lambda x, _: {"image": torch.from_numpy(x), "label": torch.arange(N)},
    "loader of mappings": lambda x, _: DataLoader(
        Items([{"image": i, "label": 1} for i in x]), batch_size=SIZE
    ),
    "pairs of a mapping": lambda x, _: Items([({"image": i}, 1) for i in x]),
    "pipeline": lambda x, _: Shards([(part, 0) for part in torch.from_numpy(x).split(SIZE)]),
    "pipeline of mappings": lambda x, _: Shards([{"x": part} for part in torch.from_numpy(x).split(SIZE)]),
    "data module": lambda x, _: Module(TensorDataset(torch.from_numpy(x))),
    "hugging face": lambda x, _: hugging_face.Dataset.from_dict({"pixels": list(x), "label": [0] * N}),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_every_kind(kind, tmp_path):
    model, x = network("cnn", N)
    data = ARRAYS[kind](x.numpy(), tmp_path)
    seen = set()
    for method in ("covariance", "gram"):  # the latter reads the data in two passes or more
        options = {"batch_size": SIZE, "device": "cpu", "method": method}
        found = streamspread.analyze(model, data, ["0", "4"], TAUS, **options)
        for name, want in truth(model, x, ["0", "4"]).items():
            check_exact(found[name], want)
        seen.add(found.provenance["data_seen"])
    assert len(seen) == 1


def test_memory_maps_are_never_read_whole():
    class Sliced:
        shape, dtype = (N, 4), np.dtype("float32")

        def __init__(self):
            self.rows = []

        def __getitem__(self, rows):
            self.rows.append(len(range(N)[rows]))
            return np.random.default_rng(rows.start).random((self.rows[-1], 4)).astype("float32")

    data = Sliced()
    as_stream(data)
    assert data.rows == []
    streamspread.analyze(nn.Sequential(nn.Linear(4, 3)), data, "0", batch_size=SIZE, device="cpu")
    assert set(data.rows) == {SIZE, N % SIZE}


def pictures(n):
    pixels = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return [Image.fromarray(image) for image in pixels], torch.from_numpy(pixels).permute(0, 3, 1, 2)


IMAGES = {
    "list": lambda images: images,
    "list of mappings": lambda images: [{"img": image, "label": 1} for image in images],
    "hugging face": lambda images: of_images(images),
    "hugging face, iterable": lambda images: of_images(images).to_iterable_dataset(),
    "hugging face, torch": lambda images: of_images(images).with_format("torch"),
    "loader": lambda images: DataLoader(of_images(images).with_format("torch"), batch_size=SIZE),
    "pipeline of samples": lambda images: Shards([{"img": image, "label": 1} for image in images]),
    "pipeline of pairs": lambda images: Shards([(image, 1) for image in images]),
    "lists of images": lambda images: lambda: iter([images[:30], images[30:]]),
    "iterable": lambda images: Flow([(image, 1) for image in images]),
}


def of_images(images):
    kinds = {"img": hugging_face.Image(), "label": hugging_face.ClassLabel(names=["cat", "dog"])}
    columns = {"img": images, "label": [0, 1] * (len(images) // 2)}
    return hugging_face.Dataset.from_dict(columns, features=hugging_face.Features(kinds))


@pytest.mark.parametrize("kind", IMAGES)
def test_images_of_every_kind(kind):
    model, _ = network("cnn", 2)
    accept_uint8(model, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    images, x = pictures(N)
    found = streamspread.analyze(model, IMAGES[kind](images), ["0", "4"], TAUS, batch_size=SIZE, device="cpu")
    for name, want in truth(model, x, ["0", "4"]).items():
        check_exact(found[name], want)


#: Of texts as lists of tokens, and as they are padded.
TEXTS = {
    "tensors by name": lambda rows, padded: padded,
    "batches": lambda rows, padded: lambda: iter([head(padded, 0, 30), head(padded, 30, N)]),
    "loader": lambda rows, padded: DataLoader(
        hugging_face.Dataset.from_dict(padded).with_format("torch"), batch_size=SIZE
    ),
    "loader of lists": lambda rows, padded: DataLoader(
        Items([{name: x[i].tolist() for name, x in padded.items()} for i in range(N)]), batch_size=SIZE
    ),
    "columns of lists": lambda rows, padded: {"input_ids": rows, "text": ["a"] * N},
    "list": lambda rows, padded: [{"input_ids": row, "label": 0} for row in rows],
    "list with masks": lambda rows, padded: [
        {"input_ids": torch.tensor(row), "attention_mask": [1] * len(row)} for row in rows
    ],
    "hugging face": lambda rows, padded: of_texts(rows),
    "hugging face, torch": lambda rows, padded: of_texts(rows).with_format("torch"),
    "hugging face, numpy": lambda rows, padded: of_texts(rows).with_format("numpy"),
    "hugging face, iterable": lambda rows, padded: of_texts(rows).to_iterable_dataset(),
    "one-shot": lambda rows, padded: iter([head(padded, 0, 30), head(padded, 30, N)]),
}


def head(batch, start, stop):
    return {name: x[start:stop] for name, x in batch.items()}


def of_texts(rows):
    return hugging_face.Dataset.from_dict({"input_ids": rows, "label": [0] * N, "text": ["a"] * N})


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_of_every_kind(kind):
    """The pooled layer has an output for each text, however far texts are padded."""
    model, rows = bert(), texts(N)
    padded = encoded(rows)
    want = truth(model, padded, ["pooler.dense"], lambda model, x: model(**x))["pooler.dense"]
    options = {"batch_size": SIZE, "device": "cpu"}
    found = streamspread.analyze(model, TEXTS[kind](rows, padded), "pooler.dense", TAUS, **options)
    check_exact(found["pooler.dense"], want)


@pytest.mark.parametrize(
    ("make", "layer"), [(bert, "encoder.layer.1.output.dense"), (gpt2, "h.1.mlp.c_proj")]
)
def test_a_mask_reaches_the_model_and_changes_what_it_gives(make, layer):
    model, padded = make(), encoded(texts(N))
    call = lambda model, x: model(**x)  # noqa: E731
    want, other = (
        truth(model, batch, [layer], call)[layer] for batch in (padded, {"input_ids": padded["input_ids"]})
    )
    assert abs(want.total / other.total - 1) > 1e-3
    for method in ("covariance", "gram"):
        options = {"device": "cpu", "method": method, "batch_size": SIZE}
        found = streamspread.analyze(model, padded, layer, TAUS, **options)
        check_exact(found[layer], want)
        blind = streamspread.analyze(model, {"input_ids": padded["input_ids"]}, layer, TAUS, **options)
        check_exact(blind[layer], other)
        assert found.provenance["notes"] == []
    assert found.provenance["data_seen"] != blind.provenance["data_seen"]


def test_texts_padded_within_batches_have_no_fixed_number_of_features_at_a_token_layer():
    rows = [{"input_ids": row} for row in sorted(texts(N), key=len)]
    with pytest.raises(
        ActivationError, match=r"layer encoder.* gave .* for a batch of .*must have one shape"
    ):
        streamspread.analyze(bert(), rows, "encoder.layer.0.output.dense", batch_size=SIZE, device="cpu")


def test_batches_of_longer_texts_than_the_first_ones_take_no_more_memory_than_was_planned():
    seen = []

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(60, 6), nn.Linear(6, 5)

        def forward(self, input_ids, attention_mask=None):
            seen.append(input_ids.numel())
            mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            x_NTC = self.embed(input_ids) * mask[..., None]
            return self.out(x_NTC.sum(1) / mask.sum(1, keepdim=True))

    model, rows = Mean(), sorted(texts(N), key=len)
    want = truth(model, encoded(rows), ["out"], lambda model, x: model(**x))["out"]
    for order in (rows, rows[::-1]):
        seen.clear()
        data = [{"input_ids": row} for row in order]
        check_exact(
            streamspread.analyze(model, data, "out", TAUS, batch_size=SIZE, device="cpu")["out"], want
        )
        first = max(len(row) for row in order[:SIZE])
        assert max(seen) <= SIZE * first


def test_labels_are_inputs_only_where_a_forward_asks_for_them():
    padded = encoded(texts(N)) | {"labels": torch.arange(N) % 3}
    call = lambda model, x: model(**x)  # noqa: E731
    for kind in ("BertModel", "BertForSequenceClassification"):
        model = bert(kind)
        layer = "pooler.dense" if kind == "BertModel" else "classifier"
        inputs = {name: x for name, x in padded.items() if name != "labels"}
        found = streamspread.analyze(model, padded, layer, TAUS, device="cpu", classes=True)
        check_exact(found[layer], truth(model, inputs, [layer], call)[layer])
        assert found[layer].classes.counts == (24, 23, 23)


def test_a_forward_of_ones_own():
    model, x = network("cnn", N)
    double = lambda model, batch: model(2 * batch)  # noqa: E731
    by_name = lambda model, batch: model(batch["a"] + batch["b"])  # noqa: E731
    want = truth(model, 2 * x, ["0"])["0"]
    for data, forward in ((x, double), ({"a": x, "b": x}, by_name)):
        check_exact(streamspread.analyze(model, data, "0", TAUS, forward=forward, device="cpu")["0"], want)
        assert streamspread.plan(model, data, "0", forward=forward, device="cpu").layers
        grams = streamspread.grams(model, data, "0", forward=forward, device="cpu")
        assert grams.samples == N
    with pytest.raises(OptionError, match="forward must be a callable of a model and a batch, got str"):
        streamspread.analyze(model, x, forward="twice")
    with pytest.raises(
        ModelError,
        match=r"does not run on a batch of a \(2, .*: 'no such thing'; to give it otherwise: forward=lambda",
    ):
        streamspread.analyze(model, {"a": x, "b": x}, forward=_raises, device="cpu")


def _raises(model, batch):
    raise KeyError("no such thing")


def test_inputs_that_a_forward_does_not_take_are_told():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(60, 4)

        def forward(self, input_ids):
            return self.embed(input_ids)

    found = streamspread.analyze(Plain(), encoded(texts(N)), "embed", device="cpu")
    assert found.provenance["notes"] == [
        "the model's forward does not take, and was not given: attention_mask"
    ]
    with pytest.raises(DataError, match="were padded, and the model's forward takes no attention_mask"):
        streamspread.analyze(Plain(), [{"input_ids": row} for row in texts(N)], "embed", device="cpu")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            {"input_ids": ["one", "two"]},
            r"no tensor, array, image or number in it, but input_ids \(a list, text\)",
        ),
        (
            {"input_ids": ["one", "two"], "attention_mask": torch.ones(2, 3)},
            "the model's forward takes input_ids, which is a list, text: give numbers",
        ),
        (
            [{"input_ids": [1, 2], "attention_mask": [1]}],
            r"attention_mask is \(1, 1\) and input_ids is \(1, 2\): a mask has a number for each token",
        ),
        (
            [{"input_ids": [1, 2]}, {"input_ids": [1, 2, 3], "attention_mask": [1]}],
            r"attention_mask is \(1, 1\) and input_ids is \(1, 3\)",
        ),
        ({"input_ids": np.ones((2, 3), complex)}, r"no tensor.* but input_ids \(complex numbers\)"),
        (
            [{"inputs_embeds": torch.zeros(2, 12)}, {"inputs_embeds": torch.zeros(3, 12)}],
            r"no tensor.* but inputs_embeds \(of shapes \(2, 12\) and \(3, 12\), with no known padding\)",
        ),
        (
            {"input_ids": [[1, 2]], "attention_mask": [[1, 1], [1, 1]]},
            "one number of rows, and have input_ids 1, att",
        ),
    ],
    ids=["texts", "texts with a mask", "mask", "one mask", "complex", "ragged", "rows"],
)
def test_mappings_that_a_model_cannot_be_given(data, said):
    with pytest.raises(DataError, match=said):
        streamspread.analyze(bert(), data, "pooler.dense", device="cpu")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (np.zeros((3, 2), complex), r"ndarray of shape \(3, 2\) is complex numbers; give an array of real"),
        (torch.zeros(3, 2, dtype=torch.complex64), r"a tensor of complex numbers \(3, 2\)"),
        (np.array([["a"]]), r"ndarray of shape \(1, 1\) is an array of <U1"),
        (np.array([[None]]), r"ndarray of shape \(1, 1\) is an array of objects"),
        (
            np.ma.masked_equal(np.arange(6.0).reshape(3, 2), 2),
            r"MaskedArray of shape \(3, 2\) is a masked array",
        ),
        (np.zeros((0, 3)), r"ndarray of shape \(0, 3\) has no samples"),
        (np.float64(3.0), r"float64 of shape \(\) has no samples"),
        ([], "list: no samples in it"),
        ({}, "dict: no samples in it"),
        ({"x": []}, "dict: no samples in it"),
        (lambda: iter([{"x": torch.zeros(0, 3)}]), "no samples in it; at least one is needed"),
        (
            [(torch.zeros(4, 3), torch.zeros(4))],
            "list: its items look like batches of 4, and a list is one of samples",
        ),
        (
            Shards([Image.new("L", (2, 1)), Image.new("L", (2, 2))]),
            r"samples of shapes \(1, 1, 2\) and \(1, 2, 2\); all",
        ),
        ([torch.zeros(3), {"x": torch.zeros(3)}], "some samples are tensors and others have names"),
        (
            lambda: iter([torch.zeros(3, 2), {"x": torch.zeros(3, 2)}]),
            "some batches are tensors and others mappings",
        ),
        (
            lambda: iter([{"x": torch.zeros(2, 3)}, {"x": torch.zeros(2, 4)}]),
            r"x: sample 2 has shape \(4,\), sample 0",
        ),
        (
            lambda: iter([{"x": torch.zeros(2)}, {"x": torch.zeros(2).double()}]),
            "x: sample 2 is torch.float64",
        ),
        (
            DataLoader(Items([{"x": [1]}, {"x": [1, 2]}]), batch_size=2),
            "samples of differing shapes or lengths, which the loader does not pad: give the data set itself",
        ),
        (LightningDataModule(), "LightningDataModule has no loader of its own; it has none at all"),
        (
            Module(TensorDataset(torch.zeros(3, 2)), 2),
            "Module: val_dataloader gives 2 loaders; give one of them",
        ),
    ],
)
def test_data_that_cannot_be_read(data, said):
    with pytest.raises(DataError, match=said) as caught:
        streamspread.analyze(nn.Sequential(nn.Linear(2, 3)), data, "0", device="cpu")
    assert "\n" not in str(caught.value)


def test_samples_are_counted_and_labels_found_without_reading_images():
    images, _ = pictures(10)
    data = of_images(images)
    data.set_transform(pytest.fail)  # whatever reads an image
    stream = as_stream(data.with_format(None))
    assert (stream.samples, stream.labels.tolist(), stream.classes) == (10, [0, 1] * 5, ("cat", "dog"))
    assert as_stream({"x": np.zeros((4, 2)), "label": [0, 1, 1, 0]}).labels.tolist() == [0, 1, 1, 0]
    assert as_stream([{"x": [1.0], "label": 2}, {"x": [3.0], "label": 0}]).labels.tolist() == [2, 0]
    assert as_stream([{"x": [1.0], "label": "a"}]).labels is None


def test_a_data_module_is_prepared_and_set_up_for_the_split_that_is_taken():
    module = Module(TensorDataset(torch.zeros(20, 2)))
    stream = as_stream(module)
    assert stream.description == "Module val: DataLoader of TensorDataset, 20 samples"
    assert module.done == ["prepare", "validate"]
    train = streamspread.data(module, "train")
    assert (train.ordered, module.done[2:]) == (False, ["prepare", "fit"])
    assert train.description.startswith("Module train: ")
    with pytest.raises(DataError, match="Module has no test_dataloader of its own; it has val, train"):
        streamspread.data(module, split="test")
    with pytest.raises(DataError, match="Module chooses its samples and their size itself"):
        streamspread.data(module, samples=3)


def test_a_real_data_module():
    lightning = pytest.importorskip("lightning")

    class Real(lightning.LightningDataModule):
        def predict_dataloader(self):
            return DataLoader(TensorDataset(torch.zeros(6, 2)), batch_size=4)

    assert as_stream(Real()).description.startswith("Real predict: ")
    with pytest.raises(DataError, match="Real has no train_dataloader of its own; it has predict"):
        streamspread.data(Real(), "train")


def test_data_are_named_as_on_the_command_line():
    data = streamspread.data("noise", split="test", samples=40, seed=3, image_size=8)
    assert isinstance(data, Stream)
    assert data.description == "noise test (seed 3), 40 images, at 8x8"
    model, _ = network("cnn", 2)
    forward = lambda model, images: model(images / 255)  # noqa: E731
    found = streamspread.analyze(model, data, "0", TAUS, forward=forward, device="cpu")
    check_exact(found["0"], truth(model, data.images / 255, ["0"])["0"])
    with pytest.raises(DataError, match="data are named by a text such as 'parquet:PATH', got Tensor"):
        streamspread.data(torch.zeros(3, 2))


@pytest.mark.gpu
def test_named_data_on_a_card_also_where_they_stay_there():
    model, padded = bert(), encoded(texts(N))
    want = truth(model, padded, ["pooler.dense"], lambda model, x: model(**x))["pooler.dense"]
    labelled = padded | {"label": torch.arange(N) % 2}
    for data in (labelled, lambda: iter([head(padded, 0, 30), head(padded, 30, N)])):
        options = {"device": "cuda", "rounding": "fp32", "classes": data is labelled}
        found = streamspread.analyze(model, data, "pooler.dense", TAUS, **options)
        check_exact(found["pooler.dense"], want, rel=1e-4)
