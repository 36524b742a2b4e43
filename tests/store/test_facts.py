"""Provenance: what a result says of how it was made, also in files from elsewhere."""

import json
import os

import numpy as np
import pyarrow as pa
import pytest

from streamspread import store
from streamspread.errors import StoreError
from streamspread.results.embedding import Embedding
from streamspread.results.spectra import Spectra


def test_provenance_says_what_ran_on_what_and_where():
    facts = store.provenance(
        store.Subject("no1", plan="64 64 M", weights="none"),
        data="CIFAR-10 test, 5,000 of 10,000 images (seed 3)",
        samples=5000,
        device="cpu",
        command=["streamspread", "run"],
        notes=["5,000 of 10,000 images"],
        seed=3,
    )
    assert facts["title"] == (
        "no1 (64 64 M) · random weights · CIFAR-10 test, 5,000 of 10,000 images (seed 3) · cpu"
    )
    assert facts["packages"]["numpy"] == np.__version__
    assert facts["packages"]["pyarrow"] == pa.__version__
    assert {"torch", "torchvision", "numba"} <= set(facts["packages"])
    assert facts["time_utc"].endswith("+00:00")
    assert facts["threads"] >= 1
    assert facts["cpu"]
    assert facts["card"] is None
    assert facts["seed"] == 3
    assert json.loads(json.dumps(facts)) == facts


def test_a_given_title_stays_and_other_weights_are_named():
    assert store.provenance(store.Subject("m"), title="mine")["title"] == "mine"
    assert store.provenance(store.Subject("m", weights="w.pt"))["title"] == "m · w.pt weights · cpu"
    assert store.provenance(store.Subject("plan:8,M", plan="8,M"))["title"] == "plan:8,M · cpu"


@pytest.mark.parametrize(
    ("fact", "values"),
    [
        ("weights_note", ["trained", ["epochs"], {"epochs": 60}, {"epochs": None}]),
        ("command", [7, {"run": "x"}, ["streamspread", 7]]),
        ("notes", [None, "a note", [7], {"a": "note"}]),
        ("packages", [None, "torch", ["torch"], {"torch": 2}]),
        ("recipe", [None, "a recipe", ["a recipe"]]),
        ("title", [7, ["a title"]]),
        ("options", [None, "--rank 7", ["rank", 7]]),
    ],
)
def test_facts_of_another_kind_are_refused_in_one_line(fact, values, tmp_path):
    for value in values:
        for write in (spectra_with, embedding_with):
            write({fact: value}, tmp_path / "x.arrow")
            with pytest.raises(StoreError, match=rf"x\.arrow' .* another kind \({fact} is not [^\n]*\Z"):
                store.read_any(tmp_path / "x.arrow")


def test_facts_that_are_as_they_should_be_or_missing_are_read(tmp_path):
    for facts in (
        {},
        {"command": None, "title": None, "weights_note": None},
        {"command": "python x.py", "notes": [], "packages": {}, "recipe": {"seed": 3}, "more": [1, None]},
        {"command": ["streamspread"], "notes": ["a"], "weights_note": {"epochs": "60"}, "title": "t"},
    ):
        for write in (spectra_with, embedding_with):
            write(facts, tmp_path / "x.arrow")
            assert store.read_any(tmp_path / "x.arrow").provenance == facts


def spectra_with(facts, path):
    store.write(Spectra([], provenance=facts), path)


def embedding_with(facts, path):
    store.write_embedding(Embedding([], provenance=facts), path)


def test_what_is_no_unicode_is_stored_as_question_marks(tmp_path):
    name = os.fsdecode(b"caf\xe9 \xe7\x8c\xab")
    facts = {"data": f"{name} train", "command": ["streamspread", name], "notes": [name]}
    store.write(Spectra([], provenance=facts), tmp_path / "x.arrow")
    again = store.read(tmp_path / "x.arrow").provenance
    assert again == {"data": "caf? 猫 train", "command": ["streamspread", "caf? 猫"], "notes": ["caf? 猫"]}
