"""Tests of as_stream: every kind of data that is accepted, and the one line for what is not."""

from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import (
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import streamspread
from streamspread.errors import DataError
from streamspread.streams.adapt import as_stream
from streamspread.streams.batch import Named
from streamspread.streams.stream import count, head
from tests.items import Flow, Items
from tests.refilling import REFILLING


class Table:
    """As a data frame: what it gives are the names of its columns."""

    columns = ("a", "b")

    def __iter__(self):
        return iter(self.columns)


def numbered(n):
    return torch.arange(n * 2).reshape(n, 2)


def image(batch):
    """What goes by that name, or the batch that has no names."""
    return batch.tensors["image"] if isinstance(batch, Named) else batch


def joined(stream, batch_size=None):
    return torch.cat([image(batch) for batch in stream.batches(batch_size)])


MAKERS = {
    "tensor": lambda x, b: x,
    "dataset": lambda x, b: TensorDataset(x, x),
    "iterable": lambda x, b: Flow(list(x)),
    "loader": lambda x, b: DataLoader(TensorDataset(x), batch_size=b),
    "callable": lambda x, b: lambda: iter(x.split(b)),
    "callable of a list": lambda x, b: lambda: list(x.split(b)),
    "one-shot": lambda x, b: iter(x.split(b)),
}


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 40), own=st.integers(1, 45), asked=st.integers(1, 45))
def test_batches_hold_every_sample_once_and_in_order(kind, n, own, asked):
    x = numbered(n)
    stream = as_stream(MAKERS[kind](x, own))
    sizes = []
    for _ in range(2 if stream.repeatable else 1):
        got = list(stream.batches(asked))
        sizes = [len(b) for b in got]
        assert torch.equal(torch.cat(got), x)
    size = own if kind in ("loader", "callable", "callable of a list", "one-shot") else asked
    assert sizes == [size] * (n // size) + ([n % size] if n % size else [])


@pytest.mark.parametrize("kind", MAKERS)
def test_what_each_kind_says_of_itself(kind):
    stream = as_stream(MAKERS[kind](numbered(10), 4))
    assert stream.samples == (10 if kind in ("tensor", "dataset", "loader") else None)
    assert stream.repeatable == (kind != "one-shot")
    assert stream.ordered
    assert stream.description
    if stream.repeatable:
        assert count(stream) == 10


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=15, deadline=None)
@given(looks=st.lists(st.integers(1, 15), max_size=3))
def test_looking_at_the_head_loses_nothing(kind, looks):
    x = numbered(10)
    stream = as_stream(MAKERS[kind](x, 4))
    for n in looks:
        assert torch.equal(head(stream, n), x[:n])
    assert torch.equal(joined(stream), x)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: (x, 3),
        lambda x: [x, 3],
        lambda x: OrderedDict(image=x, label=3),
        lambda x: namedtuple("Item", "image label")(x, 3),
    ],
    ids=["tuple", "list", "dict", "namedtuple"],
)
def test_the_first_element_is_the_input_but_of_mappings_all_are(wrap):
    x = torch.rand(5, 3, 4, 4)
    assert torch.equal(joined(as_stream(Items([wrap(i) for i in x]))), x)
    assert torch.equal(joined(as_stream(lambda: iter([wrap(x[:3]), wrap(x[3:])]))), x)
    assert torch.equal(joined(as_stream(iter([wrap(x)]))), x)


def test_pil_palette_images_become_colours_and_grey_stays_grey():
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert joined(as_stream(Items([palette])))[0, :, 0, 0].tolist() == [10, 20, 30]
    assert joined(as_stream(Items([Image.new("L", (2, 2), 7)]))).tolist() == [[[[7, 7], [7, 7]]]]


def test_a_loader_that_does_not_batch_gives_its_items_as_batches():
    stream = as_stream(DataLoader(Items(list(numbered(6).split(2))), batch_size=None))
    assert stream.samples is None
    assert stream.ordered
    assert torch.equal(joined(stream), numbered(6))


@pytest.mark.parametrize(
    ("options", "ordered", "samples"),
    [
        (lambda d: {}, True, 10),
        (lambda d: {"shuffle": True}, False, 10),
        (lambda d: {"sampler": RandomSampler(d, num_samples=6)}, False, 6),
        (lambda d: {"sampler": SubsetRandomSampler([1, 2, 3])}, False, 3),
        (lambda d: {"sampler": WeightedRandomSampler([1.0] * 10, 4)}, False, 4),
        (lambda d: {"sampler": SequentialSampler(d)}, True, 10),
        (lambda d: {"batch_sampler": [[0, 1], [2, 3, 4]]}, False, None),
        (lambda d: {"batch_size": None, "shuffle": True}, False, None),
    ],
    ids=["plain", "shuffle", "random", "subset", "weighted", "sequential", "own batches", "unbatched"],
)
def test_only_a_sequential_loader_is_ordered(options, ordered, samples):
    dataset = TensorDataset(numbered(10))
    stream = as_stream(DataLoader(dataset, **options(dataset)))
    assert stream.ordered is ordered
    assert stream.samples == samples


def test_a_one_shot_iterator_is_read_once():
    stream = as_stream(b for b in numbered(4).split(2))
    assert torch.equal(joined(stream), numbered(4))
    with pytest.raises(
        DataError, match=r"two passes are needed .*; give a callable that returns a fresh iterator"
    ):
        stream.batches()
    with pytest.raises(DataError, match="two passes are needed"):
        head(stream, 1)


def test_the_head_of_a_one_shot_iterator_reads_no_more_than_it_needs():
    read = []

    def source():
        for i, batch in enumerate(numbered(10).split(2)):
            read.append(i)
            yield batch

    stream = as_stream(source())
    head(stream, 3)
    assert read == [0, 1]


def test_a_callable_is_called_once_a_pass():
    calls = []

    def make():
        calls.append(1)
        return iter(numbered(4).split(2))

    stream = as_stream(make)
    assert not calls
    joined(stream)
    joined(stream)
    assert len(calls) == 2


def test_a_callable_that_gives_its_iterator_twice_is_found_out():
    iterator = iter(numbered(4).split(2))
    stream = as_stream(lambda: iterator)
    joined(stream)
    with pytest.raises(DataError, match="same iterator again; return a fresh one"):
        stream.batches()


def test_callables_that_cannot_serve():
    with pytest.raises(
        DataError, match=r"callable <lambda> needs arguments \(missing a required argument: 'n'\)"
    ):
        as_stream(lambda n: iter([]))
    with pytest.raises(DataError, match="it returned int, not an iterator"):
        as_stream(lambda: 3).batches()
    with pytest.raises(DataError, match="it returned one tensor"):
        as_stream(lambda: numbered(3)).batches()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_a_data_set_of_differing_shapes(batch_size):
    items = [torch.zeros(3, 4, 4)] * 3 + [torch.zeros(3, 5, 4)]
    wanted = r"sample 3 has shape \(3, 5, 4\), sample \d has \(3, 4, 4\)"
    for data in (Items(items), Flow(items)):
        with pytest.raises(DataError, match=wanted):
            list(as_stream(data).batches(batch_size))


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (2, 0), (4, 0), (2, 1)])
def test_a_loader_of_differing_shapes(batch_size, workers):
    items = [torch.zeros(3, 4, 4)] * 3 + [torch.zeros(3, 5, 4)]
    loader = DataLoader(Items(items), batch_size=batch_size, num_workers=workers)
    words = "the batch of sample [02] has samples of differing shapes or lengths"
    if batch_size == 1:
        words = r"sample 3 has shape \(3, 5, 4\), sample \d has \(3, 4, 4\)"
    with pytest.raises(DataError, match=words) as caught:
        list(as_stream(loader).batches())
    assert "\n" not in str(caught.value)


def test_an_error_of_the_users_own_code_comes_through():
    class Broken(Items):
        def __getitem__(self, index):
            raise RuntimeError("disk on fire")

    for data in (Broken([1, 2]), DataLoader(Broken([1, 2]))):
        with pytest.raises(RuntimeError, match="disk on fire"):
            list(as_stream(data).batches())


@pytest.mark.parametrize(
    "data",
    [
        torch.zeros(0, 3),
        torch.tensor(1.0),
        Items([]),
        Flow([]),
        DataLoader(Items([]), batch_size=2),
        DataLoader(Flow([]), batch_size=2),
        lambda: iter([]),
        iter([]),
        iter([torch.zeros(0, 3)]),
    ],
)
def test_empty_data(data):
    with pytest.raises(DataError, match="no samples"):
        list(as_stream(data).batches())


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({1, 2}, "set"),
        (None, "NoneType"),
        (torch.nn.Identity(), "Identity"),
        (3, "int"),
    ],
)
def test_what_is_not_accepted_is_named_with_what_is(data, name):
    with pytest.raises(
        DataError, match=rf"data of type {name} cannot be read; give a tensor \(N, ...\), .* iterator"
    ):
        as_stream(data)


@pytest.mark.parametrize(
    ("data", "meant"),
    [
        ("cifar10", r"did you mean streamspread\.data\('cifar10'\)\? Else give a tensor"),
        (Table(), r"data of type Table cannot be read; did you mean its numbers, as data.to_numpy\(\)\?"),
        ((numbered(3), numbered(3)), r"data of type tuple .*did you mean TensorDataset\(\*data\)"),
    ],
)
def test_what_was_probably_meant(data, meant):
    with pytest.raises(DataError, match=meant):
        as_stream(data)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("text", "item 0 is of type str"),
        ((1, torch.zeros(2)), "item 0 has first element of type int"),
        ((), "item 0 has first element of type NoneType"),
        (
            {"name": "text", "shape": object()},
            r"item 0: no tensor.*but name \(text\), shape \(of type object\)",
        ),
        (np.zeros(3, complex), "item 0 is complex numbers"),
        (np.array([None, 1]), "item 0 is an array of objects"),
        (np.array(["a"]), "item 0 is an array of <U1"),
        (torch.zeros(3, dtype=torch.complex64), "item 0 is complex numbers"),
    ],
)
def test_items_without_a_tensor_first(item, said):
    for data in (Items([item]), Flow([item])):
        with pytest.raises(DataError, match=said):
            list(as_stream(data).batches())
    with pytest.raises(DataError, match=said.replace("item 0", "a batch")):
        list(as_stream(iter([item])).batches())


def test_a_data_set_without_a_length():
    class Endless(Dataset):
        def __getitem__(self, index):
            return torch.zeros(3)

    with pytest.raises(DataError, match="Endless has no length"):
        as_stream(Endless())


@pytest.mark.parametrize("memory", ["tensor", "numpy"])
@pytest.mark.parametrize("looks", [[], [5, 9], [40]])
@pytest.mark.parametrize("kind", REFILLING)
def test_batches_that_are_written_over_are_read_before_and_looks_outlive_them(kind, looks, memory):
    x = torch.randn(30, 2, 3)
    stream = as_stream(REFILLING[kind](x, 4, memory))
    held = [list(stream.peek(n)) if kind == "generator" else [head(stream, n)] for n in looks]
    read = torch.cat([image(batch).clone() for batch in stream.batches(4)])
    assert torch.equal(read, x)
    for n, batches in zip(looks, held, strict=True):
        got = torch.cat([image(batch) for batch in batches])
        assert len(got) >= min(n, 30)
        assert torch.equal(got, x[: len(got)])


def test_frames_and_tables_of_numbers_are_rows():
    pandas, polars, pyarrow = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    columns = {"a": [1.0, 2.0, 4.0], "b": [0.5, 0.0, 3.0]}
    for make in (pandas.DataFrame, polars.DataFrame, pyarrow.table, pyarrow.record_batch):
        stream = as_stream(make(columns))
        assert stream.samples == 3
        assert stream.description.endswith(", 3 rows of 2 columns")
        assert torch.cat(list(stream.batches(2))).tolist() == [[1.0, 0.5], [2.0, 0.0], [4.0, 3.0]]
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    found = streamspread.analyze(model, pandas.DataFrame(columns), device="cpu")
    assert next(iter(found.values())).samples == 3


def test_frames_with_other_columns_are_refused_with_what_to_do():
    pandas, polars, pyarrow = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    for make in (pandas.DataFrame, polars.DataFrame, pyarrow.table):
        with pytest.raises(DataError, match=r"with columns that are no numbers.*frame\[\['a', 'b'\]\]"):
            as_stream(make({"a": [1.0, 2.0], "name": ["x", "y"]}))


def test_samples_of_webdataset_are_samples_though_what_gives_them_is_no_data_set():
    class Shards:
        def __iter__(self):
            for number in range(7):
                yield {"__key__": f"{number}", "input": torch.full((3,), float(number)), "label": number}

    stream = as_stream(Shards())
    batches = list(stream.batches(4))
    assert [len(batch) for batch in batches] == [4, 3]
    assert batches[1].tensors["input"][:, 0].tolist() == [4.0, 5.0, 6.0]
