"""Steps carried out, kept, and made again."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from streamspread import models, store
from streamspread.api import analyze as engine
from streamspread.datasets import ImageData, Labelled, StreamedImages, load, nested
from streamspread.datasets.images import TensorPixels
from streamspread.errors import DataError, StoreError
from streamspread.models.weights import read_weights, save_weights
from streamspread.results.spectra import Spectra
from streamspread.study.analyses import Study
from streamspread.study.steps import Step, TrainingSpec
from streamspread.training import Callbacks

SMALL = "plan:4,M,6"
STEP = Step("small", "networks", SMALL, ("all", "*.relu"), training=TrainingSpec(0))


def made_images(samples=40, seed=0):
    return load("noise", "train", samples, seed, 32)


def make_study(folder, images=None, **options):
    given = {"data": "noise", "device": torch.device("cpu"), "thresholds": (0.5, 0.7), "epochs": 0}
    study = Study(folder, images or made_images(), **(given | options))
    study.prepare()
    return study


def test_a_result_says_how_it_was_made(tmp_path):
    outcome = make_study(tmp_path, command=["streamspread", "study"], notes=["a note"]).do(STEP)
    assert (outcome.path, outcome.kept, outcome.changed) == (tmp_path / "results" / "small.arrow", False, ())
    spectra = store.read(outcome.path)
    assert list(spectra) == ["c1", "c1.relu", "c2", "c2.relu", "gap"]
    assert spectra.thresholds == (0.5, 0.7)
    facts = spectra.provenance
    assert (facts["part"], facts["model"], facts["plan"], facts["weights"]) == (
        "networks",
        SMALL,
        "4,M,6",
        "none",
    )
    assert (facts["command"], facts["notes"], facts["samples"]) == (["streamspread", "study"], ["a note"], 40)


def test_what_was_made_the_same_way_is_not_made_again(tmp_path):
    first = make_study(tmp_path).do(STEP)
    before = (first.path.stat().st_mtime_ns, first.path.read_bytes())
    again = make_study(tmp_path).do(STEP)  # another process would do the same
    assert again.kept
    assert (first.path.stat().st_mtime_ns, first.path.read_bytes()) == before


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"thresholds": (0.5, 0.9)}, ("thresholds",)),
        ({"images": made_images(41)}, ("data", "images", "samples")),
        ({"images": made_images(40, seed=1)}, ("data", "images")),
        ({"seed": 3}, ("weights", "seed")),
        ({"memory": "1GiB"}, ("memory",)),
        ({"proof": False}, ("proof",)),
    ],
)
def test_what_was_made_another_way_is_made_again(tmp_path, options, changed):
    make_study(tmp_path).do(STEP)
    outcome = make_study(tmp_path, **options).do(STEP)
    assert not outcome.kept
    assert outcome.changed == changed


def told(reports):
    return Callbacks(epoch=reports.append)


def in_memory(pixels, labels=None):
    return ImageData(pixels, labels, description="the same words")


def streamed(pixels, labels=None):
    return StreamedImages(
        TensorPixels(pixels, labels, None, None), np.arange(len(pixels)), "x", "the same words"
    )


@pytest.mark.parametrize("wrap", [in_memory, streamed])
def test_images_count_whatever_they_are_called(tmp_path, wrap):
    pixels = made_images(300).images
    make_study(tmp_path, wrap(pixels)).do(STEP)
    assert make_study(tmp_path, wrap(pixels.clone())).do(STEP).kept
    others = torch.cat([pixels[:1], 255 - pixels[1:]])
    assert make_study(tmp_path, wrap(others)).do(STEP).changed == ("images",)


def test_of_images_in_memory_every_one_counts_and_so_do_labels(tmp_path):
    pixels, labels = made_images(300).images, torch.arange(300) % 4
    make_study(tmp_path, in_memory(pixels, labels)).do(STEP)
    assert make_study(tmp_path, in_memory(pixels, labels.clone())).do(STEP).kept
    other = pixels.clone()
    other[123, 1, 7, 7] += 1
    assert make_study(tmp_path, in_memory(other, labels)).do(STEP).changed == ("images",)
    assert make_study(tmp_path, in_memory(other, labels.flip(0))).do(STEP).changed == ("images",)


def test_another_version_counts(tmp_path, monkeypatch):
    make_study(tmp_path).do(STEP)
    monkeypatch.setattr("streamspread.study.analyses.__version__", "99")
    assert make_study(tmp_path).do(STEP).changed == ("version",)


def test_a_cut_off_file_is_made_again(tmp_path):
    path = make_study(tmp_path).do(STEP).path
    path.write_bytes(path.read_bytes()[:500])
    outcome = make_study(tmp_path).do(STEP)
    assert (outcome.kept, outcome.changed) == (False, ("the file",))
    assert list(store.read(path))


def test_a_step_of_fewer_images_uses_them(tmp_path):
    study = make_study(tmp_path)
    study.do(STEP)
    path = study.do(Step("small-n20", "samples", SMALL, samples=20, training=TrainingSpec(0))).path
    spectra = store.read(path)
    assert {layer.samples for layer in spectra.values()} == {20}
    network = models.load(SMALL, "none").module
    for images, used in ((nested(study.images, 20, 0).images, True), (study.images.images[:20], False)):
        direct = engine.analyze(network, images, device="cpu")
        same = [np.allclose(direct[name].eigenvalues, spectra[name].eigenvalues) for name in spectra]
        assert all(same) if used else not any(same)


def test_latent_steps_write_embeddings(tmp_path):
    pytest.importorskip("openTSNE", reason="t-SNE needs openTSNE")
    study = make_study(tmp_path, made_images(120))
    step = Step("small-tsne", "latent", SMALL, training=TrainingSpec(0))
    embedding = store.read_embedding(study.do(step).path)
    assert list(embedding) == ["c1", "c2", "gap"]
    assert embedding.samples == 120
    other = make_study(tmp_path, made_images(120), thresholds=(0.9,), memory="1GiB")
    assert other.do(step).kept  # t-SNE knows neither
    assert make_study(tmp_path, made_images(120), seed=1).do(step).changed == ("weights", "seed")


def test_a_page_shows_the_steps_and_other_parts_but_nothing_broken_or_outlived(tmp_path):
    study = make_study(tmp_path, made_images(30))
    small = Step("small-n20", "samples", SMALL, samples=20, training=TrainingSpec(0))
    old = Step("small-n10", "samples", SMALL, samples=10, training=TrainingSpec(0))
    deep = Step("deep", "depth", SMALL, samples=10, training=TrainingSpec(0))
    for step in (STEP, small, old, deep):
        study.do(step)
    (study.results / "broken.arrow").write_bytes(b"not ours")
    store.write(Spectra([]), study.results / "empty.arrow")
    files, notes = study.on_page([STEP, small])
    assert [path.stem for path in files] == ["deep", "small-n20", "small"]
    broken, empty, earlier = notes
    assert broken.startswith("not on the page: ")
    assert "broken.arrow' is not an Arrow file" in broken
    assert "empty.arrow' holds no layers" in empty
    assert "small-n10.arrow' is an earlier result, made in another way" in earlier
    assert [path.stem for path in study.on_page([STEP])[0]] == [
        "deep",
        "small-n10",
        "small-n20",
        "small",
    ]


@pytest.fixture
def labelled(monkeypatch):
    """Images of four plain colours, by class, in place of what a spec would give."""
    labels = torch.arange(64) % 4
    colors = torch.tensor([[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0]], dtype=torch.uint8)
    pixels = colors[labels][:, :, None, None].expand(-1, -1, 32, 32).clone()
    images = SimpleNamespace(pixels=pixels, labels=labels, calls=[])

    def load_splits(spec):
        images.calls.append(spec)
        return tuple(
            Labelled(images.pixels, images.labels, f"made {s}, 64 images") for s in ("train", "test")
        )

    monkeypatch.setattr("streamspread.training.load_splits", load_splits)
    return images


def test_missing_weights_are_trained_once_by_their_recipe(tmp_path, labelled):
    reports = []
    step = Step("trained", "training", SMALL, training=TrainingSpec(2, 0.1))
    outcome = make_study(tmp_path, data="cifar10").do(step, callbacks=told(reports))
    assert [report.epoch for report in reports] == [1, 2]
    (weights,) = (tmp_path / "weights").iterdir()
    assert weights.name == "4-M-6-2epochs-smoothing0.1.safetensors"
    note = read_weights(weights)[1]
    assert (note["epochs"], note["label_smoothing"], note["data"]) == ("2", "0.1", "made train, 64 images")
    facts = store.read(outcome.path).provenance
    assert facts["weights_note"]["epochs"] == "2"
    assert facts["weights_sha256"]
    reports.clear()
    assert make_study(tmp_path, data="cifar10").do(step, callbacks=told(reports)).kept
    assert reports == []
    assert labelled.calls[0] == "cifar10"


def test_weights_of_another_recipe_or_broken_ones_are_trained_again(tmp_path, labelled):
    study = make_study(tmp_path, epochs=1)
    step = Step("own", "networks", SMALL)
    study.do(step)
    (weights,) = (tmp_path / "weights").iterdir()
    weights.write_bytes(b"broken")
    reports = []
    assert make_study(tmp_path, epochs=1).do(step, callbacks=told(reports)).changed == ("weights",)
    assert len(reports) == 1
    assert make_study(tmp_path, epochs=1, seed=1).do(step, callbacks=told(reports)).changed
    assert len(reports) == 2


def test_other_weights_of_the_same_training_count(tmp_path, labelled):
    step = Step("own", "networks", SMALL)
    make_study(tmp_path, epochs=1).do(step)
    (path,) = (tmp_path / "weights").iterdir()
    tensors, note, _ = read_weights(path)
    tensors["c1.weight"] = tensors["c1.weight"] + 1
    save_weights(tensors, path, note)
    reports = []
    assert make_study(tmp_path, epochs=1).do(step, callbacks=told(reports)).changed == ("weights",)
    assert reports == []


def test_weights_from_other_images_or_labels_are_trained_again(tmp_path, labelled):
    step = Step("own", "networks", SMALL)
    reports = []

    def trained():
        reports.clear()
        make_study(tmp_path, epochs=1).do(step, callbacks=told(reports))
        return len(reports)

    assert (trained(), trained()) == (1, 0)
    labelled.pixels = labelled.pixels.clone()
    labelled.pixels[40, 2, 9, 9] += 1
    assert (trained(), trained()) == (1, 0)
    labelled.labels = labelled.labels.flip(0)
    assert (trained(), trained()) == (1, 0)


@pytest.mark.parametrize("option", ["batch_size", "schedule"])
def test_weights_of_another_way_to_train_are_trained_again(tmp_path, labelled, option):
    step = Step("own", "networks", SMALL)
    make_study(tmp_path, epochs=1).do(step)
    (path,) = (tmp_path / "weights").iterdir()
    tensors, note, _ = read_weights(path)
    save_weights(tensors, path, note | {option: "7"})
    reports = []
    make_study(tmp_path, epochs=1).do(step, callbacks=told(reports))
    assert len(reports) == 1


def test_labels_are_asked_for_before_the_first_step_where_steps_train(tmp_path):
    shipped = Step("no2", "networks", "no2")
    random = Step("depth4", "depth", SMALL, training=TrainingSpec(0))
    make_study(tmp_path).check_labels([shipped, random])  # noise has none
    trained = Step("depth4", "depth", SMALL, training=TrainingSpec(1))
    own = Step("own", "networks", SMALL)
    words = r"needs a label for every image.*\(needed by --parts depth,networks; --epochs 0 leaves"
    with pytest.raises(DataError, match=words):
        make_study(tmp_path, epochs=1).check_labels([shipped, random, trained, own])


def test_shipped_weights_are_used_where_there_are_any(tmp_path):
    study = make_study(tmp_path)
    facts = store.read(study.do(Step("no2", "networks", "no2", ("gap",))).path).provenance
    assert facts["weights"] == "shipped"
    assert facts["weights_sha256"] == read_weights_sha("no2")


def read_weights_sha(name):
    from streamspread.models.weights import shipped_weights

    return read_weights(shipped_weights(name))[2]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot make the folder '.*file/results'"):
        make_study(tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]
