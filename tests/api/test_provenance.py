"""What the package offers, and what it writes down about how the numbers came about."""

import torch

import streamspread
from streamspread import datasets, models
from streamspread.cli import main
from streamspread.observe.network import parameters_sha256
from streamspread.system.devices import processor_name
from tests.networks import network


def test_the_package_offers_analyze_and_plan():
    assert {"analyze", "plan"} <= set(streamspread.__all__)
    model, x = network("mlp", 50)
    spectra = streamspread.analyze(model, x, ["0"], thresholds=(0.7,), provenance={"note": "kept"})
    assert spectra.thresholds == (0.7,)
    assert spectra.provenance["note"] == "kept"
    assert spectra.provenance["forward_tf32"] is False
    assert "tf32" not in spectra.provenance  # the search for eigenvalues uses it on a card
    assert spectra.provenance["samples"] == 50
    assert spectra.provenance["bound_failure"] == 2e-6
    assert spectra.provenance["planned_peak_bytes"] == streamspread.plan(model, x, ["0"]).peak_bytes
    assert spectra["0"].spread(0.7).low == spectra["0"].components(0.7).low / 90


def test_a_result_from_python_says_as_much_as_one_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = "--model plan:4 --weights none --data noise --samples 20 --layers gap --image-size 8 --quiet"
    assert main(["run", *options.split(), "--out", "run.arrow"]) == 0
    told = streamspread.read("run.arrow").provenance
    loaded = models.load("plan:4", "none")
    images = datasets.load("noise", "train", 20, 0, 8)
    known = streamspread.analyze(loaded.module, images, ["gap"]).provenance
    # What only the command line knows: where weights came from and which part of the data was asked for.
    assert set(told) - set(known) == {"weights_note", "split"}
    assert set(known) <= set(told)
    differing = {name for name in known if known[name] != told[name]}
    assert differing <= {"command", "model", "weights", "title", "time_utc", "budget_bytes", "seconds"}
    assert (known["model"], known["plan"], known["command"]) == ("Network", told["plan"], None)
    assert known["title"].startswith("Network (4) · noise")


def test_a_result_names_the_processor_once_and_one_that_names_it_twice_is_read(tmp_path):
    model, x = network("cnn", 20)
    spectra = streamspread.analyze(model, x, ["1"])
    assert [key for key, value in spectra.provenance.items() if value == processor_name()] == ["cpu"]
    older = {"processor": "another", **spectra.provenance}
    streamspread.write(streamspread.Spectra(spectra.values(), provenance=older), tmp_path / "older.arrow")
    again = streamspread.read(tmp_path / "older.arrow")
    assert again.provenance["processor"] == "another"
    assert again.provenance["cpu"] == processor_name()


def test_weights_are_known_by_their_hash():
    def made(seed):
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))

    model = made(0)
    first = parameters_sha256(model)
    assert first == parameters_sha256(made(0)) != parameters_sha256(made(1))
    assert streamspread.analyze(model, torch.randn(9, 3)).provenance["parameters_sha256"] == first
    assert streamspread.grams(model, torch.randn(9, 3)).provenance["parameters_sha256"] == first
    model[1].running_mean[0] = 1.0
    assert parameters_sha256(model) != first
    assert parameters_sha256(model.to(torch.bfloat16)) is not None
    assert parameters_sha256(model.to("meta")) is None
    assert parameters_sha256(torch.nn.ReLU()) == parameters_sha256(
        torch.nn.Tanh()
    )  # there is nothing in them


def test_what_the_caller_gives_counts_and_notes_add_up():
    facts = {"model": "mine", "title": "a title", "notes": ["a note"]}
    model, x = network("mlp", 50)
    known = streamspread.analyze(model, x, ["0"], provenance=facts).provenance
    assert {name: known[name] for name in facts} == facts
