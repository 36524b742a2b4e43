"""``plan`` and ``layers``: what would run, and what can be asked for."""

import os
import re

from streamspread.cli.app import program


def test_a_plan_names_method_pass_memory_and_reason_of_every_layer(cli, tiny, tmp_path):
    code, out, err = cli("plan", *tiny)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split()[:7] == ["layer", "shape", "D", "N", "K", "at", "most"]
    assert lines[0].split()[7:] == ["method", "in", "pass", "memory", "operations", "seconds,", "about"]
    assert [line.split()[0] for line in lines[2:5]] == ["c1", "c2", "gap"]
    assert [line.split(":")[0] for line in lines[5:7]] == ["c1, c2", "gap"]
    assert [line.split()[4] for line in lines[2:5]] == ["23", "23", "6"]
    limited = "24 of them span at most 23 directions, and these layers have more"
    assert lines[7] == f"limited by the number of images: c1, c2: {limited}"
    assert lines[8].startswith("pass 1 of 1, cut off after gap: c1, c2, gap (")
    assert lines[9].startswith("24 images in batches of ")
    assert re.fullmatch(r"about \d+ s, of which the network's forward takes \d+ s", lines[10])
    assert os.listdir(tmp_path) == []


def test_the_ceiling_of_a_plan_is_that_of_what_a_layer_is_an_image_of(cli, tiny):
    out = cli("plan", *tiny, "--layers", "c1", "--samples", "5000").out
    assert "4,096   5,000       3,072" in out
    assert "limited" not in out


def test_a_plan_takes_every_option_of_run(cli, tiny, tmp_path):
    commands = program().commands
    options = {name: {text for param in commands[name].params for text in param.opts} for name in commands}
    assert options["run"] <= options["plan"]

    def shown(*more):
        """Without the budget, which is what is free, and without the seconds."""
        return [re.sub(r" +[\d.]+$", "", line) for line in cli("plan", *tiny, *more).out.splitlines()[:9]]

    assert shown("--out", "x.arrow", "--format", "json") == shown()
    assert os.listdir(tmp_path) == []


def test_layers_takes_weights_and_reads_none(cli):
    plain = cli("layers", "--model", "plan:4,M,6")
    assert plain.code == 0
    for weights in ("none", "missing.safetensors"):
        assert cli("layers", "--model", "plan:4,M,6", "--weights", weights) == plain


def test_layers_lists_what_the_layers_option_takes(cli):
    code, out, err = cli("layers", "--model", "plan:4,M,6")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["layer", "shape", "D", "axes", "module", "taken"]
    assert ["c1.relu", "4×32×32", "4,096", "NCHW", "ReLU"] in rows
    assert ["c2", "6×16×16", "1,536"] in [row[:3] for row in rows]
    assert ["gap", "6", "6"] in [row[:3] for row in rows]


def test_layers_of_other_image_sizes(cli):
    _, out, _ = cli("layers", "--model", "plan:4,M,6", "--image-size", "64")
    assert ["c1", "4×64×64", "16,384"] in [line.split()[:3] for line in out.splitlines()]


def test_layers_of_an_unknown_model_names_the_nearest(cli):
    code, out, err = cli("layers", "--model", "resnet18")
    assert (code, out) == (2, "")
    assert "torchvision:resnet18" in err
