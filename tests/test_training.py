"""Training: it learns what can be learnt, keeps the best, repeats itself, and survives Ctrl-C."""

import math

import pytest
import torch

from streamspread import training
from streamspread.errors import DataError, DeviceError, ModelError, OptionError, WeightsError
from streamspread.models import load
from streamspread.models.network import build
from streamspread.models.weights import read_weights, rounded_state
from streamspread.training import augment, evaluate, one_cycle, train

PLAN = "4,M,M,8"
CUDA = torch.device("cuda")


def separable(count, seed):
    """Noise whose brightness, in one of three colours, tells the class: four classes, the last one dark."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    images = torch.randint(0, 100, (count, 3, 32, 32), generator=generator)
    for colour in range(3):
        images[labels == colour, colour] += 100
    return images.to(torch.uint8), labels


TRAIN, TEST = separable(256, seed=1), separable(64, seed=2)


def quick(plan=PLAN, **options):
    options = {"epochs": 4, "batch_size": 32, "lr": 0.2, "device": "cpu"} | options
    return train(plan, *TRAIN, *TEST, **options)


def test_it_learns_separable_images_and_writes_what_it_says(tmp_path):
    reports = []
    path = tmp_path / "w.safetensors"
    result = quick(out=path, progress=reports.append, data="coloured noise", command="train it", seed=7)
    assert result.accuracy > 0.9  # chance: 0.25
    assert result.history == tuple(reports)
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert reports[-1].loss < reports[0].loss
    assert result.best_epoch == 1 + max(range(4), key=lambda i: (reports[i].accuracy, -i))
    assert reports[-1].best_accuracy == max(report.accuracy for report in reports)
    assert result.last_accuracy == reports[-1].accuracy
    assert (result.epochs, result.interrupted, result.plan) == (4, False, PLAN)

    loaded = load(f"plan:{PLAN}", path)
    measured = evaluate(loaded.module, *TEST)
    assert measured == result.accuracy
    assert loaded.weights_sha256 == result.sha256
    note = loaded.note
    assert note["accuracy"] == f"{measured:.4f}"
    assert note["accuracy_last_epoch"] == f"{result.last_accuracy:.4f}"
    assert (note["data"], note["command"], note["plan"]) == ("coloured noise", "train it", PLAN)
    assert (note["epochs"], note["seed"], note["train_images"]) == ("4", "7", "256")
    assert "torch" in note["versions"]
    assert "test split" in note["accuracy_of"]


def test_every_batch_is_reported_with_how_many_images_are_still_to_come():
    seen = []
    quick(epochs=2, batch_size=100, on_batch=lambda done, total: seen.append((done, total)))
    assert seen == [(100, 400), (200, 400), (300, 400), (400, 400)]  # a short last batch is left out


def test_the_result_holds_the_network_as_stored():
    result = quick(epochs=1)
    assert (result.path, result.sha256) == (None, None)
    assert not result.network.training
    for key, value in rounded_state(result.network).items():
        assert torch.equal(value.float(), result.network.state_dict()[key])


def test_the_same_seed_trains_the_same_network_and_another_seed_another():
    one, same, other = (rounded_state(quick(epochs=1, seed=seed).network) for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["c2.weight"], other["c2.weight"])


def test_the_seed_sets_the_order_and_the_augmentation_too(monkeypatch):
    monkeypatch.setattr(training, "build", lambda steps, _: build(steps, 0))
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

    monkeypatch.setattr(training, "evaluate", said)
    result = quick()
    assert (result.best_epoch, result.last_accuracy, result.accuracy) == (2, 0.2, 0.7)
    assert not torch.equal(states[1]["c1.weight"], states[3]["c1.weight"])
    assert torch.equal(result.network.c1.weight, states[1]["c1.weight"].half().float())


def test_ctrl_c_keeps_the_best_so_far(tmp_path):
    def stop(report):
        if report.epoch == 2:
            raise KeyboardInterrupt

    path = tmp_path / "w.safetensors"
    result = quick(epochs=50, out=path, progress=stop)
    assert result.interrupted
    assert (result.epochs, len(result.history)) == (2, 2)
    assert read_weights(path)[1]["epochs"] == "2 of 50"
    assert evaluate(load(f"plan:{PLAN}", path).module, *TEST) == result.accuracy


def test_ctrl_c_within_an_epoch_keeps_the_epochs_before():
    def stop(done, _):
        if done > 2 * len(TRAIN[1]):
            raise KeyboardInterrupt

    result = quick(on_batch=stop)
    assert (result.interrupted, result.epochs) == (True, 2)


def test_ctrl_c_before_any_epoch_has_ended_leaves_nothing(tmp_path):
    def stop(*_):
        raise KeyboardInterrupt("stop now")

    with pytest.raises(KeyboardInterrupt, match="stop now"):
        quick(out=tmp_path / "w.safetensors", on_batch=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_learning_rate_that_is_far_too_high_is_told(tmp_path):
    with pytest.raises(
        OptionError, match=r"the training loss became (nan|inf) in epoch 1 .* try a lower one"
    ):
        quick(lr=1e30, out=tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_fewer_images_than_a_batch_are_one_batch():
    assert quick(epochs=2, batch_size=1000).epochs == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"batch_size": 1}, "batch size must be at least 2"),
        ({"lr": 0.0}, "learning rate must be a number above 0, not 0"),
        ({"lr": math.nan}, "learning rate must be a number above 0, not nan"),
        ({"label_smoothing": 1.0}, "label smoothing must be at least 0 and below 1"),
        ({"seed": -1}, "the seed must be a whole number"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        quick(**options)


@pytest.mark.parametrize("plan", ["no9", "plan:4,Q", [4, 0]])
def test_a_bad_plan_is_refused(plan):
    with pytest.raises(ModelError, match=r"unknown reference network|is neither"):
        quick(plan)


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
        train(PLAN, images, labels, *TEST, device="cpu")
    with pytest.raises(DataError, match=message.replace("train", "test", 1)):
        train(PLAN, *TRAIN, images, labels, device="cpu")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("tpu9", "unknown device 'tpu9'"),
        ("cuda:99", "there is no device cuda:99 here"),
        ("meta", "not on meta"),
    ],
)
def test_a_device_that_is_not_there_is_refused(device, message):
    with pytest.raises(DeviceError, match=message):
        quick(device=device)


def test_a_place_that_cannot_be_written_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(training._Trainer, "run_epoch", lambda *_: pytest.fail("it trained"))
    with pytest.raises(WeightsError, match="is not a folder one can write to"):
        quick(out=tmp_path / "missing" / "w.safetensors")
    with pytest.raises(WeightsError, match=r"must end in \.safetensors"):
        quick(out=tmp_path / "w.pt")


def test_augmented_images_are_shifted_reflected_and_mirrored_ones():
    count = 300
    image = torch.randint(
        0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    image = image.contiguous(memory_format=torch.channels_last)
    out = augment(image, torch.ones(count, dtype=torch.int64), torch.Generator().manual_seed(1))
    assert out.shape == (count, 3, 32, 32)
    assert out.dtype == torch.uint8
    assert out.is_contiguous(memory_format=torch.channels_last)
    padded = torch.nn.functional.pad(image[1].float(), (4, 4, 4, 4), mode="reflect").to(torch.uint8)
    crops = {}  # every crop that may come out, by its bytes
    for down in range(9):
        for right in range(9):
            crop = padded[:, down : down + 32, right : right + 32]
            crops[crop.numpy().tobytes()] = (down, right, False)
            crops[crop.flip(2).contiguous().numpy().tobytes()] = (down, right, True)
    drawn = [crops[one.contiguous().numpy().tobytes()] for one in out]
    assert {down for down, _, _ in drawn} == set(range(9))
    assert {choice[1:] for choice in drawn} == {(right, flip) for right in range(9) for flip in (False, True)}
    assert 0.35 < sum(mirrored for *_, mirrored in drawn) / count < 0.65


def test_augmentation_takes_the_chosen_images():
    images = torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(10, 3, 32, 32)
    chosen = torch.tensor([7, 0, 7, 3])
    assert augment(images, chosen, torch.Generator())[:, 0, 0, 0].tolist() == chosen.tolist()


def test_the_learning_rate_rises_to_its_peak_and_falls_to_almost_nothing():
    rates = [one_cycle(step, 100, 0.4) for step in range(100)]
    top = rates.index(max(rates))
    assert 20 <= top <= 30
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0.39 < max(rates) <= 0.4
    assert 0 < rates[0] < 0.02
    assert 0 < rates[-1] < 0.001
    assert 0 < one_cycle(0, 1, 0.4) <= 0.4


def test_accuracy_counts_every_image_once(monkeypatch):
    monkeypatch.setattr(training, "EVALUATION_BATCH", 3)
    logits = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 3, 4, 5, 6]), 10).float()
    labels = torch.tensor([0, 1, 2, 0, 4, 5, 0])
    module = torch.nn.Identity().train()
    assert evaluate(module, logits, labels) == 5 / 7
    assert not module.training


def settings():
    """cuDNN's search, and whether convolutions and matrix products may use TF32."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if hasattr(cudnn, "conv"):
        return cudnn.benchmark, cudnn.conv.fp32_precision == "tf32", matmul.fp32_precision == "tf32"
    return cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32


@pytest.mark.parametrize("tf32", [True, False])
def test_cuda_settings_are_made_and_restored_also_after_an_error(tf32):
    # The switches can be set without a CUDA device.
    before, within = settings(), []

    def fail():
        within.append(settings())
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), training._cuda_settings(CUDA, tf32=tf32):
        fail()
    assert within == [(True, tf32, tf32)]
    assert settings() == before
    with training._cuda_settings(torch.device("cpu"), tf32=tf32):
        assert settings() == before


@pytest.mark.gpu
def test_it_learns_on_the_gpu_and_leaves_its_settings(tmp_path):
    before = settings()
    path = tmp_path / "w.safetensors"
    result = quick(device="auto", out=path)
    assert result.accuracy > 0.9
    assert next(result.network.parameters()).is_cuda
    assert settings() == before
    assert abs(evaluate(load(f"plan:{PLAN}", path).module, *TEST) - result.accuracy) <= 1 / 64
    assert read_weights(path)[1]["device"] == torch.cuda.get_device_name()
