"""``train`` for real on a handful of images, and what Ctrl-C keeps."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from streamspread import models
from streamspread.training import loop


@pytest.fixture
def photos(tmp_path):
    """folder: data with two classes, dark and light, in train and test; 8 images each."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name, level in (("dark", 40), ("light", 200)):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for index in range(8):
                pixels = rng.integers(level - 30, level + 30, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "photos"


TINY = ["--model", "plan:4,M", "--epochs", "2", "--batch-size", "8", "--lr", "0.05", "--device", "cpu"]


def test_training_writes_weights_that_run_takes(cli, photos, tmp_path):
    code, out, err = cli("train", *TINY, "--data", f"folder:{photos}", "--out", "w.safetensors")
    assert code == 0
    assert re.search(r"^4,M: \d+\.\d\d% of the test images right \(epoch [12] of 2, ", out)
    assert re.search(r"^epoch 1 of 2: loss .*, about \d+ s left$", err, re.MULTILINE)
    assert re.search(r"^epoch 2 of 2: .* \(best [\d.]+%\)$", err, re.MULTILINE)
    network, images, steps = err.splitlines()[:3]
    assert re.fullmatch(r"plan:4,M: \d+ parameters, random weights", network)
    assert images.endswith("photos train, 16 images, at 32x32; tested on 16")
    assert re.fullmatch(r"2 epochs of 2 steps of 8 images, \w+ on cpu; writes w.safetensors", steps)
    assert err.endswith("wrote w.safetensors\n")
    loaded = models.load("plan:4,M", tmp_path / "w.safetensors")
    assert loaded.weights_sha256 is not None
    assert "streamspread train --model plan:4,M" in loaded.note["command"]
    assert loaded.note["label_smoothing"] == "0"
    run = ["run", "--model", "plan:4,M", "--weights", "w.safetensors", "--data", f"folder:{photos}"]
    code, out, _ = cli(*run, "--device", "cpu", "--layers", "gap", "--out", "x.arrow")
    assert code == 0
    assert "w.safetensors weights" in out.splitlines()[0]


def test_training_goes_on_from_a_file_and_averages(cli, photos, tmp_path):
    data = ("--data", f"folder:{photos}")
    assert cli("train", *TINY, *data, "--out", "first.safetensors")[0] == 0
    on = ("--weights", "first.safetensors", "--average", "--precision", "fp32", "--out", "mean.safetensors")
    code, out, _ = cli("train", *TINY, *data, *on)
    assert code == 0
    assert "of the test images right" in out
    note = models.load("plan:4,M", tmp_path / "mean.safetensors").note
    assert (note["schedule"], note["precision"]) == ("constant, weights averaged", "fp32")
    assert "--average" in note["command"]
    assert "--out first.safetensors" in note["began_with_command"]


def test_layers_that_are_spread_are_in_the_note_and_change_the_weights(cli, photos, tmp_path):
    data = ("--data", f"folder:{photos}", "--model", "plan:4,M,4", "--quiet")
    spread = ("--spread-layers", "c2", "--spread-weight", "1", "--spread-target", "none")
    assert cli("train", *TINY, *data, *spread, "--out", "spread.safetensors")[0] == 0
    assert cli("train", *TINY, *data, "--out", "plain.safetensors")[0] == 0
    plain, changed = (
        models.load("plan:4,M,4", tmp_path / f"{name}.safetensors") for name in ("plain", "spread")
    )
    assert changed.note["spread_layers"] == "c2"
    assert (changed.note["spread_weight"], changed.note["spread_target"]) == ("1", "none")
    assert "spread_layers" not in plain.note
    assert not changed.module.c1.weight.equal(plain.module.c1.weight)


def test_quiet_training_prints_the_outcome_only(cli, photos):
    code, out, err = cli("train", *TINY, "--data", f"folder:{photos}", "--out", "w.safetensors", "--quiet")
    assert (code, err) == (0, "")
    assert out.count("\n") == 1


def test_ctrl_c_keeps_the_best_epoch_so_far(cli, photos, tmp_path, monkeypatch):
    real = loop.evaluate
    evaluated = []

    def interrupt_in_the_second_epoch(*args, **options):
        evaluated.append(1)
        if len(evaluated) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(loop, "evaluate", interrupt_in_the_second_epoch)
    code, out, err = cli("train", *TINY, "--data", f"folder:{photos}", "--out", "w.safetensors")
    assert code == 130
    assert "(epoch 1 of 1, " in out
    assert err.endswith("wrote w.safetensors\ninterrupted\n")
    assert "interrupted after epoch 1 of 2: the weights of epoch 1, the best so far, are kept" in err
    assert models.load("plan:4,M", tmp_path / "w.safetensors").note["epochs"] == "1 of 2"


def test_ctrl_c_before_an_epoch_has_ended_says_that_nothing_is_kept(cli, photos, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "evaluate", interrupt)
    code, out, err = cli("train", *TINY, "--data", f"folder:{photos}", "--out", "w.safetensors")
    assert (code, out) == (130, "")
    assert err.endswith("no weights are kept, since no epoch had ended\ninterrupted\n")
    assert not (tmp_path / "w.safetensors").exists()


def test_so_many_samples_are_drawn_with_the_seed(cli, photos, tmp_path):
    arguments = ("train", *TINY, "--data", f"folder:{photos}", "--out", "w.safetensors", "--samples")
    assert cli(*arguments, "9", "--seed", "3").code == 0
    note = models.load("plan:4,M", tmp_path / "w.safetensors").note
    assert (note["train_images"], note["test_images"]) == ("9", "16")
    assert "9 of 16 images (seed 3)" in note["data"]
    code, _, err = cli(*arguments, "17")
    assert (code, err.splitlines()[-1][:6]) == (2, "error:")
    assert "17 samples asked for, but there are 16" in err


def test_without_out_no_file_that_is_there_is_replaced(cli, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("streamspread.cli.commands.train.dated_name", lambda *_: Path("w.safetensors"))
    for name in ("w.safetensors", "w-2.safetensors"):
        code, _, err = cli("train", *TINY, "--data", f"folder:{photos}")
        assert code == 0
        assert err.endswith(f"wrote {name}\n")
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        "w-2.safetensors",
        "w.safetensors",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "no5"], "no5"),
        (["--device", "cuda:9"], "cuda:9"),
        (["--out", "w.txt"], r"w\.txt"),
        (["--weights", "none.safetensors"], r"cannot read weights from none\.safetensors"),
        (["--average"], "averaging goes on from trained weights"),
        (["--spread-layers", "c9"], "no layer matches 'c9': nearest are c1, c1.bn"),
        (["--spread-layers", "c1"], "no layer runs before c1, whose spread could be its target"),
        (["--spread-target", "much"], "target of spreading must be 'previous', none or a number"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_needs_no_images_is_said_before_any_is_read(cli, monkeypatch, arguments, words):
    monkeypatch.setattr("streamspread.api.train.load_splits", lambda *_: pytest.fail("images were read"))
    code, out, err = cli("train", *TINY, "--data", "folder:photos", "--out", "w.safetensors", *arguments)
    assert (code, out) == (2, "")
    assert re.match(rf"error: .*{words}.*\n\Z", err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "noise"], "training needs a label for every image"),
        (["--data", "folder:photos/train"], "training needs train and test images"),
        (["--data", "cifar10"], "CIFAR-10 in .* is broken"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--lr", "-1"], "learning rate"),
        (["--label-smoothing", "1"], "label smoothing must be"),
        (["--precision", "fp64"], "the precision must be one of auto, bf16, fp32"),
        (["--out", "missing/w.safetensors"], "missing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(cli, photos, tmp_path, arguments, words):
    defaults = [*TINY, "--data", f"folder:{photos}", "--out", "w.safetensors"]
    code, out, err = cli("train", *defaults, *arguments)
    assert (code, out) == (2, "")
    assert re.match(rf"error: .*{words}.*\n\Z", err)
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_training_that_is_interrupted_goes_on_from_its_checkpoint(cli, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("streamspread.store.keeping.LEAST_SECONDS", 0.0)
    monkeypatch.setattr("streamspread.store.keeping.SHARE", 0.0)
    line = ("train", *TINY, "--data", f"folder:{photos}", "--out", "w.safetensors", "--checkpoint", "kept")
    ended = []

    def stop_once(report):
        if not ended:
            ended.append(report)
            raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr("streamspread.cli.commands.train.epoch_line", lambda quiet: stop_once)
        code, _, err = cli(*line)
    assert code == 130
    assert err.endswith(
        "wrote w.safetensors\nkept in kept: the same command goes on from there\ninterrupted\n"
    )
    code, _, err = cli(*line)
    assert code == 0
    assert "resumed from a checkpoint, epoch 1, 2 batches into it\nwrote w.safetensors\n" in err
    assert not (tmp_path / "kept").exists()
    resumed = models.load("plan:4,M", tmp_path / "w.safetensors")
    assert (resumed.note["epochs"], "resumed" in resumed.note["notes"]) == ("2", True)
    assert cli(*line[:-2], "--out", "whole.safetensors")[0] == 0
    whole = models.load("plan:4,M", tmp_path / "whole.safetensors").module.state_dict()
    for name, tensor in resumed.module.state_dict().items():
        assert torch.equal(tensor, whole[name])


def test_a_checkpoint_that_is_the_output_is_refused(cli, photos):
    line = ("train", *TINY, "--data", f"folder:{photos}", "--out", "w.safetensors")
    code, _, err = cli(*line, "--checkpoint", "./w.safetensors")
    assert (code, err) == (2, "error: --checkpoint and --out name one file, 'w.safetensors': give two\n")
