"""``cka``: a network's layers, or two networks' from their files; bad input is one line and exit code 2."""

import csv
import io
import os
import re
from dataclasses import replace

import numpy as np
import pytest

import streamspread
from streamspread import store
from streamspread.results.spectra import Spectra
from tests.alignment import grams_of


@pytest.fixture
def files(tmp_path):
    """Grams of two networks over the same samples, and of one over others; a result of another kind."""
    rng = np.random.default_rng(0)
    one = {"c1": rng.normal(size=(9, 40)), "gap": rng.normal(size=(9, 3))}
    two = {"x": one["c1"] * 3, "y": rng.normal(size=(9, 5)), "z": np.ones((9, 5))}
    store.write_grams(grams_of(one, provenance={"title": "the first"}), tmp_path / "one.safetensors")
    store.write_grams(grams_of(two), tmp_path / "two.safetensors")
    store.write_grams(grams_of(two, "1" * 32), tmp_path / "other.safetensors")
    store.write_grams(grams_of({"x": one["c1"][:8]}), tmp_path / "fewer.safetensors")
    store.write(Spectra([]), tmp_path / "run.arrow")


def table(out, heading):
    """The cells below the line that begins so, by layer."""
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(heading))
    header, _, *below = lines[at + 1 :]
    cells = [line.split() for line in below]
    end = next((i for i, row in enumerate(cells) if len(row) != len(header.split())), len(cells))
    return header.split()[2:], {row[0]: row[2:] for row in cells[:end]}


def test_a_network_with_itself(cli, tiny, tmp_path):
    code, out, err = cli("cka", *tiny)
    assert (code, err) == (0, "")
    assert out.startswith("plan:4,M,6 · random weights · noise")
    for heading in ("debiased", "as defined"):
        columns, values = table(out, heading)
        assert columns == list(values) == ["c1", "c2", "gap"]
        matrix = np.array([[float(cell.replace("−", "-")) for cell in row] for row in values.values()])
        assert np.array_equal(matrix, matrix.T)
        assert np.all(matrix.diagonal() == 1.0)
    assert "\x1b" not in out
    assert os.listdir(tmp_path) == []


def test_what_is_kept_gives_the_same_again(cli, tiny, tmp_path):
    kept = cli("cka", *tiny, "--grams", "g.safetensors", "--out", "a.csv")
    assert kept.err == "wrote g.safetensors\nwrote a.csv\n"
    again = cli("cka", "g.safetensors", "-o", "b.csv", "-q")
    assert (again.code, again.out, again.err) == (0, kept.out, "")
    written = (tmp_path / "a.csv").read_text()
    assert written == (tmp_path / "b.csv").read_text()
    lines = list(csv.DictReader(io.StringIO(written)))
    assert [(line["row"], line["column"]) for line in lines[:4]] == [
        ("c1", "c1"),
        ("c1", "c2"),
        ("c1", "gap"),
        ("c2", "c1"),
    ]
    grams = store.read_grams(tmp_path / "g.safetensors")
    assert float(lines[1]["debiased"]) == streamspread.cka(grams).debiased[0, 1]
    assert grams.provenance["command"][:2] == ["streamspread", "cka"]
    assert (grams.provenance["weights"], grams.provenance["split"], grams.samples) == ("none", "train", 24)


def test_views_are_compared_where_their_samples_are_the_same(cli, tiny):
    code, out, err = cli("cka", *tiny, "--view", "whole,pooled", "--layers", "c1,c2")
    assert (code, err) == (0, "")
    names = ["c1", "c1@pooled", "c2", "c2@pooled"]
    assert table(out, "debiased")[0] == names
    code, out, err = cli("cka", *tiny, "--samples", "3", "--view", "position", "--layers", "c1")
    assert (code, "over 3,072 samples" in out) == (0, True)
    code, out, err = cli("cka", *tiny, "--view", "position")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "c1@position has 32×32 places, and c2@position 16×16 places" in err


def test_titles_where_a_file_has_none_and_constant_layers(cli, files, tmp_path):
    code, out, _ = cli("cka", "one.safetensors", "two.safetensors", "--out", "ab.csv")
    assert code == 0
    assert out.splitlines()[:2] == ["rows: the first", "columns: two.safetensors"]
    columns, values = table(out, "as defined")
    assert columns == ["x", "y", "z"]
    assert values["c1"][0] == "1.000"
    assert [row[2] for row in values.values()] == ["–", "–"]
    assert out.splitlines()[-1].startswith("–: of a constant layer")
    assert "c1,z,40,5,9,,\n" in (tmp_path / "ab.csv").read_text()


def test_at_most_so_many_images_are_taken_unless_more_are_asked_for(cli, monkeypatch):
    monkeypatch.setattr("streamspread.cli.commands.cka.MOST", 20)
    options = ["--model", "plan:4", "--weights", "none", "--data", "noise", "--layers", "gap"]
    assert "over 20 samples" in cli("cka", *options).out
    assert "over 21 samples" in cli("cka", *options, "-n", "21").out
    assert "most 3,000." in cli("cka", "--help").out


NETWORK = ["--model", "plan:4,M,6", "--weights", "none", "--data", "noise", "--samples", "24"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["one.safetensors", "other.safetensors"], "grams of 9 samples each, but not of the same, cannot be"),
        (
            ["one.safetensors", "fewer.safetensors"],
            "grams of 9 and of 8 samples cannot be compared: take the",
        ),
        (["one.safetensors"] * 3, "3 files of grams given: give one, or two to compare"),
        (["run.arrow"], "'run.arrow' is no whole safetensors file"),
        (["one.safetensors", "missing.safetensors"], "no such file: 'missing.safetensors'"),
        (["weights.safetensors"], "'weights.safetensors' holds no grams: give a file that cka --grams wrote"),
        (["one.safetensors", "--model", "no1"], "--model is for a network that is run, and files of grams"),
        (["one.safetensors", "-n", "100"], "--samples is for a network that is run"),
        (["one.safetensors", "--memory", "1GiB"], "--memory is for a network that is run"),
        (["one.safetensors", "--grams", "x.safetensors"], "--grams is for a network that is run"),
        (["one.safetensors", "--out", "x.arrow"], "cannot write to 'x.arrow': the name must end in .csv"),
        (["one.safetensors", "--out", "missing/x.csv"], "the folder '.*missing' does not exist"),
        ([*NETWORK, "--grams", "x.arrow"], r"cannot write to 'x.arrow': the name must end in .safetensors"),
        ([*NETWORK, "--grams", "missing/x.safetensors"], "the folder '.*missing' does not exist"),
        ([*NETWORK, "--layers", "c9"], "no layer matches 'c9'"),
        (
            [*NETWORK, "--memory", "1KiB"],
            r"would do is \w+ .*the inner products of 24 samples take 1\.2 KiB a",
        ),
        ([*NETWORK, "--thresholds", "0.7"], "No such option: --thresholds"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(cli, files, tmp_path, arguments, words):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, tmp_path / "weights.safetensors")
    before = sorted(os.listdir(tmp_path))
    code, out, err = cli("cka", *arguments)
    assert (code, out) == (2, "")
    assert re.match(rf"error: .*{words}", err)
    assert err.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("name", ["--grams", "--out"])
def test_what_cannot_be_written_is_said_before_any_image_is_read(cli, tmp_path, name):
    path = f"there.{'csv' if name == '--out' else 'safetensors'}"
    (tmp_path / path).mkdir()
    code, _, err = cli("cka", "--data", "folder:nowhere", name, path)
    assert (code, "it is a folder" in err) == (2, True)


@pytest.mark.parametrize("where", ["streamspread.api.grams.kept_grams", "safetensors.numpy.save_file"])
def test_an_interruption_leaves_nothing_behind(cli, tiny, tmp_path, monkeypatch, where):
    def interrupt(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupt)
    refused = cli("cka", *tiny, "--grams", "g.safetensors", "--out", "o.csv")
    assert refused == (130, "", "interrupted\n")
    assert os.listdir(tmp_path) == []


def test_ctrl_c_after_some_layers_compares_prints_and_keeps_them(cli, tiny, tmp_path, monkeypatch):
    """Each layer has a pass of its own, and the last is interrupted; what is whole is not replaced."""
    from streamspread.engine import grams
    from streamspread.observe.passes import Passes

    whole = cli("cka", *tiny, "--grams", "g.safetensors", "--out", "a.csv")
    content = (tmp_path / "g.safetensors").read_bytes(), (tmp_path / "a.csv").read_bytes()
    real, planned = Passes.run, grams._planned

    def in_turn(observed, samples):
        options, plan = planned(observed, samples)
        layers = [replace(one, pass_indices=(n,)) for n, one in enumerate(plan.layers)]
        passes = [replace(plan.passes[0], index=n, layers=[one.layer]) for n, one in enumerate(layers)]
        return options, replace(plan, layers=tuple(layers), passes=tuple(passes))

    def run(passes, taps, consume, turn):
        if turn.number == 3:
            raise KeyboardInterrupt
        return real(passes, taps, consume, turn)

    monkeypatch.setattr(grams, "_planned", in_turn)
    monkeypatch.setattr(Passes, "run", run)
    code, out, err = cli("cka", *tiny, "--grams", "g.safetensors", "--out", "a.csv")
    assert (code, err) == (130, "wrote g-2.safetensors\nwrote a-2.csv\ninterrupted\n")
    assert out.endswith("a partial result: interrupted before gap\n")
    assert table(out, "debiased")[1]["c1"] == table(whole.out, "debiased")[1]["c1"][:2]
    assert content == ((tmp_path / "g.safetensors").read_bytes(), (tmp_path / "a.csv").read_bytes())
    kept = streamspread.read_grams("g-2.safetensors")
    assert (list(kept), kept.provenance["partial"]) == (["c1", "c2"], ["gap"])
