"""Results sorted into what can be compared."""

from pathlib import Path

import pytest

from streamspread import store
from streamspread.errors import OptionError, StoreError
from streamspread.reports.collection import Collection, collect, growth, layer_names, short_names
from streamspread.reports.run import Run, Training, differences
from streamspread.results.spectra import Spectra
from tests.spectra import NO1_DIMS, equal_run, equal_spectra, open_layer

EQUAL = dict.fromkeys(NO1_DIMS, 10)


def test_a_study_is_sorted_into_its_parts(study_files):
    collection = collect(study_files)
    assert [run.name for run in collection.networks] == ["no1", "no3"]
    assert {name: [run.samples for run in runs] for name, runs in collection.over_samples.items()} == {
        "no1": [25_000, 50_000],
        "no3": [25_000, 50_000],
    }
    assert list(collection.embeddings) == ["no1-tsne"]
    assert collection.thresholds == (0.5, 0.7)
    assert collection.conflicts == []


def test_a_run_knows_its_parts_accuracy_and_training(study_files):
    run = collect(study_files).networks[0]
    assert list(run.layers()) == list(NO1_DIMS)
    assert list(run.layers("relu")) == ["c1", "c2", "c3", "c4", "c5", "c6"]
    assert run.layers("relu")["c1"].layer == "c1.relu"
    assert (run.accuracy, run.training, run.data.name) == (0.8805, Training(24), "cifar10 train")


@pytest.mark.parametrize(
    ("note", "training"),
    [
        ({"epochs": "4"}, Training(4)),
        ({"epochs": "4", "epochs_before": "60", "schedule": "one cycle"}, Training(64)),
        (
            {"epochs": "4", "epochs_before": "60", "schedule": "constant, weights averaged"},
            Training(60, 0.0, 4),
        ),
        ({"epochs": "24", "best_epoch": "22", "schedule": "one cycle"}, Training(24)),
        ({"epochs": "4 of 9"}, None),
        ({"epochs": "4", "epochs_before": "60", "label_smoothing_before": "0"}, Training(64)),
        ({"epochs": "4", "epochs_before": "60", "label_smoothing_before": "0.1"}, None),
    ],
)
def test_epochs_before_and_averaged_ones_are_told_apart(note, training):
    facts = {"weights_note": {"label_smoothing": "0"} | note}
    assert equal_run("no1", NO1_DIMS, EQUAL, **facts).training == training


def test_what_run_wrote_without_a_study_is_a_network_too(tmp_path):
    for n in (500, 1000):
        store.write(equal_spectra(NO1_DIMS, EQUAL, samples=n), tmp_path / f"a{n}.arrow")
    collection = collect(sorted(tmp_path.glob("*.arrow")))
    assert [run.name for run in collection.networks] == ["a1000"]  # the larger one stands for the network
    assert [run.samples for run in collection.over_samples["a1000"]] == [500, 1000]


def test_fewer_images_alone_are_shown_as_networks(study_files):
    collection = collect([path for path in study_files if path.stem.endswith("-half")])
    assert [run.name for run in collection.networks] == ["no1-half", "no3-half"]
    collection = collect([path for path in study_files if path.stem in ("no1", "no1-half", "no3-half")])
    assert [run.name for run in collection.networks] == ["no1", "no3-half"]
    assert [fact for *_, why in collection.conflicts for fact, *_ in why] == ["samples"]


def test_a_file_from_python_with_no_facts_at_all_is_shown(tmp_path):
    store.write(Spectra(equal_spectra(NO1_DIMS, EQUAL).values()), tmp_path / "bare.arrow")
    (run,) = collect([tmp_path / "bare.arrow"]).networks
    assert (run.model, run.data.name, run.accuracy, run.training) == ("bare", "?", None, None)


def test_networks_of_one_model_are_told_apart_by_the_names_of_their_files():
    runs = [
        equal_run(name, NO1_DIMS, EQUAL, model=model)
        for name, model in (("a", "no1"), ("b", "no1"), ("c", "no2"))
    ]
    assert list(short_names(runs)) == ["a", "b", "no2"]
    runs.append(equal_run("no2", NO1_DIMS, EQUAL, model="no1"))  # a file that is called as another's model
    assert list(short_names(runs)) == ["a", "b", "c", "no2"]


def test_a_run_stands_aside_only_where_another_has_all_its_layers_from_more_images():
    runs = (
        equal_run("a", NO1_DIMS, {"c1": 3}),
        equal_run("b", NO1_DIMS, {"c2": 3}),
        equal_run("c", NO1_DIMS, EQUAL, samples=500),
        equal_run("d", NO1_DIMS, {"c1": 3}, samples=500),
    )
    collection = Collection(runs, {})
    assert [run.name for run in collection.networks] == ["a", "b", "c"]
    assert [[run.name for run in group] for group in collection.over_samples.values()] == [["c", "a"]]


def test_only_convolutions_of_our_names_have_parts():
    names = ("layer1.0", "layer1.0.relu", "conv1.bn", "conv1", "gap")
    run = equal_run("r", dict.fromkeys(names, 64), dict.fromkeys(names, 5))
    assert list(run.layers()) == list(names)
    assert run.layers("relu") == run.layers("bn") == {}


def test_parts_without_their_convolutions_are_layers_of_their_own():
    names = ("c1.relu", "c2.relu", "gap")
    run = equal_run("r", dict.fromkeys(names, 64), dict.fromkeys(names, 5))
    assert list(run.layers()) == list(names)
    assert run.layers("relu") == {}


@pytest.mark.parametrize(
    ("networks", "names"),
    [
        ([["c3", "c4", "c5", "gap"], ["c1", "c2"]], ["c1", "c2", "c3", "c4", "c5", "gap"]),
        ([["c1", "c2", "gap"], ["c2", "c10"]], ["c1", "c2", "c10", "gap"]),
        ([["c2.relu", "c2"], ["c1"]], ["c1", "c2.relu", "c2"]),
        ([["fc"], ["conv1", "layer1.0", "fc"]], ["conv1", "layer1.0", "fc"]),
        ([], []),
    ],
)
def test_layers_of_several_files_stand_in_the_order_of_the_network(networks, names):
    assert layer_names(networks) == names


def test_growth_is_per_doubling_and_between_closed_values():
    def run(samples, equal):
        return equal_run(f"n{samples}", NO1_DIMS, {"c1": equal}, samples=samples)

    assert growth([run(500, 50), run(1000, 100), run(2000, 150)], "c1", 0.5) == pytest.approx(0.5)
    assert growth([run(1000, 100), run(4000, 400)], "c1", 0.5) == pytest.approx(1.0)
    assert growth([run(1000, 100), run(1250, 100)], "c1", 0.5) == 0
    # from a quarter of the last N, not from four fifths of it
    assert growth([run(500, 100), run(1600, 398), run(2000, 400)], "c1", 0.5) == pytest.approx(1.0)
    assert growth([run(1000, 100)], "c1", 0.5) is None
    assert growth([run(1000, 100), run(2000, 100)], "c2", 0.5) is None
    layer = open_layer("c1", 65536, 60, 80, samples=2000)
    wide = Run("b", Path("b.arrow"), Spectra([layer], (0.7,), {}))
    assert growth([run(1000, 100), wide], "c1", 0.7) is None


def test_convolutions_are_those_of_the_plan_or_else_those_that_were_seen():
    def of(**facts):
        return equal_run("a", NO1_DIMS, {"c5": 3, "gap": 3}, **facts).convolutions

    assert of(plan="4,4,M,8") == ("c1", "c2", "c3")
    assert of() == ("c1",)
    assert equal_run("a", {"conv1": 9}, {"conv1": 3}).convolutions == ()


def test_files_of_one_name_get_their_folders(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        store.write(equal_spectra(NO1_DIMS, EQUAL), tmp_path / folder / "no1.arrow")
    paths = [tmp_path / "x" / "no1.arrow", tmp_path / "y" / "no1.arrow", tmp_path / "y" / "no1.arrow"]
    assert [run.name for run in collect(paths).runs] == ["x/no1", "y/no1", "y/no1 (2)"]


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({}, []),
        ({"samples": 999}, [("samples", "1,000", "999")]),
        ({"data": "folder:other, 3 images"}, [("data", "cifar10 train", "folder:other")]),
        ({"data": "cifar10 train, 1,000 of 50,000 images (seed 3)"}, []),
        (
            {"data": "cifar10 train, 1,000 of 50,000 images (seed 3), at 64x64"},
            [("data", "cifar10 train", "cifar10 train, at 64x64")],
        ),
        (
            {"data": "folder:a, b, 1,000 images, at 64x64"},
            [("data", "cifar10 train", "folder:a, b, at 64x64")],
        ),
    ],
)
def test_why_two_runs_cannot_be_compared(options, facts):
    a, b = equal_run("a", NO1_DIMS, EQUAL), equal_run("b", NO1_DIMS, EQUAL, **options)
    assert [tuple(difference) for difference in differences(a, b)] == facts


CIFAR = "cifar10 train, 1,000 of 50,000 images (seed 0)"
OTHER_SEED = "cifar10 train, 1,000 of 50,000 images (seed 3)"
TENSOR = "tensor (1000, 3, 32, 32)"


@pytest.mark.parametrize(
    ("a", "b", "facts"),
    [
        # Hashes decide where both are known, whatever the descriptions say.
        ((TENSOR, "aa"), (TENSOR, "aa"), []),
        ((CIFAR, "aa"), (TENSOR, "aa"), []),
        ((CIFAR, "aa"), (OTHER_SEED, "bb"), [("images", CIFAR, OTHER_SEED)]),
        ((TENSOR, "aa"), (TENSOR, "bb"), [("images", TENSOR, TENSOR)]),
        ((CIFAR, "aa"), ("noise, 1,000 images", "bb"), [("data", "cifar10 train", "noise")]),
        # Else the descriptions of named data do.
        ((CIFAR, "aa"), (OTHER_SEED, None), []),
        ((CIFAR, None), ("noise, 1,000 images", None), [("data", "cifar10 train", "noise")]),
        # What a program hands over can be anything.
        ((TENSOR, None), (TENSOR, None), [("unknown", TENSOR, TENSOR)]),
        ((TENSOR, "aa"), (TENSOR, None), [("unknown", TENSOR, TENSOR)]),
        ((CIFAR, None), (TENSOR, None), [("unknown", "cifar10 train", TENSOR)]),
        *(
            ((what, None), (what, None), [("unknown", what, what)])
            for what in (
                "Photos, 1,000 samples",
                "DataLoader of TensorDataset, 1,000 samples",
                "batches from make",
                "one-shot generator",
                "?",
            )
        ),
    ],
)
def test_data_are_the_same_only_where_that_is_known(a, b, facts):
    one, other = (equal_run("r", NO1_DIMS, EQUAL, data=data, data_seen=seen) for data, seen in (a, b))
    assert [tuple(difference) for difference in differences(one, other)] == facts


def test_hashes_of_different_numbers_of_images_say_nothing():
    a = equal_run("a", NO1_DIMS, EQUAL, data_seen="aa")
    b = equal_run("b", NO1_DIMS, EQUAL, samples=500, data_seen="bb")
    assert [difference.what for difference in differences(a, b)] == ["samples"]


def test_runs_of_data_that_nothing_identifies_are_no_curve_over_n():
    def runs(**facts):
        return tuple(equal_run(f"n{n}", NO1_DIMS, EQUAL, samples=n, **facts) for n in (500, 1000))

    assert list(Collection(runs(), {}).over_samples) == ["n1000"]
    unknown = Collection(runs(data="batches from make"), {})
    assert (unknown.over_samples, len(unknown.networks)) == ({}, 2)


def test_runs_without_a_common_layer_cannot_be_compared():
    a, b = equal_run("a", NO1_DIMS, {"c1": 3}), equal_run("b", NO1_DIMS, {"c2": 3}, model="no2")
    assert [tuple(difference) for difference in differences(a, b)] == [("layers", "c1", "c2")]
    ((first, second, reasons),) = Collection((a, b), {}).conflicts
    assert (first, second, [difference.what for difference in reasons]) == ("no1", "no2", ["layers"])


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(OptionError, match="no result given"):
        collect([])
    store.write(Spectra([]), tmp_path / "none.arrow")
    with pytest.raises(StoreError, match=r"none\.arrow' holds no layers"):
        collect([tmp_path / "none.arrow"])
    with pytest.raises(StoreError, match="no such file"):
        collect([tmp_path / "missing.arrow"])


def test_embeddings_alone_are_no_report(study_files):
    with pytest.raises(OptionError, match="only embeddings given"):
        collect([path for path in study_files if "tsne" in path.name])
