"""What is made of a layer's output for the article, against float64."""

import numpy as np
import pytest
import torch

import streamspread
from docs.study.variants import variants, watched
from streamspread import models
from tests.samples import TAUS

LAYERS, MODEL = ("c1", "c2"), "plan:4,M,6"


def expected(kind, x_NCHW):
    """Rows of a kind, in float64."""
    x_NCHW = x_NCHW.double().numpy()
    if kind == "centre":
        return x_NCHW[:, :, x_NCHW.shape[2] // 2, x_NCHW.shape[3] // 2]
    if kind == "differences":
        return (x_NCHW - x_NCHW.mean((2, 3), keepdims=True)).reshape(len(x_NCHW), -1)
    x_ND = x_NCHW.reshape(len(x_NCHW), -1)
    return (x_ND - x_ND.mean(0)) / x_ND.std(0, ddof=1)


@pytest.fixture(scope="module")
def made():
    data = streamspread.data("noise", samples=50, image_size=32)
    network = models.load(MODEL, "none").module
    outputs = watched(network, LAYERS)
    with torch.no_grad():
        network(torch.cat(list(data.batches(50))))
    found = variants(MODEL, data, "none", LAYERS, thresholds=TAUS, rounding="fp64")
    return found, {layer: outputs[layer] for layer in LAYERS}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", ["standardised", "centre", "differences"])
def test_every_kind_is_that_of_the_features(made, kind, layer):
    found, outputs = made
    x_ND = expected(kind, outputs[layer])
    values = np.linalg.svd(x_ND - x_ND.mean(0), compute_uv=False) ** 2
    shares_k = values.cumsum() / values.sum()
    spectrum = found[f"{kind}.{layer}"]
    assert spectrum.total_variance == pytest.approx(values.sum() / 49, rel=1e-6)
    for tau in TAUS:
        assert spectrum.components(tau) == int(np.searchsorted(shares_k, tau)) + 1
