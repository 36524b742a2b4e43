"""``study``: results, figures and a page in one command that can be interrupted and asked again."""

import os
import re

import pytest
import torch

from streamspread import store
from streamspread.datasets import Labelled
from streamspread.errors import DataError

SMALL = ("--model", "plan:4,M,6", "--epochs", "0", "--data", "noise", "--device", "cpu")


def test_results_figures_and_page(cli, tmp_path):
    code, out, err = cli("study", *SMALL, "--samples", "600", "--out", "found")
    assert (code, out.splitlines()[-1]) == (0, os.path.join("found", "index.html"))
    head, _, first = out.splitlines()[:3]
    assert head.split()[:5] == ["layer", "plan:4,M,6,", "N", "=", "600"]
    assert re.match(r"c1 +\d+ \([\d.]+ %\) ", first)
    assert "claim" not in out  # of noise, and of another network
    lines = err.splitlines()
    assert re.fullmatch(r"1 of 2  plan-4-M-6: made in [\d.]+ s", lines[0])
    assert re.fullmatch(r"2 of 2  plan-4-M-6-n500: made in [\d.]+ s", lines[1])
    assert lines[-1] == "left out: depth, training, latent (--parts all)"
    assert sorted(os.listdir(tmp_path / "found" / "results")) == ["plan-4-M-6-n500.arrow", "plan-4-M-6.arrow"]
    spectra = store.read(tmp_path / "found" / "results" / "plan-4-M-6.arrow")
    assert list(spectra) == ["c1", "c1.bn", "c1.relu", "c2", "c2.bn", "c2.relu", "gap"]
    assert spectra.thresholds == (0.5, 0.7, 0.8, 0.9, 0.95)
    assert spectra.provenance["command"][:2] == ["streamspread", "study"]
    page = (tmp_path / "found" / "index.html").read_text(encoding="utf-8")
    assert "plan-4-M-6-n500" in page


def test_asked_again_nothing_is_computed_and_a_change_only_what_it_touches(cli, tmp_path):
    arguments = ("study", *SMALL, "--samples", "30", "--parts", "networks", "--out", "found")
    cli(*arguments)
    path = tmp_path / "found" / "results" / "plan-4-M-6.arrow"
    before = path.stat().st_mtime_ns
    assert "1 of 1  plan-4-M-6: kept" in cli(*arguments).err
    assert path.stat().st_mtime_ns == before
    err = cli(*arguments, "--thresholds", "0.6").err
    assert "plan-4-M-6: made again (thresholds changed) in" in err
    assert store.read(path).thresholds == (0.6,)


def test_without_data_the_substitute_trains_the_networks_too(cli, tmp_path, monkeypatch):
    arguments = ("--model", "plan:4,M,M", "--epochs", "1", "--device", "cpu", "--parts", "networks")
    seen = []

    def load_splits(spec):
        seen.append(spec)
        raise DataError("no labels today")

    monkeypatch.setattr("streamspread.training.load_splits", load_splits)
    code, out, err = cli("study", *arguments, "--samples", "20")
    assert (code, out, seen) == (2, "", ["patches"])
    assert "using patches instead" in err.splitlines()[0]
    assert re.match(r"error: no labels today \(needed by --parts networks; ", err.splitlines()[1])
    assert os.listdir(tmp_path) == []


def test_quiet_says_only_where_the_page_is(cli):
    code, out, err = cli("study", *SMALL, "--samples", "20", "--parts", "networks", "--quiet")
    assert (code, out.strip(), err) == (0, os.path.join("study", "index.html"), "")


@pytest.fixture
def noise(monkeypatch):
    """130 images to train on and to look at, of which few are."""
    pixels = torch.randint(0, 256, (130, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator())
    split = Labelled(pixels, torch.arange(130) % 10, "noise, 130 images")
    monkeypatch.setattr("streamspread.training.load_splits", lambda spec: (split, split))
    monkeypatch.setattr("streamspread.study.experiments.while_training.MEASURED", 20)
    monkeypatch.setattr("streamspread.study.experiments.spreading.MEASURED", 20)


def experiment(part, epochs=1):
    given = {"--parts": part, "--epochs": epochs, "--train-images": 128, "--samples": 20, "--out": "found"}
    return ("study", *SMALL, *(str(word) for pair in given.items() for word in pair))


def test_experiments_are_named_alone_and_leave_documents(cli, tmp_path, noise):
    code, out, err = cli(*experiment("course"))
    assert (code, out.strip()) == (0, os.path.join("found", "course-4-M-6.md"))
    assert re.search(r"^after step 1: K\(0\.7\) c1 \d+, c2 \d+, gap \d+$", err, re.MULTILINE)
    assert sorted(os.listdir(tmp_path / "found")) == ["course-4-M-6.json", "course-4-M-6.md", "figures"]
    code, _, err = cli(*experiment("course"))
    assert code == 0
    assert "after step" not in err


@pytest.mark.parametrize("part", ["course", "kinds", "depths"])
def test_ctrl_c_in_an_experiment_leaves_a_document_of_what_is_done(cli, tmp_path, noise, monkeypatch, part):
    from streamspread.study.experiments import spreading, while_training

    one = (while_training, "_look") if part == "course" else (spreading, "_measured")
    real, calls = getattr(*one), []

    def interrupted_at_the_second(*given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(*one, interrupted_at_the_second)
    monkeypatch.setattr("streamspread.study.steps.NARROW", {6: "4,M,4,4,4,4,4"})
    code, out, err = cli(*experiment(part), "--seeds", "2") if part == "depths" else cli(*experiment(part))
    name = part if part == "depths" else f"{part}-4-M-6"
    assert (code, out.splitlines()) == (
        130,
        [
            os.path.join("found", f"{name}.md"),
            f"a partial {part}: interrupted; the same command goes on from there",
        ],
    )
    assert err.endswith("interrupted\n")
    assert (tmp_path / "found" / f"{name}.md").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--parts", "spreading", "--model", "plan:4"], "plan:4 has one convolution"),
        (["--parts", "course", "--train-images", "5"], "train images 5 asked for"),
        (["--parts", "course", "--epochs", "0"], "epochs must be at least 1, not 0"),
        (["--parts", "network"], r"unknown part 'network': choose from all, networks"),
        (["--epochs", "-1"], r"'--epochs'"),
        (["--memory", "much"], r"memory 'much' is not a size"),
        (["--out", "file"], r"cannot make the folder 'file/results'"),
        (
            ["--epochs", "1", "--parts", "depth"],
            r"training needs a label for every image.*\(needed by --parts depth;",
        ),
        (
            ["--epochs", "1", "--parts", "networks,depth,training"],
            r"\(needed by --parts networks,depth,training;",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(cli, tmp_path, arguments, words):
    (tmp_path / "file").write_text("")
    given = dict(zip(SMALL[::2], SMALL[1::2], strict=True)) | {"--samples": "20"}
    given |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    code, out, err = cli("study", *(word for pair in given.items() for word in pair))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert re.search(words, err)


def test_ctrl_c_keeps_what_is_done_on_a_page_and_the_same_command_goes_on(cli, tmp_path, monkeypatch):
    from streamspread.engine.run import Analysis
    from streamspread.store import keeping

    monkeypatch.setattr(keeping, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(keeping, "SHARE", 0.0)
    pages = []  # drawing takes seconds
    monkeypatch.setattr("streamspread.reports.build.write", lambda files, *_: pages.append(files) or [])
    arguments = ("study", *SMALL, "--samples", "600", "--out", "found")
    real, finished = Analysis._finish, []

    def stop_at_the_ninth(analysis, layer, *among):
        finished.append(layer.plan.layer)
        if len(finished) == 9:  # the second of the second step
            raise KeyboardInterrupt
        return real(analysis, layer, *among)

    monkeypatch.setattr(Analysis, "_finish", stop_at_the_ninth)
    code, out, err = cli(*arguments)
    assert code == 130
    *_, page, said = out.splitlines()
    assert page == os.path.join("found", "index.html")
    assert said.startswith(
        "a partial study: 1 of 2 results, interrupted in plan-4-M-6-n500; the same command "
    )
    assert err.endswith("interrupted\n")
    assert [path.name for path in pages[0]] == ["plan-4-M-6.arrow"]
    (kept,) = (tmp_path / "found" / "checkpoints").iterdir()
    assert kept.name.startswith("plan-4-M-6-n500-")
    code, _, err = cli(*arguments)
    assert code == 0
    assert "1 of 2  plan-4-M-6: kept" in err
    assert finished[9:] == ["c2", "gap"]  # c1 is not done again
    assert not (tmp_path / "found" / "checkpoints").exists()
    result = store.read(tmp_path / "found" / "results" / "plan-4-M-6-n500.arrow")
    assert result.provenance["notes"][-1].startswith("resumed from a checkpoint, ")
