"""Embeddings of layers: what goes in, what comes out, what is refused."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

import streamspread
from streamspread import models
from streamspread.api import embed as embedding
from streamspread.api.embed import embed
from streamspread.datasets import ImageData, load
from streamspread.errors import DataError, LayerError, MissingError, OptionError
from tests.networks import identity

pytest.importorskip("openTSNE", reason="t-SNE needs openTSNE")


@pytest.fixture(scope="module")
def images():
    noise = load("noise", "train", 120, image_size=32)
    return ImageData(noise.images, torch.arange(120) % 4, ("a", "b", "c", "d"), "made")


@pytest.fixture(scope="module")
def network():
    return models.load("plan:4,M,6", "none").module


def test_every_layer_gets_points_labels_and_facts(network, images):
    events = []
    found = embed(
        network.train(), images, axes=8, device="cpu", progress=events.append, provenance={"model": "m"}
    )
    assert list(found) == ["c1", "c2", "gap"]
    assert [(layer.dim, layer.axes, layer.points_N2.shape) for layer in found.values()] == [
        (4096, 8, (120, 2)),
        (1536, 8, (120, 2)),
        (6, 6, (120, 2)),
    ]
    assert 0 < found["c1"].share < 1
    assert found["gap"].share == pytest.approx(1)
    assert list(found.labels_N) == [i % 4 for i in range(120)]
    assert found.classes == ("a", "b", "c", "d")
    assert found.provenance["model"] == "m"
    options = found.provenance["options"]
    assert (options["axes"], options["perplexity"]) == (8, 30)
    assert len(found.provenance["data_seen"]) == 32
    assert network.training  # as it was
    assert {event.stage for event in events} == {"pass", "inner products", "eigenvalues", "t-SNE"}


def test_the_share_is_that_of_the_exact_axes(network, images):
    taken = []
    with pytest.MonkeyPatch.context() as patch:
        to_planes = embedding.to_planes
        patch.setattr(
            embedding, "to_planes", lambda scores, *rest: taken.extend(scores) or to_planes(scores, *rest)
        )
        found = embed(network, images, ["c1", "gap"], axes=5, device="cpu")
    spectra = streamspread.analyze(network, images, ["c1", "gap"], all_eigenvalues=True, device="cpu")
    for (name, layer), scores_NK in zip(found.items(), taken, strict=True):
        values = spectra[name].eigenvalues[:5]
        assert layer.share == pytest.approx(values.sum() / spectra[name].total_variance, rel=1e-5)
        np.testing.assert_allclose(scores_NK.var(0, ddof=1), values, rtol=1e-4)
        np.testing.assert_allclose(scores_NK.mean(0), 0, atol=1e-4 * values[0] ** 0.5)


def test_a_constant_layer_is_a_point():
    found = embed(identity(), torch.ones(60, 8), "0", axes=3, perplexity=5, device="cpu")["0"]
    assert np.isnan(found.share)
    assert not found.points_N2.any()


def test_images_without_labels_have_points_all_the_same(network, images):
    unlabelled = ImageData(images.images, torch.full((120,), -1), images.classes, "made")
    found = embed(network, unlabelled, "gap", axes=4, device="cpu")
    assert found.labels_N is None
    assert found["gap"].points_N2.shape == (120, 2)


def test_the_same_seed_gives_the_same_points(network, images):
    one, two, other = (embed(network, images, "gap", axes=4, device="cpu", seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one["gap"].points_N2, two["gap"].points_N2)
    assert not np.array_equal(one["gap"].points_N2, other["gap"].points_N2)


def test_groups_stay_together():
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(200) % 4
    x = 20 * torch.randn(4, 30, generator=generator)[label] + torch.randn(200, 30, generator=generator)
    points = embed(identity(), x, "0", axes=10, device="cpu")["0"].points_N2
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert np.mean(label.numpy()[distance.argmin(1)] == label.numpy()) == 1


def test_a_layer_of_one_feature_is_a_line():
    x = torch.randn(60, 3, 5, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Flatten(), nn.Linear(15, 1))
    found = embed(model, x, "1", axes=10, perplexity=5, device="cpu")["1"]
    assert (found.axes, found.points_N2.shape, found.points_N2.dtype) == (1, (60, 2), np.float32)
    assert not found.points_N2[:, 1].any()
    features = model(x).detach().numpy()[:, 0]
    centred = features - features.mean()
    sign = np.sign(centred @ found.points_N2[:, 0])
    assert np.allclose(sign * found.points_N2[:, 0], centred, atol=1e-5)
    assert np.isnan(found.divergence)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"seed": 2**64}, OptionError, "seed 18446744073709551616 asked for; seeds are whole numbers"),
        ({"axes": 1}, OptionError, "1 principal components asked for; a plane needs 2"),
        ({"axes": 120}, OptionError, "120 principal components asked for, and 120 samples have at most 119"),
        ({"perplexity": 40}, OptionError, "perplexity 40 needs more than 120 samples, and there are 120"),
        ({"perplexity": 0.5}, OptionError, "it must be 1 or more"),
        ({"perplexity": float("nan")}, OptionError, "it must be 1 or more"),
        ({"layers": "c9"}, LayerError, "no layer matches 'c9'"),
    ],
)
def test_bad_options_are_refused(network, images, options, error, words):
    with pytest.raises(error, match=words):
        embed(network, images, device="cpu", **options)


def test_data_that_does_not_repeat_is_refused(network, images):
    with pytest.raises(DataError, match="needs data that repeats in the same order"):
        embed(network, iter(images.images.float().split(40)), device="cpu")


def test_something_else_than_a_module_is_refused(images):
    with pytest.raises(OptionError, match=r"must be a torch\.nn\.Module, got int"):
        embed(3, images)


def test_a_missing_opentsne_says_how_to_get_it(network, images, monkeypatch):
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(MissingError, match="pip install openTSNE joblib"):
        embed(network, images, device="cpu")
