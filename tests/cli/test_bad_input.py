"""Every kind of bad input to run and plan: one line that says what is wrong, exit code 2, nothing touched."""

import json
import os
import re

import pytest

GOOD = {
    "--model": "plan:4,M,6",
    "--weights": "none",
    "--data": "noise",
    "--samples": "24",
    "--device": "cpu",
    "--out": "old.arrow",
}

LONG = "x" * 300  # more than a file system allows

BAD = [
    ({"--model": "no9"}, r"unknown model 'no9', did you mean 'no\d'"),
    ({"--model": "timm:resnet18x"}, r"timm has no model 'resnet18x', did you mean 'timm:resnet18"),
    ({"--model": "hf:nowhere/at-all"}, r"model 'nowhere/at-all': not in the cache \S+, and .*OFFLINE is set"),
    ({"--model": "hf:text"}, r"data 'noise' has images, and texts are needed, as of hf:NAME"),
    ({"--model": "nowhere.to.be:found"}, r"cannot build the model 'nowhere\.to\.be:found'"),
    ({"--layers": "c1,gao"}, r"no layer matches 'gao': nearest are .*gap"),
    ({"--layers": ","}, r"no layer given"),
    ({"--data": "cifar10"}, r"CIFAR-10 in .* is broken"),
    ({"--data": "parquet:broken"}, r"broken"),
    ({"--data": "folder:missing"}, r"no folder missing"),
    ({"--data": f"folder:{LONG}"}, LONG),
    ({"--data": "folder:bad\udcff"}, r"'folder:bad\\udcff' is not UTF-8: give .* another name"),
    ({"--weights": "broken.safetensors"}, r"cannot read weights from broken\.safetensors"),
    ({"--weights": "other.safetensors"}, r"other\.safetensors.*c2"),
    ({"--weights": None}, r"has no weights for plan:4,M,6; give --weights PATH, or --weights none"),
    ({"--thresholds": "70%"}, r"thresholds must lie in \(0, 1\], got '70%'"),
    ({"--thresholds": ""}, r"no threshold given"),
    ({"--classes": True}, r"classes were asked for, and the data have no labels"),
    ({"--samples": "1"}, r"1 samples asked for; a spread needs 2 or more"),
    ({"--data": "folder:two", "--samples": "3"}, r"3 samples asked for, but there are 2"),
    ({"--seed": str(2**63)}, r"seed"),
    ({"--batch-size": "99999999999999999999999"}, r"batch size 9+ asked for; it may be at most"),
    ({"--memory": "1KiB"}, r"fits by no method into .*: the smallest budget that would do is \d+[KM]iB"),
    ({"--rank": "high"}, r"rank 'high' is neither auto nor a positive number"),
    ({"--device": "cuda:63"}, r"device cuda:63 is not there"),
    ({"--image-size": "1"}, r"does not run on a batch of shape"),
    ({"--image-size": "10000000"}, r"'--image-size'.* 65535"),
]

BAD_OUT = [
    ({"--out": "missing/x.arrow"}, r"the folder '.*missing' does not exist"),
    ({"--out": "empty"}, r"it is a folder: give a file"),
    ({"--out": "/dev/null"}, r"it is not a regular file"),
]


@pytest.fixture
def things(tmp_path, monkeypatch):
    """Broken and ill-fitting files to name, and an older result that must survive."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    text = {"model_type": "bert", "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 20}
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text(json.dumps(text | {"num_hidden_layers": 1}))
    from PIL import Image
    from safetensors.torch import save_file

    (tmp_path / "old.arrow").write_bytes(b"an older result")
    (tmp_path / "broken").write_bytes(b"PAR1 but no more")
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 64)
    (tmp_path / "empty").mkdir()
    for index, name in enumerate("ab"):
        (tmp_path / "two" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), (index * 90, 7, 7)).save(tmp_path / "two" / name / "0.png")
    from streamspread import models

    wider = models.load("plan:4,M,12", "none").module.state_dict()
    save_file({name: value.contiguous() for name, value in wider.items()}, tmp_path / "other.safetensors")


def argv(command, changes):
    options = GOOD | changes
    if command == "plan":
        del options["--out"]
    return [
        command,
        *(
            text
            for name, value in options.items()
            if value is not None
            for text in ((name,) if value is True else (name, value))
        ),
    ]


def snapshot(folder):
    return {
        os.path.join(where, name): os.path.getsize(os.path.join(where, name))
        for where, _, names in os.walk(folder)
        for name in names
    }


def name_of(changes):
    return " ".join(f"{name}={value}" for name, value in changes.items()) if isinstance(changes, dict) else ""


def refused(cli, tmp_path, command, changes, words):
    before = snapshot(tmp_path)
    code, out, err = cli(*argv(command, changes))
    assert (code, out) == (2, ""), err
    *notes, line = err.splitlines()
    assert line.startswith("error: ")
    assert re.search(words, line), line
    assert len(notes) <= 1
    assert "Traceback" not in err
    assert snapshot(tmp_path) == before
    assert (tmp_path / "old.arrow").read_bytes() == b"an older result"


@pytest.mark.parametrize(("changes", "words"), BAD + BAD_OUT, ids=name_of)
def test_run_refuses(cli, things, tmp_path, changes, words):
    refused(cli, tmp_path, "run", changes, words)


@pytest.mark.parametrize(("changes", "words"), BAD, ids=name_of)
def test_plan_refuses(cli, things, tmp_path, changes, words):
    refused(cli, tmp_path, "plan", changes, words)


def test_the_smallest_budget_that_is_named_would_do(cli, things):
    refusal = cli(*argv("plan", {"--memory": "1KiB"})).err
    smallest = re.search(r"would do is (\w+)", refusal)[1]
    assert cli(*argv("plan", {"--memory": smallest})).code == 0


def test_the_good_options_are_good(cli, things):
    assert cli(*argv("run", {})).code == 0
    assert cli(*argv("plan", {})).code == 0


@pytest.mark.parametrize(
    ("option", "value"), [("--method", "pca"), ("--rounding", "fp8"), ("--memory", "plenty")]
)
def test_options_are_judged_before_any_image_is_read(cli, things, option, value):
    refusal = cli(*argv("run", {"--data": "folder:nowhere", option: value}))
    assert (refusal.code, f"'{value}'" in refusal.err) == (2, True)


def test_images_that_memory_has_no_room_for_are_refused(cli, things, monkeypatch):
    """Before any is made: nothing that could be said is said by a program that the system ends."""
    monkeypatch.setattr("streamspread.datasets.specs.free_bytes", lambda device: 1 << 30)
    refusal = cli(*argv("run", {"--image-size": "9000"}))
    assert refusal.code == 2
    assert "images at 9,000x9,000 take 2.3 GiB or more, and 1.0 GiB of memory are free" in refusal.err
