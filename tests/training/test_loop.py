"""Training: it learns what can be learnt, keeps the best, repeats itself, and survives Ctrl-C."""

import math
import os
from dataclasses import fields
from types import SimpleNamespace

import pytest
import torch

from streamspread.datasets import Labelled
from streamspread.errors import DataError, DeviceError, ModelError, OptionError, WeightsError
from streamspread.models import load
from streamspread.models.network import build
from streamspread.models.weights import read_weights, rounded_state
from streamspread.system.tensors import checksum
from streamspread.training import Callbacks, Output, Recipe, check, evaluate, loop, setup, train, trainer
from streamspread.training.trainer import Trainer
from tests.trainings import separable

PLAN = "4,M,M,8"


TRAIN, TEST = separable(256, seed=1), separable(64, seed=2)


def quick(plan=PLAN, train_split=TRAIN, **options):
    """A training on the separable images; options are those of `train`, or of what it takes."""
    chosen = {"epochs": 4, "batch_size": 32, "lr": 0.2} | options
    recipe, output, callbacks = (
        kind(**{field.name: chosen.pop(field.name) for field in fields(kind) if field.name in chosen})
        for kind in (Recipe, Output, Callbacks)
    )
    rest = {"device": "cpu"} | chosen
    return train(plan, train_split, TEST, recipe, output=output, callbacks=callbacks, **rest)


def test_it_learns_separable_images_and_writes_what_it_says(tmp_path):
    reports = []
    path = tmp_path / "w.safetensors"
    result = quick(path=path, epoch=reports.append, command="train it", seed=7)
    assert result.accuracy > 0.9  # chance: 0.25
    assert result.history == tuple(reports)
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert reports[-1].loss < reports[0].loss
    assert result.best_epoch == 1 + max(range(4), key=lambda i: (reports[i].accuracy, -i))
    assert reports[-1].best_accuracy == max(report.accuracy for report in reports)
    assert result.last_accuracy == reports[-1].accuracy
    assert (result.epochs, result.interrupted, result.plan) == (4, False, PLAN)

    loaded = load(f"plan:{PLAN}", path)
    measured = evaluate(loaded.module, *TEST[:2])
    assert measured == result.accuracy
    assert loaded.weights_sha256 == result.sha256
    note = loaded.note
    assert note["accuracy"] == f"{measured:.4f}"
    assert note["accuracy_last_epoch"] == f"{result.last_accuracy:.4f}"
    assert (note["data"], note["command"], note["plan"]) == ("coloured noise", "train it", PLAN)
    assert (note["epochs"], note["seed"], note["train_images"]) == ("4", "7", "256")
    assert note["data_crc32"] == checksum(*TRAIN[:2], *TEST[:2])
    assert "torch" in note["versions"]
    assert "test split" in note["accuracy_of"]


def test_every_batch_is_reported_with_how_many_images_are_still_to_come():
    seen = []
    quick(epochs=2, batch_size=100, batch=lambda done, total: seen.append((done, total)))
    assert seen == [(100, 400), (200, 400), (300, 400), (400, 400)]  # a short last batch is left out


def test_the_same_seed_trains_the_same_network_and_another_seed_another():
    one, same, other = (rounded_state(quick(epochs=1, seed=seed).network) for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["c2.weight"], other["c2.weight"])


def test_the_seed_sets_the_order_and_the_augmentation_too(monkeypatch):
    monkeypatch.setattr(setup, "build", lambda steps, _: build(steps, 0))
    one, other = (quick(epochs=1, seed=seed).network for seed in (1, 2))
    assert not torch.equal(one.c2.weight, other.c2.weight)


def test_training_leaves_the_global_generator_and_the_images(tmp_path):
    before = torch.get_rng_state()
    images = TRAIN[0].clone()
    quick(epochs=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(TRAIN[0], images)


def test_the_best_epoch_is_kept_and_not_the_last(monkeypatch):
    accuracies = iter([0.3, 0.8, 0.8, 0.2, 0.7])
    states = []

    def said(network, *_, **__):
        states.append({key: value.clone() for key, value in network.state_dict().items()})
        return next(accuracies)

    monkeypatch.setattr(loop, "evaluate", said)
    result = quick()
    assert (result.best_epoch, result.last_accuracy, result.accuracy) == (2, 0.2, 0.7)
    assert not torch.equal(states[1]["c1.weight"], states[3]["c1.weight"])
    assert torch.equal(result.network.c1.weight, states[1]["c1.weight"].half().float())


def test_the_last_epoch_is_kept_as_it_was_trained_where_that_is_asked_for():
    seen = {}

    def step(network, number):
        seen[number] = network.c1.weight.detach().clone()
        network.eval()  # as a measurement leaves it

    result = quick(keep="last", step=step)
    assert list(seen) == list(range(33))
    assert (result.best_epoch, result.steps, result.epochs) == (4, 32, 4)
    assert all(math.isnan(report.accuracy) for report in result.history)
    assert torch.equal(result.network.c1.weight, seen[32])
    assert not torch.equal(seen[32], seen[32].half().float())
    assert result.accuracy == evaluate(result.network, *TEST[:2])
    assert torch.equal(quick(epoch=lambda _: None, keep="last").network.c1.weight, seen[32])
    with pytest.raises(OptionError, match="a file holds the best epoch"):
        Output(path="w.safetensors", keep="last")


def test_time_that_a_step_is_looked_at_is_not_the_trainings(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    result = quick(epochs=1, step=lambda *_: now.append(now.pop() + 10.0))
    assert (result.history[0].seconds, now) == (0.0, [90.0])


def test_ctrl_c_keeps_the_best_so_far(tmp_path):
    def stop(report):
        if report.epoch == 2:
            raise KeyboardInterrupt

    path = tmp_path / "w.safetensors"
    result = quick(epochs=50, path=path, epoch=stop)
    assert result.interrupted
    assert (result.epochs, len(result.history)) == (2, 2)
    assert read_weights(path)[1]["epochs"] == "2 of 50"
    assert evaluate(load(f"plan:{PLAN}", path).module, *TEST[:2]) == result.accuracy


def test_ctrl_c_within_an_epoch_keeps_the_epochs_before():
    def stop(done, _):
        if done > 2 * len(TRAIN[1]):
            raise KeyboardInterrupt

    result = quick(batch=stop)
    assert (result.interrupted, result.epochs) == (True, 2)


def test_ctrl_c_before_any_epoch_has_ended_leaves_nothing(tmp_path):
    def stop(*_):
        raise KeyboardInterrupt("stop now")

    with pytest.raises(KeyboardInterrupt, match="stop now"):
        quick(path=tmp_path / "w.safetensors", batch=stop)
    assert list(tmp_path.iterdir()) == []


def test_training_goes_on_from_weights_and_says_so(tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    began = quick(path=first, command="the first", epochs=8)
    result = quick(path=second, weights=first, epochs=1, lr=1e-6)
    assert result.accuracy == began.accuracy  # at next to no learning rate they stay what they were
    note = read_weights(second)[1]
    assert note["began_with_sha256"] == began.sha256
    assert note["began_with_command"] == "the first"
    assert note["began_with_accuracy"] == f"{began.accuracy:.4f}"
    assert note["epochs_before"] == "8"
    quick(path=first, weights=second, epochs=1)
    assert read_weights(first)[1]["epochs_before"] == "9"
    with pytest.raises(WeightsError, match=r"do not fit .* written for the plan 4,M,M,8\)"):
        quick("4,M,8,8", weights=first)
    with pytest.raises(WeightsError, match="cannot read weights from"):
        quick(weights=tmp_path / "none.safetensors")


def test_the_label_smoothing_of_every_training_stays_known(tmp_path):
    path = tmp_path / "w.safetensors"

    def noted(weights, smoothing):
        quick(path=path, weights=weights, epochs=1, label_smoothing=smoothing)
        note = read_weights(path)[1]
        return note.get("label_smoothing_before"), note["label_smoothing"]

    assert noted(None, 0.1) == (None, "0.1")
    assert noted(path, 0.1) == ("0.1", "0.1")
    assert noted(path, 0.0) == ("0.1", "0")
    assert noted(path, 0.0) == ("0.1, 0", "0")
    assert noted(path, 0.2) == ("0.1, 0", "0.2")


def test_averaged_weights_are_the_mean_of_those_of_every_step(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    quick(path=path)
    seen = []
    real = Trainer.run_epoch

    def spied(trainer, *_):
        def keep(*_):
            seen.append({key: p.detach().clone() for key, p in trainer.network.named_parameters()})

        return real(trainer, keep)

    monkeypatch.setattr(Trainer, "run_epoch", spied)
    judged = []
    monkeypatch.setattr(loop, "evaluate", lambda network, *_: judged.append(network) or len(judged) / 10)
    quick(weights=path, average=True, epochs=2, lr=0.05)
    assert len(seen) == 16
    trained = dict(judged[1].named_parameters())  # of the last epoch, before it is stored
    for key in seen[0]:
        mean = torch.stack([step[key] for step in seen]).double().mean(0)
        assert not torch.equal(seen[0][key], seen[-1][key])
        torch.testing.assert_close(trained[key].double(), mean, rtol=1e-4, atol=1e-6)


def test_the_statistics_of_batch_norm_belong_to_the_averaged_weights(tmp_path):
    path = tmp_path / "w.safetensors"
    quick(path=path)
    result = quick(weights=path, average=True, epochs=3, lr=0.2, path=tmp_path / "mean.safetensors")
    network = result.network
    outputs = []
    network.c2.register_forward_hook(lambda module, inputs, x_NCHW: outputs.append(x_NCHW))
    evaluate(network, *TRAIN[:2])
    measured = outputs[0].var(dim=(0, 2, 3))
    # Augmented images, rounded weights: not quite these. The last step's statistics are off by much more.
    assert ((network.c2.bn.running_var - measured).abs() < 0.15 * measured.max()).all()
    assert result.accuracy > 0.9
    note = read_weights(tmp_path / "mean.safetensors")[1]
    assert (note["schedule"], note["lr"]) == ("constant, weights averaged", "0.2")


def test_bf16_and_fp32_both_learn_and_are_recorded(tmp_path):
    results = {}
    for precision in ("bf16", "fp32"):
        path = tmp_path / f"{precision}.safetensors"
        results[precision] = quick(precision=precision, path=path)
        assert results[precision].accuracy > 0.9
        assert read_weights(path)[1]["precision"] == precision
    assert results["bf16"].sha256 != results["fp32"].sha256


def test_fewer_images_than_a_batch_are_one_batch():
    assert quick(epochs=2, batch_size=1000).epochs == 2


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (TRAIN[0].float(), TRAIN[1], r"train images must be uint8 \(N, 3, 32, 32\), not torch.float32"),
        (TRAIN[0][:, :1], TRAIN[1], r"train images must be .* not torch.uint8 \(256, 1, 32, 32\)"),
        (
            TRAIN[0],
            TRAIN[1][:5],
            r"train labels must be int64 \(256,\), one per image, not torch.int64 \(5,\)",
        ),
        (TRAIN[0], TRAIN[1].int(), r"train labels must be int64 .* not torch.int32"),
        (TRAIN[0], TRAIN[1] + 7, "train labels must lie in 0 to 9, but they reach from 7 to 10"),
        (TRAIN[0], TRAIN[1] - 1, "train labels must lie in 0 to 9, but they reach from -1 to 2"),
        (TRAIN[0][:1], TRAIN[1][:1], "the train split has 1 images; training needs at least 2"),
    ],
)
def test_other_tensors_are_refused(images, labels, message):
    with pytest.raises(DataError, match=message):
        train(PLAN, Labelled(images, labels, "other"), TEST, device="cpu")
    with pytest.raises(DataError, match=message.replace("train", "test", 1)):
        train(PLAN, TRAIN, Labelled(images, labels, "other"), device="cpu")


def test_a_place_that_cannot_be_written_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "run_epoch", lambda *_: pytest.fail("it trained"))
    with pytest.raises(WeightsError, match=r"the folder '.*missing' does not exist: make it first"):
        quick(path=tmp_path / "missing" / "w.safetensors")
    with pytest.raises(WeightsError, match=r"must end in \.safetensors"):
        quick(path=tmp_path / "w.pt")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(WeightsError, match=r"folder\.safetensors': it is a folder"):
        quick(path=tmp_path / "folder.safetensors")
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(WeightsError, match=r"pipe\.safetensors': it is not a regular file"):
        quick(path=tmp_path / "pipe.safetensors")
    with pytest.raises(WeightsError, match=r"'.*caf\\udce9\.safetensors': the name is not UTF-8"):
        quick(path=tmp_path / os.fsdecode(b"caf\xe9.safetensors"))
    with pytest.raises(WeightsError, match="File name too long: give another path"):
        quick(path=tmp_path / f"{'n' * 300}.safetensors")


def test_a_file_that_may_not_be_replaced_stays_and_the_new_one_gets_a_number(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"old")
    result = quick(epochs=1, path=path, replace=False)
    assert path.read_bytes() == b"old"
    assert result.path == tmp_path / "w-2.safetensors"
    assert read_weights(result.path)[2] == result.sha256


def test_what_needs_no_images_can_be_checked_without_them(tmp_path):
    path = tmp_path / "w.safetensors"
    check(PLAN, device="cpu", out=path)
    assert not path.exists()
    with pytest.raises(ModelError, match="unknown reference network 'no9'"):
        check("no9")
    with pytest.raises(DeviceError, match="device meta is not supported: use auto, cpu or cuda:0"):
        check(PLAN, device="meta")
    with pytest.raises(WeightsError, match=r"must end in \.safetensors"):
        check(PLAN, out=tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="cannot read weights from"):
        check(PLAN, weights=path)
    with pytest.raises(OptionError, match="averaging goes on from trained weights"):
        check(PLAN, Recipe(average=True))


def test_accuracy_counts_every_image_once(monkeypatch):
    monkeypatch.setattr(trainer, "EVALUATION_BATCH", 3)
    logits = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 3, 4, 5, 6]), 10).float()
    labels = torch.tensor([0, 1, 2, 0, 4, 5, 0])
    module = torch.nn.Identity().train()
    assert evaluate(module, logits, labels) == 5 / 7
    assert not module.training


@pytest.mark.gpu
def test_it_learns_on_the_gpu(tmp_path):
    path = tmp_path / "w.safetensors"
    result = quick(device="auto", path=path)
    assert result.accuracy > 0.9
    assert next(result.network.parameters()).is_cuda
    assert abs(evaluate(load(f"plan:{PLAN}", path).module, *TEST[:2]) - result.accuracy) <= 1 / 64
    assert read_weights(path)[1]["device"] == torch.cuda.get_device_name()
