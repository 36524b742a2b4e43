"""Experiments: trained at tiny sizes, kept where they were made in the same way, and put into documents."""

import json
import signal
from dataclasses import replace

import pytest
import torch

from streamspread.datasets import Labelled
from streamspread.errors import OptionError, StoreError
from streamspread.study.experiments import depths, spreading, while_training
from streamspread.study.experiments.measures import TrainingTask
from streamspread.study.experiments.records import write_document
from streamspread.study.experiments.spreading import Variant, kinds, strengths, train_variant
from streamspread.study.steps import check_experiments
from streamspread.training import Recipe
from streamspread.training.spread_measures import KINDS

PLAN, CPU = "plan:4,M,4,M,6", torch.device("cpu")
RECIPE = Recipe(epochs=2, batch_size=16, lr=0.1)


def drawn(count):
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Labelled(pixels, torch.arange(count) % 10, f"noise, {count} images")


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setattr(spreading, "MEASURED", 40)
    monkeypatch.setattr(while_training, "MEASURED", 30)
    return TrainingTask(PLAN, drawn(48), drawn(30), RECIPE, CPU)


def test_a_training_leaves_what_was_measured_and_is_kept_until_something_changes(task, tmp_path):
    variant = Variant(("c3",), 0.3, None)
    found, kept = train_variant(task, variant, tmp_path)
    assert not kept
    assert (found["layers"]["c3"]["dim"], found["steps"]) == (6 * 64, 6)
    assert set(found["layers"]) == {"c1", "c2", "c3", "gap"}
    assert {"noise", "mean", "image", "probe"} < set(found["layers"]["c3"])
    assert train_variant(task, variant, tmp_path) == (found, True)
    (path,) = tmp_path.iterdir()
    path.write_text("cut o")
    assert not train_variant(replace(task, recipe=replace(RECIPE, epochs=1)), variant, tmp_path)[1]
    assert json.loads(path.read_text())["steps"] == 3
    assert not train_variant(task, variant, tmp_path)[1]
    assert json.loads(path.read_text())["layers"] == found["layers"]


def test_variants_have_strengths_layers_and_kinds(task, tmp_path):
    assert [str(variant) for variant in strengths("c3", "c2")] == [
        "without",
        "c3, 0.03, previous",
        "c3, 0.1, previous",
        "c3, 0.3, previous",
        "c3, 0.1, no target",
        "c2+c3, 0.1, previous",
    ]
    variants = kinds("c3", "c2")
    assert [variant.kind for variant in variants[1:]] == list(KINDS)
    assert [str(variants[i]) for i in (1, 3)] == ["c3, 0.1, no target", "c3, effective-rank, 0.1, no target"]
    found, _ = train_variant(task, variants[-1], tmp_path)
    assert (found["kind"], found["target"]) == ("within-classes", None)


def test_a_file_that_cannot_be_written_is_one_line(task, tmp_path):
    (tmp_path / "found").write_text("")
    with pytest.raises(StoreError, match=r"cannot write into .*found"):
        train_variant(task, Variant(), tmp_path / "found")


@pytest.mark.parametrize(
    ("per_epoch", "epochs", "steps"),
    [
        (2, 2, [0, 1, 2, 3, 4]),
        (78, 1, [0, 1, 2, 3, 5, 7, 10, 20, 30, 39, 78]),
        (300, 2, [0, 1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 150, 300, 450, 600]),
    ],
)
def test_looks_are_early_and_then_every_half_epoch(per_epoch, epochs, steps):
    assert while_training.steps_to_measure(per_epoch, epochs) == steps


def watch(task, path, looked=None):
    return while_training.watch(replace(task, model="plan:4,M,6"), path, looked)


def test_a_course_is_written_after_every_look_and_told(task, tmp_path):
    path, counts = tmp_path / "course.json", []
    seen = watch(task, path, lambda _: counts.append(len(json.loads(path.read_text())["looks"])))
    assert counts == list(range(1, 1 + len(seen["looks"])))
    blocks = while_training.document(seen)
    document, notes = write_document(blocks, while_training.draw(seen), tmp_path / "course")
    text = document.read_text(encoding="utf-8")
    assert notes == []
    assert "interrupted" not in text
    assert (tmp_path / "figures" / "course.png").is_file()
    assert "| steps | epochs | c1 | c2 | gap | test accuracy |" in text


def without_times(seen):
    looks = [{**look, "looking_seconds": 0} for look in seen["looks"]]
    return seen | {"looks": looks, "seconds": 0}


@pytest.mark.parametrize("at", [0, 5])
def test_a_course_that_was_interrupted_goes_on_to_the_same_numbers(task, tmp_path, at):
    whole, path = watch(task, tmp_path / "whole.json"), tmp_path / "course.json"
    checkpoint, interrupted = path.with_suffix(".checkpoint"), []

    def interrupt(look):
        if look["step"] >= at and not interrupted:  # a second one would have its effect at once
            interrupted.append(look["step"])
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        watch(task, path, interrupt)
    kept = json.loads(path.read_text())
    assert [look["step"] for look in kept["looks"]][-1] >= at
    assert checkpoint.is_file()
    assert "interrupted: this is until step" in while_training.document(kept)[1]
    again = []
    assert without_times(watch(task, path, again.append)) == without_times(whole)
    assert [look["step"] for look in again] == [
        look["step"] for look in whole["looks"] if look["step"] > kept["looks"][-1]["step"]
    ]
    assert not checkpoint.exists()


def test_a_course_is_kept_until_something_changes(task, tmp_path):
    path, again = tmp_path / "course.json", []
    seen = watch(task, path)
    assert watch(task, path, again.append) == seen
    assert again == []
    assert watch(replace(task, recipe=replace(RECIPE, seed=1)), path, again.append) != seen
    assert len(again) == len(seen["looks"])


def test_other_depths_are_trained_for_longer_until_they_are_as_accurate():
    accuracy = {(6, 4): 0.60, (4, 4): 0.58, (4, 6): 0.595, (8, 4): 0.62, (10, 4): 0.595, (6, 1): 0.6}
    asked = []

    def train(depth, epochs, seed):
        asked.append((depth, epochs, seed))
        return {"accuracy": accuracy.get((depth, epochs), 0.5)}

    assert len(list(depths.comparable(train, 4, range(2)))) == len(asked)
    tried = [(14, epochs, 0) for epochs in (4, 6, 8, 12)]
    assert asked == [
        *((6, 4, 0), (6, 4, 1)),
        *((4, 4, 0), (4, 6, 0), (4, 6, 1)),
        *((8, 4, 0), (8, 4, 1)),
        *((10, 4, 0), (10, 4, 1)),
        *tried,
        (14, 12, 1),
    ]
    asked.clear()
    list(depths.comparable(train, 1, [0]))
    assert [epochs for depth, epochs, _ in asked if depth == 14] == [1, 2, 3]


def looks_of(c2, c3):
    return {
        "looks": [
            {"step": step, "layers": {n: {"dim": 8, "components": [k, k]} for n, k in (("c2", a), ("c3", b))}}
            for step, a, b in zip((0, 1, 5), c2, c3, strict=True)
        ]
    }


@pytest.mark.parametrize(
    ("c3", "words"),
    [
        ((6, 3, 2), "c3 spreads over a smaller share than c2 after step 1, and from there to the end."),
        ((1, 6, 6), "At the end c3 spreads over no smaller share than c2."),
        ((1, 2, 2), "smaller share than c2 before the first step, and"),
    ],
)
def test_when_the_last_convolution_falls_is_told_by_the_numbers(c3, words):
    assert words in while_training.sentences(looks_of((4, 4, 4), c3))[-1]


def record(setting, seed, accuracy, k, noise=0.1):
    layers = {
        "c5": {"dim": 100, "components": [20, 20]},
        "c6": {
            "dim": 100,
            "components": [k, k + 2],
            "noise": noise,
            "image": 0.5,
            "probe": 0.4,
            "mean": 0.1,
            "between": 0.2,
        },
    }
    facts = {"setting": setting, "seed": seed, "accuracy": accuracy, "noisy_accuracy": 0.3, "layers": layers}
    return facts | {
        "train_loss": 1.0,
        "test_loss": 1.1,
        "seconds": 2.0,
        "steps": 10,
        "measured_images": 9,
        "made": {
            "model": PLAN,
            "images": [48, 30],
            "data": "noise",
            "epochs": 2,
            "batch_size": "16",
            "lr": "0.1",
        },
    }


RECORDS = [
    *(record("without", seed, 0.50 + seed / 100, 9) for seed in range(3)),
    *(record("c6, 0.1, previous", seed, 0.60 + seed / 100, 29, 0.3) for seed in range(3)),
    *(record("c6, 0.3, previous", seed, 0.505 + seed / 100, 49) for seed in range(3)),
]


def test_sentences_say_which_way_it_came_out():
    plain, first, second = spreading.sentences(RECORDS)
    assert "from c5 to c6 by a factor of 0.50, at a test accuracy of 51.0 ± 1.0 %" in plain
    assert "c6, 0.1, previous: K(0.7) at c6 is 3.00 times that without (1.50 times the share at c5)" in first
    assert "test accuracy higher, +10.0 points (standard error 0.8)" in first
    assert "noise's share higher, +20.0 points" in first
    assert "test accuracy unchanged within its error, +0.5 points" in second
    assert second.endswith("R² of the image unchanged within its error, +0.00 (standard error 0.00).")
    assert "of one seed" in spreading.sentences([RECORDS[0], RECORDS[3]])[1]


def test_tables_have_means_deviations_and_open_ends(tmp_path):
    table, shares = spreading.table(RECORDS), spreading.shares(RECORDS)
    assert "| without | 3 | 10 ± 0 | 51.0 ± 1.0 |" in table
    assert "10 ± 0 (10.00%, 9 … 11)" in shares
    assert "20 ± 0 (20.00%)" in shares
    blocks, figure = spreading.document(RECORDS), spreading.draw(RECORDS)
    write_document(blocks, figure, tmp_path / "spreading")
    assert (tmp_path / "figures" / "spreading.svg").is_file()


def test_kinds_are_told_by_kind_and_weight():
    kinds = [("participation", 0.1), ("participation-with-diagonal", 0.2)]
    records = [RECORDS[0], *(RECORDS[3] | {"setting": k, "kind": k, "weight": w} for k, w in kinds)]
    assert list(spreading.grouped(records)) == [
        "without",
        "participation, 0.1",
        "participation-with-diagonal, 0.2",
    ]
    assert spreading.table(records).startswith("| kind, weight | seeds |")
    figure = spreading.draw(records)
    named = {row["setting"] for row in figure["hconcat"][0]["data"]["values"]}
    assert named == {"without", *dict(kinds)}  # whole in a legend
    assert max(map(len, named)) <= 28
    assert figure["title"].endswith("by kind")


def of_depth(*ks, epochs=2, accuracy=0.5):
    one = record("without", 0, accuracy, 1)
    layers = {f"c{i}": {"dim": 100, "components": [k, k]} for i, k in enumerate(ks, 1)}
    return one | {"layers": layers, "made": one["made"] | {"epochs": epochs}}


def test_depths_are_told_from_few_to_many_and_by_their_longest_trainings():
    longer = [of_depth(1, 3, 2, 4, epochs=3, accuracy=accuracy) for accuracy in (0.5, 0.52)]
    records = [of_depth(1, 3, 2, 1, accuracy=0.4), *longer, of_depth(1, 2, 5)]
    assert depths.sentences(records) == [
        "3 convolutions: the share grows in 2 of 2 steps from layer to layer and falls nowhere; it is "
        "highest at c3 (5.00%) and 5.00% at the last.",
        "4 convolutions: the share grows in 2 of 3 steps from layer to layer and falls at c2 → c3; it is "
        "highest at c4 (4.00%) and 4.00% at the last.",
    ]
    assert depths.shorter(records) == [
        "4 convolutions after 2 epochs: 40.0 %, and 1.00% at the last (51.0 ± 1.4 % and 4.00% after 3)."
    ]
    text = "".join(depths.document(records))
    assert "| epochs | 2 | 3 |" in text
    assert "| seeds | 1 | 2 |" in text
    assert "| c4 |  | 4 ± 0 (4.00%) |" in text


def test_what_an_experiment_cannot_be_made_of_is_refused():
    with pytest.raises(OptionError, match="plan:4 has one convolution"):
        check_experiments(["spreading"], ["plan:4"], None)
    with pytest.raises(OptionError, match="the part kinds takes two or more"):
        check_experiments(["kinds"], ["plan:4"], None)
    with pytest.raises(OptionError, match="train images 9 asked for"):
        check_experiments(["course"], [], 9)
    check_experiments(["course"], ["plan:4"], 200)
