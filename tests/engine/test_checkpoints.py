"""A run that is kept and resumed ends with the same bits as one that nobody disturbed, wherever it ended."""

import copy
import functools
import json
import os
import warnings

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import streamspread
from streamspread.errors import DataError, StoreError
from streamspread.store import keeping
from streamspread.streams.adapt import as_stream
from streamspread.streams.feed import in_background
from streamspread.system.files import claimed
from tests.bits import bits
from tests.hesitant import hesitate
from tests.networks import Sign, growing, network, smallest_budget

TRIAL = functools.cache(keeping._trial)  # which is the same throughout a process, and a third of a short run


class Stop(Exception):
    """Ends a run."""


@pytest.fixture(autouse=True)
def _after_every_batch(monkeypatch):
    monkeypatch.setattr(keeping, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(keeping, "SHARE", 0.0)
    monkeypatch.setattr(keeping, "_trial", TRIAL)


def stopping(after):
    """A progress callback that ends the run at its so many-th call."""
    calls = []

    def report(event):
        if event.stage == "inner products":  # which begin anew
            return
        calls.append(event)
        if len(calls) == after:
            raise Stop

    return report


def resumed(model, data, layers, path, every=1, **options):
    """The run that is ended again and again, at every so many-th sign of life, and how often it was."""
    ends = 0
    while True:
        try:
            done = streamspread.analyze(
                model, data, layers, checkpoint=path, progress=stopping(1 + every), **options
            )
        except Stop:
            ends += 1
            assert path.is_file()
            assert ends < 300
        else:
            return done, ends


def several(method, **options):
    """A network of three layers with so little memory that it takes several passes."""
    model, x = network("cnn", 170)
    options = {"method": method, "batch_size": 50, **options}
    budget = max(smallest_budget(model, make(x), LAYERS, **options) for make, _ in DATA.values())
    assert len(streamspread.plan(model, x, LAYERS, memory=budget, **options).passes) > 1
    return model, x, LAYERS, {**options, "memory": budget}


def one(kind="cnn", layers=("1", "4"), **options):
    """A network in one pass, or as many as the method needs."""
    return *network(kind, 170), list(layers), {"batch_size": 50, **options}


def overflowing(rounding):
    """Layers of which one is summed again in another precision, and one is not."""
    model = nn.Sequential(nn.Identity(), Sign())
    return model, growing(40, 200), "*", {"method": "covariance", "rounding": rounding, "batch_size": 40}


class Labelled(torch.utils.data.Dataset):
    """Samples with a class each."""

    def __init__(self, x):
        self.x, self.targets, self.read = x, [index % 3 for index in range(len(x))], []

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        self.read.append(index)
        return self.x[index], self.targets[index]


class Noisy(nn.Module):
    """Adds noise in eval mode too, which repeats by a batch's place alone."""

    def forward(self, x):
        return x + torch.randn_like(x)


def noisy():
    model, x, _, options = several("gram")
    return nn.Sequential(*model[:4], Noisy(), *model[4:]), x, ["0", "1", "5"], options


def classes():
    model, x, layers, options = one(classes=True)
    return model, Labelled(x), layers, options


LAYERS = ["0", "1", "4"]
CASES = {
    "covariance": lambda: one(method="covariance"),
    "gram": lambda: one(method="gram"),
    "sketch": lambda: one(method="sketch", rank=20),
    "sketch in three passes": lambda: one(method="sketch", rank=6, max_passes=3, thresholds=(0.5, 0.99)),
    "all eigenvalues": lambda: one(method="covariance", all_eigenvalues=True),
    "int16 covariance": lambda: one(method="covariance", rounding="int16"),
    "int16 gram": lambda: one(method="gram", rounding="int16"),
    "several passes of grams": lambda: several("gram"),
    "several passes of covariances": lambda: several("covariance"),
    "several passes at int16": lambda: several("gram", rounding="int16"),
    "overflow at fp16": lambda: overflowing("fp16"),
    "overflow at int16": lambda: overflowing("int16"),
    "directions of grams": lambda: several("gram", directions=3),
    "directions of covariances": lambda: one(method="covariance", directions=3),
    "a pass for scores": lambda: one(method="covariance", directions=3, scores=True),
    "views": lambda: one(view=["whole", "position", "pooled", "pooled-max"]),
    "narrow sides": lambda: one(layers=["0"], method="covariance"),
    "classes": classes,
    "a model that draws numbers": noisy,
    "a random twin": lambda: one(with_random=True),
}


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_ended_again_and_again_has_the_bits_of_one_that_is_not(case, every, tmp_path):
    model, x, layers, options = CASES[case]()
    torch.manual_seed(3)
    whole = streamspread.analyze(model, x, layers, **options)
    torch.manual_seed(3)
    done, ends = resumed(model, x, layers, tmp_path / "run", every, **options)
    assert ends >= 2
    assert bits(done) == bits(whole)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("every", [1, 3])
def test_layers_that_were_unfit_have_their_bits_too(every, tmp_path, monkeypatch):
    """They are in the jobs to come, of which one is resumed as well; also what overflowed before."""
    hesitate(monkeypatch, {"0": 240, "1": 480})
    model, x, _, options = overflowing("fp16")
    given = nn.Sequential(*model, nn.Tanh()), x, ["0", "1", "2"]
    options |= {"method": "auto"}
    whole = streamspread.analyze(*given, **options)
    done, ends = resumed(*given, tmp_path / "run", every, **options)
    assert ends >= 20 / every
    assert bits(done) == bits(whole)
    assert [one.method == "sketch" for one in done.values()] == [False, False, True]
    assert done.provenance["notes"][-2:] == whole.provenance["notes"]
    assert list(tmp_path.iterdir()) == []


# Where data begin again


def in_batches(x):
    return lambda: iter(x.split(30))


DATA = {
    "tensor": (lambda x: x, True),
    "array": (lambda x: x.numpy(), True),
    "by name": (lambda x: {"input": x}, True),
    "data set": (Labelled, True),
    "loader": (lambda x: DataLoader(Labelled(x), batch_size=40), True),
    "callable": (in_batches, False),
    "iterable": (lambda x: InBatches(x), False),
}


class InBatches:
    """What can be iterated anew."""

    def __init__(self, x):
        self.x = x

    def __iter__(self):
        return iter(self.x.split(45))


class Stateful(InBatches):
    """As torchdata's loaders: it says where it is, and goes on there; ``read``: the batches that it gave."""

    def __init__(self, x):
        super().__init__(x)
        self.at, self.begun, self.read = 0, 0, []

    def __iter__(self):
        parts = self.x.split(45)
        self.at, self.begun = self.begun, 0
        while self.at < len(parts):
            self.at += 1
            self.read.append(self.at)
            yield parts[self.at - 1]

    def state_dict(self):
        return {"at": self.at, "of": "batches", "more": [None, torch.tensor(self.at)]}

    def load_state_dict(self, state):
        assert int(state["more"][1]) == state["at"]
        self.begun = state["at"]


def torchdatas(data, **options):
    loaders = pytest.importorskip("torchdata.stateful_dataloader")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's, about what torchdata calls
        return loaders.StatefulDataLoader(data, batch_size=40, **options)


class Streamed(IterableDataset):
    def __init__(self, x):
        self.x, self.at, self.begun = x, 0, 0

    def __iter__(self):
        self.at, self.begun = self.begun, 0
        while self.at < len(self.x):
            self.at += 1
            yield self.x[self.at - 1]

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.begun = state["at"]


@pytest.mark.parametrize("make", [Stateful, lambda x: torchdatas(Streamed(x))])
def test_loaders_that_know_where_they_are_go_on_there(make, tmp_path):
    model, x, layers, options = several("gram")
    whole = streamspread.analyze(model, make(x), layers, **options)
    done, ends = resumed(model, make(x), layers, tmp_path / "run", **options)
    assert ends > 4
    assert bits(done) == bits(whole)
    assert not any("was read again" in note for note in done.provenance["notes"])


class Plain(IterableDataset):
    def __init__(self, x):
        self.x = x

    def __iter__(self):
        return iter(self.x)


class Opaque(Stateful):
    """Its state is of a kind of its own, which is not read from a file."""

    def state_dict(self):
        return {"at": self.at, "own": Plain(None)}


@pytest.mark.parametrize("make", [Opaque, lambda x: torchdatas(Plain(x))])
def test_what_does_not_know_where_it_is_is_read_again(make, tmp_path):
    model, x, layers, options = several("gram")
    whole = streamspread.analyze(model, make(x), layers, **options)
    data = make(x)
    options["checkpoint"] = tmp_path / "run"
    for _ in range(2):  # torchdata would skip too much after the second
        with pytest.raises(Stop):
            streamspread.analyze(model, data, layers, progress=stopping(2), **options)
    done = streamspread.analyze(model, data, layers, **options)
    assert bits(done) == bits(whole)
    assert any("was read again" in note for note in done.provenance["notes"])


def test_several_processes_of_a_loader_go_on_and_another_number_of_them_is_one_line(tmp_path):
    model, x = network("mlp", 170)
    whole = streamspread.analyze(model, torchdatas(Streamed(x), num_workers=1), "*")

    data = torchdatas(Streamed(x), num_workers=1)
    with pytest.raises(Stop):
        streamspread.analyze(model, data, "*", checkpoint=tmp_path / "run", progress=stopping(4))
    with pytest.raises(DataError, match="it does not go on at sample 120, where the checkpoint was made"):
        streamspread.analyze(model, torchdatas(Streamed(x)), "*", checkpoint=tmp_path / "run")
    data = torchdatas(Streamed(x), num_workers=1)
    done = streamspread.analyze(model, data, "*", checkpoint=tmp_path / "run")
    assert bits(done) == bits(whole)
    assert not any("was read again" in note for note in done.provenance["notes"])


def test_what_a_loader_knows_is_not_read_again(tmp_path):
    model, x = network("mlp", 170)
    with pytest.raises(Stop):
        streamspread.analyze(model, Stateful(x), "*", checkpoint=tmp_path / "run", progress=stopping(4))
    data = Stateful(x)
    streamspread.analyze(model, data, "*", checkpoint=tmp_path / "run")
    assert data.read[-2:] == [1, 4]  # the first one, to tell other data by


@pytest.mark.parametrize("kind", DATA)
def test_data_of_every_kind_begin_again_where_the_run_was_ended(kind, tmp_path):
    make, seekable = DATA[kind]
    model, x, layers, options = several("gram")
    assert as_stream(make(x)).seekable == seekable
    whole = streamspread.analyze(model, make(x), layers, **options)
    done, ends = resumed(model, make(x), layers, tmp_path / "run", 2, **options)
    assert ends > 4
    assert bits(done) == bits(whole)
    note = next(note for note in done.provenance["notes"] if note.startswith("resumed from a checkpoint"))
    assert seekable != ("was read again" in note)


@pytest.mark.parametrize("make", [Labelled, lambda x: DataLoader(Labelled(x), batch_size=10)])
def test_what_was_summed_is_not_read_again_where_samples_have_a_number(make, tmp_path):
    model, x = network("mlp", 100)
    data = make(x)
    items = getattr(data, "dataset", data)
    with pytest.raises(Stop):
        streamspread.analyze(
            model, data, "0", batch_size=10, checkpoint=tmp_path / "run", progress=stopping(7)
        )
    items.read.clear()
    streamspread.analyze(model, data, "0", batch_size=10, checkpoint=tmp_path / "run")
    assert set(items.read) & set(range(10, 100)) == set(range(60, 100))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda x: iter(x.split(10)), r"one-shot .*: a checkpoint is of no use where .* read a second time"),
        (
            lambda x: DataLoader(TensorDataset(x), batch_size=10, shuffle=True),
            "a checkpoint is of no use where data cannot be read in the same order again",
        ),
    ],
)
def test_data_that_cannot_be_read_again_are_refused_before_anything_is_summed(make, match, tmp_path):
    model, x = network("mlp", 100)
    with pytest.raises(DataError, match=match):
        streamspread.analyze(model, make(x), "0", checkpoint=tmp_path / "run", progress=stopping(1))
    assert list(tmp_path.iterdir()) == []


# What is refused


def left(path, model, x, **options):
    """A run that was ended after three batches."""
    with pytest.raises(Stop):
        streamspread.analyze(model, x, "*", batch_size=10, checkpoint=path, progress=stopping(4), **options)
    return path.read_bytes()


def with_other_weights(model):
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].bias[0] += 1
    return other


class Renamed(nn.Sequential):
    """A model of another class."""


OTHERS = {
    "option rounding was auto, and is fp64": lambda model, x: (model, x, {"rounding": "fp64"}),
    r"option thresholds was \[0.7\], and is \[0.9\]": lambda model, x: (model, x, {"thresholds": 0.9}),
    "the hash of its weights was": lambda model, x: (with_other_weights(model), x, {}),
    "the model was Sequential, and is Renamed": lambda model, x: (Renamed(*model), x, {}),
    "the hash of the first samples was": lambda model, x: (model, x.flip(0), {}),
    r"the data was tensor \(100, 30\), and is tensor \(99, 30\)": lambda model, x: (model, x[:99], {}),
    "option batch_size was 10, and is 20": lambda model, x: (model, x, {"batch_size": 20}),
    r"option layers was \*, and is 0": lambda model, x: (model, x, {"layers": "0"}),
}


@pytest.mark.parametrize("said", OTHERS)
def test_a_checkpoint_of_another_run_is_refused_and_left(said, tmp_path):
    model, x = network("mlp", 100)
    content = left(tmp_path / "run", model, x)
    other, data, changed = OTHERS[said](model, x)
    options = {"layers": "*", "batch_size": 10, **changed}
    with pytest.raises(StoreError, match=f"checkpoint '.*run' is of another run: .*({said})") as caught:
        streamspread.analyze(other, data, checkpoint=tmp_path / "run", **options)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "run").read_bytes() == content


def test_samples_that_are_read_again_must_be_the_same(tmp_path):
    model, x = network("mlp", 100)

    def data(x):
        def make():
            return iter(x.split(10))

        return make

    left(tmp_path / "run", model, data(x))
    changed = x.clone()
    changed[15] += 1
    with pytest.raises(DataError, match="its first 30 samples are not those that the checkpoint was made of"):
        streamspread.analyze(model, data(changed), "*", batch_size=10, checkpoint=tmp_path / "run")


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_half_a_file_is_refused(keep, tmp_path):
    model, x = network("mlp", 100)
    content = left(tmp_path / "run", model, x)
    (tmp_path / "run").write_bytes(content[:keep])
    with pytest.raises(StoreError, match=r"no whole checkpoint \(.*\): remove it, or give another"):
        streamspread.analyze(model, x, "*", batch_size=10, checkpoint=tmp_path / "run")


def edited(path, edit):
    """A checkpoint's header and tensors, with something changed."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["streamspread"])
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    tensors.pop("checksums")  # as an older file, or who edits one would be found out at once
    edit(header, tensors)
    save_file(tensors, path, metadata={"streamspread": json.dumps(header)})


DAMAGES = {
    "no run": lambda header, tensors: header.pop("run"),
    "no memory": lambda header, tensors: header["machine"].pop("budget"),
    "no layers": lambda header, tensors: header.pop("layers"),
    "a layer without a name": lambda header, tensors: header["layers"][0].pop("layer"),
    "an unknown layer": lambda header, tensors: header["layers"][0].update(layer="none"),
    "no shift": lambda header, tensors: tensors.pop("layer.0.sums.shift"),
    "a short shift": lambda header, tensors: tensors.update({"layer.0.sums.shift": torch.ones(2)}),
    "a short panel": lambda header, tensors: tensors.update({"layer.0.sums.panels.0": torch.ones(2)}),
    "more rows": lambda header, tensors: tensors.update({"layer.0.sums.rows": torch.ones(10**4, 90)}),
    "a place that is not there": lambda header, tensors: header["passes"]["mark"].update(place=True),
    "seen of no kind": lambda header, tensors: header["passes"]["mark"]["seen"].update(kinds=3),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_refused_in_one_line(damage, tmp_path):
    model, x = network("mlp", 100)
    left(tmp_path / "run", model, x, method="covariance")
    edited(tmp_path / "run", DAMAGES[damage])
    with pytest.raises(StoreError, match=r"checkpoint '.*run' is damaged \(.*\): remove it") as caught:
        streamspread.analyze(model, x, "*", batch_size=10, method="covariance", checkpoint=tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_rows_of_two_planes_are_refused_in_plain_words(tmp_path):
    model, x = network("mlp", 100)
    left(tmp_path / "run", model, x, method="covariance")
    planes = torch.ones(2, 10, 90, dtype=torch.int8)
    edited(tmp_path / "run", lambda header, tensors: tensors.update({"layer.0.sums.rows": planes}))
    with pytest.raises(StoreError, match=r"damaged \(staged rows of shape \(2, 10, 90\), not \(…, \d+\)\)"):
        streamspread.analyze(model, x, "*", batch_size=10, method="covariance", checkpoint=tmp_path / "run")


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.999])
def test_no_bit_can_be_flipped_in_silence(place, tmp_path):
    model, x = network("mlp", 100)
    content = bytearray(left(tmp_path / "run", model, x, method="covariance"))
    content[int(place * len(content))] ^= 1
    (tmp_path / "run").write_bytes(content)
    with pytest.raises(StoreError, match=r"is damaged|is no whole|has broken metadata|is no check"):
        streamspread.analyze(model, x, "*", batch_size=10, method="covariance", checkpoint=tmp_path / "run")


def test_one_of_another_plan_is_refused(tmp_path):
    model, x = network("mlp", 100)
    left(tmp_path / "run", model, x)
    edited(tmp_path / "run", lambda header, tensors: header["plan"][0].append("more"))
    with pytest.raises(StoreError, match="is of another plan than is made here"):
        streamspread.analyze(model, x, "*", batch_size=10, checkpoint=tmp_path / "run")


def test_other_files_are_never_replaced(tmp_path):
    model, x = network("mlp", 100)
    save_file({"w": torch.ones(3)}, tmp_path / "weights")
    with pytest.raises(StoreError, match=r"'.*weights' is no checkpoint, and is left as it is"):
        streamspread.analyze(model, x, "*", checkpoint=tmp_path / "weights")
    with pytest.raises(StoreError, match="is a folder: give a file"):
        streamspread.analyze(model, x, "*", checkpoint=tmp_path)
    with pytest.raises(StoreError, match=r"the folder .* does not exist"):
        streamspread.analyze(model, x, "*", checkpoint=tmp_path / "none" / "run")
    assert list(load_file(tmp_path / "weights")) == ["w"]


def test_a_file_that_a_killed_writer_left_half_goes(tmp_path, monkeypatch):
    model, x = network("mlp", 100)
    half = tmp_path / ".run.0123456789ab.part"
    half.write_bytes(b"half of it")
    os.utime(half, (0, 0))
    streamspread.analyze(model, x, "*", checkpoint=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_of_one_run_at_a_time(tmp_path):
    model, x = network("mlp", 100)
    options = {"batch_size": 10, "checkpoint": tmp_path / "run"}
    left(tmp_path / "run", model, x)
    with claimed(tmp_path / "run"):
        there = {path: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(StoreError, match=r"checkpoint '.*run' is that of a run that has not ended, and"):
            streamspread.analyze(model, x, "*", **options)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == there
    found = []

    def begin_another(event):
        with claimed(tmp_path / "run") as other:
            found.append(other)

    streamspread.analyze(model, x, "*", progress=begin_another, **options)
    assert len(found) > 5
    assert all(found)
    assert list(tmp_path.iterdir()) == []


# What stays the same, and what is said where it does not


def test_the_plan_is_that_of_the_checkpoint_however_much_memory_is_free(tmp_path, monkeypatch):
    model, x, layers, options = several("gram")
    memory = options.pop("memory")
    free = "streamspread.observe.observed.free_bytes"
    monkeypatch.setattr(free, lambda device: int(memory / 0.8) + 2)
    want = streamspread.plan(model, x, layers, **options)
    with pytest.raises(Stop):
        streamspread.analyze(model, x, layers, checkpoint=tmp_path / "run", progress=stopping(3), **options)
    monkeypatch.setattr(free, lambda device: 2**34)
    assert len(streamspread.plan(model, x, layers, **options).passes) < len(want.passes)
    done = streamspread.analyze(model, x, layers, checkpoint=tmp_path / "run", **options)
    assert done.provenance["budget_bytes"] == want.budget
    assert max(layer.passes for layer in done.values()) == max(layer.passes for layer in want.layers)


def test_sums_that_round_otherwise_are_a_note(tmp_path, monkeypatch):
    model, x = network("mlp", 100)
    left(tmp_path / "run", model, x)
    monkeypatch.setattr(keeping, "_trial", lambda device: "other")
    done = streamspread.analyze(model, x, "*", batch_size=10, checkpoint=tmp_path / "run")
    assert "sums are rounded differently here" in done.provenance["notes"][1]


def test_layers_that_are_done_are_not_done_again(tmp_path):
    model, x = network("mlp", 100)

    def stop_at_the_second_layer(event):
        if event.stage == "eigenvalues" and event.done == 1:
            raise Stop

    options = {"batch_size": 50, "checkpoint": tmp_path / "run"}
    with pytest.raises(Stop):
        streamspread.analyze(model, x, "*", progress=stop_at_the_second_layer, **options)
    events = []
    done = streamspread.analyze(model, x, "*", progress=events.append, **options)
    assert {event.stage for event in events} == {"eigenvalues"}
    assert "0" not in {event.label for event in events}
    assert bits(done) == bits(streamspread.analyze(model, x, "*", batch_size=50))


def test_a_full_disk_ends_no_run(tmp_path, monkeypatch):
    def full(header, tensors, path, ranks):
        raise StoreError(f"cannot write {str(path)!r}: No space left on device: give another path")

    monkeypatch.setattr(keeping, "write_checkpoint", full)
    model, x = network("mlp", 100)
    done = streamspread.analyze(model, x, "*", batch_size=10, checkpoint=tmp_path / "run")
    (note,) = done.provenance["notes"]
    assert note.startswith("a checkpoint was not kept: cannot write ")
    assert bits(done) == bits(streamspread.analyze(model, x, "*", batch_size=10))


def test_it_is_written_as_seldom_as_its_cost_asks_for(tmp_path, monkeypatch):
    model, x = network("mlp", 100)
    now = [0.0]
    monkeypatch.setattr(keeping, "LEAST_SECONDS", 60.0)
    monkeypatch.setattr(keeping, "SHARE", 50.0)
    monkeypatch.setattr(keeping.time, "monotonic", lambda: now[0])
    written = []

    def write(header, tensors, path, ranks):
        now[0] += 4.0
        written.append(now[0])

    monkeypatch.setattr(keeping, "write_checkpoint", write)

    def a_second_each(event):
        now[0] += 10.0

    streamspread.analyze(model, x, "0", batch_size=1, checkpoint=tmp_path / "run", progress=a_second_each)
    first, *later = np.diff([0.0, *written[:-1]])  # the last one is at the end
    assert 60.0 <= first - 4.0 < 80.0
    assert all(200.0 <= gap - 4.0 < 220.0 for gap in later)
    assert len(later) >= 3


def test_batches_that_were_read_ahead_are_not_yet_seen(tmp_path, monkeypatch):
    """As on a card, where a thread reads batches before they are used, and what was seen of them."""
    monkeypatch.setattr(
        "streamspread.observe.passes.prefetch",
        lambda batches, device: in_background(batches, lambda batch: batch, 3),
    )
    model, x, layers, options = several("gram")
    whole = streamspread.analyze(model, Labelled(x), layers, **options)
    monkeypatch.setattr("streamspread.observe.passes._reads_ahead", lambda device: True)
    for data in (Labelled(x), in_batches(x), Stateful(x)):
        done, ends = resumed(model, data, layers, tmp_path / "run", 3, **options)
        assert ends > 1
        if isinstance(data, Labelled):
            assert bits(done) == bits(whole)
        assert done.provenance["data_seen"] == whole.provenance["data_seen"]


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_a_run_on_a_card_is_resumed_to_the_same_hash_and_nearly_the_same_sums(case, tmp_path):
    """Some operations of a card add up in another order each time."""
    model, x, layers, options = CASES[case]()
    options["device"] = "cuda"
    if options.get("rounding") == "int16":
        pytest.skip("int16 is the CPU's own")
    whole = streamspread.analyze(model, x, layers, **options)
    done, ends = resumed(model, x, layers, tmp_path / "run", 2, **options)
    assert ends >= 2
    assert done.provenance["data_seen"] == whole.provenance["data_seen"]
    for name in whole:
        np.testing.assert_allclose(done[name].total_variance, whole[name].total_variance, rtol=1e-6)
