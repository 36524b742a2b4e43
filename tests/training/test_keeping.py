"""A training that is kept and resumed ends with the bits of one that nobody disturbed; others are refused."""

import dataclasses
import os
import signal

import pytest

from streamspread.errors import OptionError, StoreError
from streamspread.models.weights import read_weights
from streamspread.store import keeping
from streamspread.training import Callbacks, Output, check, train
from streamspread.training.trainer import Trainer
from tests.trainings import RECIPE, TEST, TRAIN, digest, separable

PLAN = "4,M,8"


class Stop(Exception):
    """Ends a training as no signal does."""


@pytest.fixture(autouse=True)
def _after_every_batch(monkeypatch):
    monkeypatch.setattr(keeping, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(keeping, "SHARE", 0.0)


def run(path=None, stop=None, out=None, data=(TRAIN, TEST), plan=PLAN, weights=None, keep="best", **options):
    """A training of 3 epochs of 4 batches, which ``stop(number of the batch)`` may end."""
    count = [0]

    def batch(done, total):
        count[0] += 1
        if stop is not None:
            stop(count[0])

    recipe = dataclasses.replace(RECIPE, **options)
    output = Output(path=out, checkpoint=path, keep=keep)
    return train(
        plan,
        *data,
        recipe,
        weights=weights,
        device="cpu",
        output=output,
        callbacks=Callbacks(batch=batch),
    )


def after(batches):
    def stop(number):
        if number == batches:
            raise Stop

    return stop


def sending(number, batch):
    """A signal in the middle of a batch."""

    def stop(at):
        if at == batch:
            os.kill(os.getpid(), number)

    return stop


def resumed(path, every, **options):
    """A training that ends after so many batches, again and again; how often it did."""
    ends = 0
    while True:
        try:
            return run(path, after(every), **options), ends
        except Stop:
            ends += 1
            assert path.is_file()
            assert ends < 20


@pytest.mark.parametrize(
    ("case", "every"),
    [("as it is", 1), ("averaged", 3), ("not augmented", 4), ("spread", 3), ("the last epoch", 5)],
)
def test_a_training_that_is_ended_again_and_again_has_the_bits_of_one_that_is_not(
    case, every, tmp_path, monkeypatch
):
    options = {}
    if case == "averaged":
        options = {"average": True, "weights": tmp_path / "first.safetensors"}
        run(out=tmp_path / "first.safetensors", epochs=1)
    if case == "spread":
        options = {"spread_layers": ("c2",)}
    if case == "the last epoch":
        options = {"keep": "last"}
    if case == "not augmented":
        monkeypatch.setattr(Trainer, "_augmented", lambda self, chosen: self.split.images[chosen])
    want = run(**options)
    done, ends = resumed(tmp_path / "kept", every, **options)
    assert ends == 12 // every
    assert digest(done) == digest(want)
    assert [(one.loss, str(one.accuracy)) for one in done.history] == [
        (one.loss, str(one.accuracy)) for one in want.history
    ]
    assert done.best_epoch == want.best_epoch
    assert not (tmp_path / "kept").exists()
    assert done.notes[0].startswith("resumed from a checkpoint, epoch ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_keeps_the_training_and_the_best_and_the_last_epoch(number, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "streamspread.training.loop.evaluate", judged := Judged([0.9, 0.5, 0.5, 0.9])
    )  # two epochs, and the stored weights of both
    path, out = tmp_path / "kept", tmp_path / "w.safetensors"
    ended = run(path, sending(number, 9), out)
    assert (ended.interrupted, ended.epochs, ended.best_epoch) == (True, 2, 1)
    assert (ended.path, ended.last_path) == (out, tmp_path / "w-last.safetensors")
    best, last = (read_weights(one)[1] for one in (ended.path, ended.last_path))
    assert (best["epochs"], best["best_epoch"], best["accuracy"]) == ("2 of 3", "1", "0.9000")
    assert (last["accuracy"], last["accuracy_of"].endswith("of the last epoch that ended")) == (
        "0.5000",
        True,
    )
    assert judged.left == []
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert path.is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_after_a_signal_it_goes_on_to_the_same_bits(number, tmp_path):
    want = digest(run())
    path, out = tmp_path / "kept", tmp_path / "w.safetensors"
    assert run(path, sending(number, 6), out).interrupted
    assert read_weights(out)[1]["epochs"] == "1 of 3"
    done = run(path, out=out)  # what it had come to before is no other training's
    assert (digest(done), done.path) == (want, out)
    assert read_weights(out)[1]["epochs"] == "3"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["w.safetensors"]


class Judged:
    """Stands for the accuracy of one epoch after the other."""

    def __init__(self, said):
        self.left = said

    def __call__(self, *_, **__):
        return self.left.pop(0)


def test_finished_weights_are_not_replaced_by_those_of_a_training_that_was_interrupted(tmp_path):
    out = tmp_path / "w.safetensors"
    whole = run(out=out)
    content = out.read_bytes()
    ended = run(None, sending(signal.SIGINT, 6), out)
    assert (ended.interrupted, ended.path) == (True, tmp_path / "w-2.safetensors")
    assert out.read_bytes() == content
    assert run(out=out, epochs=1).path == out  # asked for
    assert read_weights(out)[2] != whole.sha256


def test_what_the_same_training_had_come_to_before_is_replaced_by_more_and_never_by_less(tmp_path):
    out = tmp_path / "w.safetensors"
    first = run(None, sending(signal.SIGINT, 6), out)
    more = run(None, sending(signal.SIGINT, 10), out)
    assert (first.path, more.path) == (out, out)
    assert read_weights(out)[1]["epochs"] == "2 of 3"
    less = run(None, sending(signal.SIGINT, 6), out)
    other = run(None, sending(signal.SIGINT, 10), out, seed=5)
    assert [less.path.name, other.path.name] == ["w-2.safetensors", "w-3.safetensors"]


@pytest.mark.parametrize(
    ("said", "change"),
    [
        ("option epochs was 3, and is 4", {"epochs": 4}),
        (r"option lr was 0\.1, and is 0\.2", {"lr": 0.2}),
        ("option seed was 0, and is 1", {"seed": 1}),
        ("option batch_size was 16, and is 8", {"batch_size": 8}),
        ("the network was 4,M,8, and is 4,M,6", {"plan": "4,M,6"}),
        ("the precision was fp32, and is bf16", {"precision": "bf16"}),
        ("the number of train images was 64, and is 60", {"data": (separable(60, 1), TEST)}),
        ("the checksum of the train images was ", {"data": (separable(64, 3), TEST)}),
        ("the checksum of the test images was ", {"data": (TRAIN, separable(32, 4))}),
    ],
)
def test_another_training_is_refused_and_the_checkpoint_left(said, change, tmp_path):
    with pytest.raises(Stop):
        run(tmp_path / "kept", after(2))
    content = (tmp_path / "kept").read_bytes()
    if "precision" in change:
        said = "option precision was fp32, and is bf16"
    with pytest.raises(StoreError, match=f"of another run: {said}"):
        run(tmp_path / "kept", **change)
    assert (tmp_path / "kept").read_bytes() == content


def test_other_first_weights_are_another_training(tmp_path):
    run(out=tmp_path / "first.safetensors", epochs=1)
    with pytest.raises(Stop):
        run(tmp_path / "kept", after(2))
    with pytest.raises(StoreError, match="the hash of the first weights was "):
        run(tmp_path / "kept", weights=tmp_path / "first.safetensors")


def test_a_checkpoint_that_is_damaged_is_one_line(tmp_path):
    with pytest.raises(Stop):
        run(tmp_path / "kept", after(2))
    whole = (tmp_path / "kept").read_bytes()
    (tmp_path / "kept").write_bytes(whole.replace(b'"trainer.generator"', b'"trainer.genexator"'))
    with pytest.raises(StoreError, match=r"kept' is damaged \(its checksum differs\): remove it"):
        run(tmp_path / "kept")
    (tmp_path / "kept").write_bytes(whole[:-100])
    with pytest.raises(StoreError, match="is no whole checkpoint"):
        check(PLAN, checkpoint=tmp_path / "kept")


def test_places_where_no_checkpoint_can_be_are_refused_before_any_image_is_read(tmp_path):
    (tmp_path / "notes.txt").write_text("not to be lost")
    with pytest.raises(StoreError, match="is no whole checkpoint"):
        check(PLAN, checkpoint=tmp_path / "notes.txt")
    with pytest.raises(StoreError, match="does not exist: make it first"):
        check(PLAN, checkpoint=tmp_path / "none" / "kept")
    with pytest.raises(StoreError, match="is a folder"):
        check(PLAN, checkpoint=tmp_path)
    one = tmp_path / "w.safetensors"
    with pytest.raises(OptionError, match=r"--checkpoint and --out name one file, .*: give two"):
        check(PLAN, out=one, checkpoint=one)
    assert (tmp_path / "notes.txt").read_text() == "not to be lost"


def test_a_loss_that_is_not_finite_leaves_no_checkpoint(tmp_path):
    with pytest.raises(OptionError, match="the training loss became"):
        run(tmp_path / "kept", lr=1e30)
    assert list(tmp_path.iterdir()) == []
